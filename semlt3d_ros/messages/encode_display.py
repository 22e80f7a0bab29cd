"""Diagnostics, and what the numbers of classes mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from semlt3d_ros.messages.building import build_header, byte_value
from semlt3d_ros.messages.typestore import MessageTypes, message_class


class DiagnosticEntry(NamedTuple):
    """One status: name, level (0 OK, 1 WARN, 2 ERROR, 3 STALE), message, values by key."""

    name: str
    level: int
    message: str
    values: Mapping[str, object]


def encode_diagnostics(
    entries: Iterable[DiagnosticEntry | tuple[str, int, str, Mapping[str, object]]],
    stamp: int,
    hardware_id: str = "semlt3d",
    types: MessageTypes = message_class,
) -> Any:
    """``diagnostic_msgs/DiagnosticArray``; values are written as ``str`` gives them."""
    status, value = types("diagnostic_msgs/msg/DiagnosticStatus"), types("diagnostic_msgs/msg/KeyValue")
    return types("diagnostic_msgs/msg/DiagnosticArray")(
        header=build_header(types, stamp, ""),
        status=[
            status(
                level=byte_value(status, level),
                name=name,
                message=message,
                hardware_id=hardware_id,
                values=[value(key=str(key), value=str(item)) for key, item in values.items()],
            )
            for name, level, message, values in entries
        ],
    )


def encode_label_info(
    class_names: Sequence[str], stamp: int, frame_id: str, threshold: float, types: MessageTypes = message_class
) -> Any:
    """``vision_msgs/LabelInfo``: the classes, numbered as their confidences are in ``LongTailDetection``.

    Args:
        class_names: names in the order of the confidences.
        stamp: since when they hold, in nanoseconds.
        frame_id: frame of the detections.
        threshold: least score of what is published.
        types: gives the message classes.
    """
    label = types("vision_msgs/msg/VisionClass")
    return types("vision_msgs/msg/LabelInfo")(
        header=build_header(types, stamp, frame_id),
        class_map=[label(class_id=index, class_name=name) for index, name in enumerate(class_names)],
        threshold=float(threshold),
    )

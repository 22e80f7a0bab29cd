"""Markers for RViz and diagnostics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASSES
from semlt3d_ros.messages.building import build_header, build_pose, build_vector, byte_value, numeric_sequence
from semlt3d_ros.messages.typestore import MessageTypes, message_class

GROUP_COLORS: dict[str, tuple[float, float, float]] = {
    "many": (0.20, 0.60, 1.00),
    "medium": (1.00, 0.75, 0.10),
    "few": (1.00, 0.25, 0.35),
    "": (0.70, 0.70, 0.70),
}
"""RGB in 0..1 of each frequency group, and of classes in no group."""

_SLOWEST_ARROW = 0.5
"""m/s below which a velocity is drawn as nothing: its direction is noise."""


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


def encode_markers(
    detections: Detections, frame_id: str, score_threshold: float = 0.0, types: MessageTypes = message_class
) -> Any:
    """``visualization_msgs/MarkerArray``: a DELETEALL, then a cube, a velocity arrow and a text per box.

    The DELETEALL comes in the same message, so that RViz shows exactly this set whatever it has missed. Colours go by
    frequency group (``GROUP_COLORS``); cubes are the more opaque the more confident.

    Args:
        detections: boxes in ``frame_id``.
        frame_id: frame of the boxes.
        score_threshold: detections below are not drawn.
        types: gives the message classes.
    """
    blank = _blank_marker(types, detections.stamp, frame_id)
    marker = types("visualization_msgs/msg/Marker")
    markers = [marker(**(blank | {"action": marker.DELETEALL}))]
    for row in np.flatnonzero(detections.scores >= score_threshold):
        markers += [marker(**(blank | fields)) for fields in _box_markers(types, detections, int(row))]
    return types("visualization_msgs/msg/MarkerArray")(markers=markers)


def _box_markers(types: MessageTypes, detections: Detections, row: int) -> list[dict[str, Any]]:
    """The fields in which the markers of one box differ from a blank one."""
    marker, boxes = types("visualization_msgs/msg/Marker"), detections.boxes
    best = int(detections.confidences[row].argmax())
    name, score = detections.class_names[best], float(detections.confidences[row, best])
    rgb = GROUP_COLORS[CLASSES[CLASS_INDEX[name]].group if name in CLASS_INDEX else ""]
    center, size, velocity = boxes.centers[row], boxes.sizes[row], boxes.velocity[row]
    above = (center[0], center[1], center[2] + size[2] / 2 + 0.5)
    drawn = [
        {
            "ns": "boxes",
            "id": row,
            "type": marker.CUBE,
            "pose": build_pose(types, center, quaternion_from_yaw(boxes.yaw[row])),
            "scale": build_vector(types, np.maximum(size, 0.01)),
            "color": _color(types, rgb, 0.25 + 0.5 * score),
        },
        {
            "ns": "names",
            "id": row,
            "type": marker.TEXT_VIEW_FACING,
            "pose": build_pose(types, above, (0.0, 0.0, 0.0, 1.0)),
            "scale": build_vector(types, (0.0, 0.0, 0.6)),
            "color": _color(types, (1.0, 1.0, 1.0), 1.0),
            "text": f"{name} {score:.2f}",
        },
    ]
    speed = float(np.hypot(*velocity))
    if speed >= _SLOWEST_ARROW:
        heading = quaternion_from_yaw(np.arctan2(velocity[1], velocity[0]))
        drawn.append(
            {
                "ns": "velocities",
                "id": row,
                "type": marker.ARROW,
                "pose": build_pose(types, center, heading),
                "scale": build_vector(types, (speed, 0.15, 0.15)),
                "color": _color(types, rgb, 0.9),
            }
        )
    return drawn


def _color(types: MessageTypes, rgb: tuple[float, float, float], alpha: float) -> Any:
    return types("std_msgs/msg/ColorRGBA")(r=rgb[0], g=rgb[1], b=rgb[2], a=alpha)


def _blank_marker(types: MessageTypes, stamp: int, frame_id: str) -> dict[str, Any]:
    """Every field of a marker, made once for all markers: rosbags' classes have no defaults."""
    image, mesh = types("sensor_msgs/msg/CompressedImage"), types("visualization_msgs/msg/MeshFile")
    nothing = np.zeros(0, np.uint8)
    return {
        "header": build_header(types, stamp, frame_id),
        "ns": "",
        "id": 0,
        "type": 0,
        "action": 0,
        "pose": build_pose(types, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
        "scale": build_vector(types, (0.0, 0.0, 0.0)),
        "color": _color(types, (0.0, 0.0, 0.0), 0.0),
        "lifetime": types("builtin_interfaces/msg/Duration")(sec=0, nanosec=0),
        "frame_locked": False,
        "points": [],
        "colors": [],
        "texture_resource": "",
        "texture": image(header=build_header(types, 0, ""), format="", data=numeric_sequence(image, nothing)),
        "uv_coordinates": [],
        "text": "",
        "mesh_resource": "",
        "mesh_file": mesh(filename="", data=numeric_sequence(mesh, nothing)),
        "mesh_use_embedded_materials": False,
    }

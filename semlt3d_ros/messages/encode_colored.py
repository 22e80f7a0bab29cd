"""Clouds whose points say what they lie on, as RViz and others colour them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.point_classes import BACKGROUND
from semlt3d_ros.messages.building import build_header, numeric_sequence
from semlt3d_ros.messages.decode_points import POINT_CLASS_FIELD
from semlt3d_ros.messages.encode_markers import class_colors
from semlt3d_ros.messages.typestore import message_class

_BACKGROUND_COLORS = {
    "ground": (0.45, 0.42, 0.40),
    "building": (0.62, 0.55, 0.75),
    "vegetation": (0.30, 0.60, 0.30),
    "other": (0.75, 0.75, 0.75),
}
_UNKNOWN_COLOR = (0.25, 0.25, 0.25)
_FLOAT32, _UINT16 = 7, 4
UNKNOWN_CODE = 65_535
"""In the field ``point_class``, of points of which nobody knows."""


def point_colors(names: Sequence[str]) -> NDArray[np.uint8]:
    """(len(names) + 1, 3) colours of classes of points; the last is that of what is unknown."""
    objects = [name for name in names if name not in BACKGROUND]
    own = dict(zip(objects, class_colors(objects, [""] * len(objects)), strict=True))
    colors = [_BACKGROUND_COLORS.get(name) or own[name] for name in names]
    return (np.array([*colors, _UNKNOWN_COLOR]) * 255).round().astype(np.uint8)


def encode_colored_cloud(
    points: PointCloud, classes: NDArray[np.int16], names: Sequence[str], stamp: int, frame_id: str
) -> Any:
    """``sensor_msgs/PointCloud2`` with x, y, z, ``rgb`` as RViz and PCL read it, and ``point_class``.

    Args:
        points: N points in the frame ``frame_id``.
        classes: (N,) indices into ``names``; -1 where unknown, which becomes ``UNKNOWN_CODE``.
        names: of the classes.
        stamp: nanoseconds.
        frame_id: frame of the points.
    """
    layout = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), (POINT_CLASS_FIELD, "<u2")])
    table = np.empty(len(points), layout)
    for place, axis in enumerate("xyz"):
        table[axis] = points.xyz[:, place]
    red, green, blue = point_colors(names)[classes].astype(np.uint32).T
    table["rgb"] = red << 16 | green << 8 | blue
    table[POINT_CLASS_FIELD] = np.where(classes < 0, UNKNOWN_CODE, classes)
    field, message = message_class("sensor_msgs/msg/PointField"), message_class("sensor_msgs/msg/PointCloud2")
    kinds = {"x": _FLOAT32, "y": _FLOAT32, "z": _FLOAT32, "rgb": _FLOAT32, POINT_CLASS_FIELD: _UINT16}
    return message(
        header=build_header(message_class, stamp, frame_id),
        height=1,
        width=len(table),
        fields=[
            field(name=name, offset=4 * number, datatype=kind, count=1)
            for number, (name, kind) in enumerate(kinds.items())
        ],
        is_bigendian=False,
        point_step=layout.itemsize,
        row_step=layout.itemsize * len(table),
        data=numeric_sequence(message, table.view(np.uint8)),
        is_dense=bool(np.isfinite(points.xyz).all()),
    )

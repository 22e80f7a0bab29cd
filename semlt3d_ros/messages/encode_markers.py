"""Boxes to markers for RViz, as the CDR bytes that are published."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.messages.cdr import Chosen, serialize_records
from semlt3d_ros.messages.encode_detections import header_values
from semlt3d_ros.messages.topics import MARKER_TYPE
from semlt3d_ros.messages.typestore import Serialized, message_class

GROUP_COLORS: dict[str, tuple[float, float, float]] = {
    "many": (0.20, 0.60, 1.00),
    "medium": (1.00, 0.75, 0.10),
    "few": (1.00, 0.25, 0.35),
    "": (0.70, 0.70, 0.70),
}
"""RGB in 0..1 of each frequency group, and of classes in no group beside those that are in one."""

_UPRIGHT = (0.0, 0.0, 0.0, 1.0)
_SLOWEST_ARROW = 0.5
"""m/s below which a velocity is drawn as nothing: its direction is noise."""
_LEAST_SCORE = 0.1
"""A class that is less likely is not written: boxes stand close, and so do their names."""
_ABOVE_M = 0.3
_LINE = 1.4
"""From one line of a text to the next, in heights of its letters. RViz centres a text on its position."""
_UNCERTAINTY_WIDTH_M = 0.3
_LEAST_EXTENT_M = 0.01
"""RViz refuses shapes without extent."""


@dataclass(frozen=True)
class MarkerOptions:
    """What is drawn of each box.

    Attributes:
        threshold: least score of a box that is drawn.
        text_classes: most likely classes that are written beside a box with their scores, at least 1.
        text_m: height of their letters, in metres.
        velocities: draw velocities as arrows, as long as the box moves in one second.
        covariance: draw the uncertainty of the distance as an ellipsoid along the viewing ray, from one standard
            deviation before the centre of the box to one behind it.
        lifetime_s: after so long without a new set nothing is left on the screen, even if the node has died; 0: never.
    """

    threshold: float = 0.0
    text_classes: int = 3
    text_m: float = 1.0
    velocities: bool = True
    covariance: bool = False
    lifetime_s: float = 1.0


_DEFAULT_OPTIONS = MarkerOptions()


Floats = NDArray[np.float64]

_NUMBERS = 14


class _Shapes(NamedTuple):
    """Markers of one kind, one for each of N boxes."""

    namespace: str
    kind: int
    rows: NDArray[np.int64]
    """Of which boxes (N,)."""
    numbers: Floats
    """Position, quaternion, scale and colour (N, 14)."""
    texts: Sequence[str]


def class_colors(class_names: Sequence[str], class_groups: Sequence[str]) -> list[tuple[float, float, float]]:
    """RGB in 0..1 of each class.

    Where most of the classes are in a frequency group, colours are those of the groups. Else every class has its own,
    made of its name, so that it is the same wherever the class is drawn.
    """
    if 2 * sum(map(bool, class_groups)) > len(class_names):
        return [GROUP_COLORS[group] for group in class_groups]
    return [_color_of_name(name) for name in class_names]


@cache
def _color_of_name(name: str) -> tuple[float, float, float]:
    number = zlib.crc32(name.encode())
    return colorsys.hsv_to_rgb((number & 0xFFFF) / 0x10000, 0.55 + 0.4 * (number >> 16 & 1), 1.0)


def encode_markers(detections: Detections, frame_id: str, options: MarkerOptions = _DEFAULT_OPTIONS) -> Serialized:
    """``visualization_msgs/MarkerArray``: a DELETEALL, then the markers of each box.

    Namespaces: ``boxes`` (cubes, the more opaque the more confident), ``names`` (texts), ``velocities`` (arrows),
    ``covariance`` (ellipsoids). Colours are ``class_colors``.

    The DELETEALL comes in the same message, so that RViz shows exactly this set whatever it has missed. Boxes that are
    not finite are left out, and so are velocities and uncertainties that are not known.

    Args:
        detections: boxes in ``frame_id``; distances are from its origin.
        frame_id: frame of the boxes.
        options: what is drawn.
    """
    marker = message_class("visualization_msgs/msg/Marker")
    boxes = detections.boxes
    drawable = np.isfinite(boxes.centers).all(axis=1) & np.isfinite(boxes.sizes).all(axis=1) & np.isfinite(boxes.yaw)
    rows = (drawable & (detections.scores >= options.threshold)).nonzero()[0]
    delete_all = _made("", 0, np.array([-1]), (0.0, 0.0, 0.0, *_UPRIGHT, *np.zeros(7)))
    shapes = [delete_all, *_shapes(detections[rows], rows, options)]
    # Box by box, after the DELETEALL, whose row is -1.
    all_rows = np.concatenate([each.rows for each in shapes])
    order = all_rows.argsort(kind="stable")
    which = np.arange(len(shapes)).repeat([len(each.rows) for each in shapes])[order]
    texts = [text for each in shapes for text in each.texts]
    numbers = np.concatenate([each.numbers for each in shapes])[order]
    is_box = all_rows[order] >= 0
    sec, nanosec = divmod(round(options.lifetime_s * 1e9), 1_000_000_000)
    values = {
        "header": header_values(detections.stamp, frame_id),
        "ns": Chosen([each.namespace for each in shapes], which),
        "id": np.where(is_box, all_rows[order], 0),
        "type": np.array([each.kind for each in shapes])[which],
        "action": np.where(is_box, marker.ADD, marker.DELETEALL),
        "pose": numbers[:, :7],
        "scale": numbers[:, 7:10],
        "color": numbers[:, 10:],
        "lifetime": {"sec": np.where(is_box, sec, 0), "nanosec": np.where(is_box, nanosec, 0)},
        "text": [texts[index] for index in order.tolist()],
    }
    return serialize_records(message_class(MARKER_TYPE)(markers=[]), MARKER_TYPE, len(order), values)


def _made(
    namespace: str,
    kind: int,
    rows: NDArray[np.int64],
    columns: Sequence[ArrayLike],
    texts: Sequence[str] | None = None,
) -> _Shapes:
    """Markers of x y z, quaternion, scale and RGBA: 14 columns, each (N,), or one number for all."""
    numbers = np.empty((len(rows), _NUMBERS))
    for place, column in enumerate(columns):
        numbers[:, place] = column
    return _Shapes(namespace, kind, rows, numbers, [""] * len(rows) if texts is None else texts)


def _shapes(drawn: Detections, rows: NDArray[np.int64], options: MarkerOptions) -> list[_Shapes]:
    """All markers of the boxes that are drawn; ``rows`` says how they are numbered."""
    marker = message_class("visualization_msgs/msg/Marker")
    boxes = drawn.boxes
    colors = np.array(class_colors(drawn.class_names, drawn.class_groups))[drawn.class_ids].reshape(-1, 3)
    opacity = 0.25 + 0.5 * drawn.scores.astype(np.float64)
    (x, y, z), size, turns = boxes.centers.T, np.maximum(boxes.sizes, _LEAST_EXTENT_M), quaternion_from_yaw(boxes.yaw)
    cubes = (x, y, z, *turns.T, *size.T, *colors.T, opacity)
    texts = _best_classes(drawn, options.text_classes)
    lines = np.array([text.count("\n") + 1 for text in texts], np.float64)
    above = z + boxes.sizes[:, 2] / 2 + _ABOVE_M + lines * (_LINE * options.text_m / 2)
    names = (x, y, above, *_UPRIGHT, 0.0, 0.0, options.text_m, 1.0, 1.0, 1.0, 1.0)
    shapes = [
        _made("boxes", marker.CUBE, rows, cubes),
        _made("names", marker.TEXT_VIEW_FACING, rows, names, texts),
    ]
    if options.velocities:
        speed = np.hypot(*boxes.velocity.T)
        moving = ((speed >= _SLOWEST_ARROW) & (speed < np.inf)).nonzero()[0]
        vx, vy = boxes.velocity[moving].T
        turns = quaternion_from_yaw(np.arctan2(vy, vx))
        arrows = (*boxes.centers[moving].T, *turns.T, speed[moving], 0.15, 0.15, *colors[moving].T, 0.9)
        shapes.append(_made("velocities", marker.ARROW, rows[moving], arrows))
    if options.covariance:
        distance, deviation = _lengths(boxes.centers), drawn.depth_uncertainty.astype(np.float64)
        known = ((deviation > 0) & (deviation < np.inf) & (distance > 0)).nonzero()[0]
        centers = boxes.centers[known]
        turns = _turns_to(centers / distance[known, None])
        extent = np.maximum(2 * deviation[known], _LEAST_EXTENT_M)
        scale = (extent, _UNCERTAINTY_WIDTH_M, _UNCERTAINTY_WIDTH_M)
        ellipsoids = (*centers.T, *turns.T, *scale, *colors[known].T, 0.3)
        shapes.append(_made("covariance", marker.SPHERE, rows[known], ellipsoids))
    return shapes


def _turns_to(rays: Floats) -> Floats:
    """Quaternions (N, 4) that turn the x axis to unit vectors (N, 3)."""
    # Half the turn; straight back has no axis of its own, any upright one will do.
    turns = np.column_stack([np.zeros(len(rays)), -rays[:, 2], rays[:, 1], 1.0 + rays[:, 0]])
    lengths = _lengths(turns)[:, None]
    clear = lengths > 1e-6
    return np.where(clear, turns / np.where(clear, lengths, 1.0), (0.0, 0.0, 1.0, 0.0))


def _best_classes(detections: Detections, count: int) -> list[str]:
    """A line such as ``"stroller 0.87"`` for each of the ``count`` best classes of a box; the best is always there."""
    ranked = (-detections.confidences).argsort(axis=1, kind="stable")[:, : max(count, 1)]
    scores = detections.confidences[np.arange(len(ranked))[:, None], ranked]
    return [
        "\n".join(
            f"{detections.class_names[index]} {score:.2f}"
            for rank, (index, score) in enumerate(zip(*box, strict=True))
            if rank == 0 or score >= _LEAST_SCORE
        )
        for box in zip(ranked.tolist(), scores.tolist(), strict=True)
    ]


def _lengths(vectors: Floats) -> Floats:
    return np.sqrt((vectors * vectors).sum(axis=1))

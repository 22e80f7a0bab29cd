"""Colours, labels and the order of cameras on a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections, groups_of
from semlt3d_ros.core.frame import CameraView, Frame, Labels, PointCloud
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.core.point_classes import UNKNOWN, point_class_names
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages.encode_colored import point_colors
from semlt3d_ros.messages.encode_markers import class_colors

Color = tuple[int, int, int]

TRUTH_COLOR: Color = (60, 220, 90)
"""RGB of ground truth."""
IGNORED = "(ignored)"
"""What is written beside true objects of no class."""
NOT_JUDGED = "(not judged)"
"""What is written beside boxes where ground truth is not complete."""
_GREY: Color = (150, 150, 150)


class Layer(NamedTuple):
    """Boxes to draw, each with its colour (RGB in 0..255) and its text.

    ``faint`` has the indices of those that take no part in an evaluation: they are drawn thin, and say why.
    """

    boxes: Boxes3D
    colors: list[Color]
    texts: list[str]
    faint: frozenset[int] = frozenset()


def best_detections(detections: Detections, score_threshold: float) -> NDArray[np.int64]:
    """Indices of the detections whose best class reaches the threshold, best first."""
    scores = detections.scores
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] >= score_threshold]


def detection_layer(
    detections: Detections, score_threshold: float, frame: Frame | None = None, labels: Labels | None = None
) -> Layer:
    """Detections that reach the threshold, best first, with texts such as ``"stroller 0.87"``.

    Args:
        detections: boxes in the ego frame.
        score_threshold: those with a lower confidence are left out.
        frame: what lies outside its labelled region, and on none of its true objects, is paler and ``NOT_JUDGED``.
        labels: those objects.
    """
    order = best_detections(detections, score_threshold)
    class_ids = detections.class_ids[order]
    texts = [
        f"{detections.class_names[index]} {score:.2f}"
        for index, score in zip(class_ids, detections.scores[order], strict=True)
    ]
    colors = [_in_bytes(color) for color in class_colors(detections.class_names, detections.class_groups)]
    boxes = detections.boxes[order]
    layer = Layer(boxes, [colors[index] for index in class_ids], texts)
    if frame is None or frame.region == LabelledRegion():
        return layer
    objects = np.zeros((0, 3)) if labels is None else labels.boxes.centers
    return _with_faint(layer, ~frame.region.judges(boxes.centers, objects))


def truth_layer(labels: Labels, region: LabelledRegion | None = None) -> Layer:
    """Ground truth with the names of its classes.

    What is of none of them is grey and ``IGNORED``, with what its recording calls it where that is known; what lies
    outside the labelled region is paler and ``NOT_JUDGED``.
    """
    names, own_names = labels.names, labels.own_names or labels.names
    ignored = frozenset(index for index, name in enumerate(names) if not name)
    texts = [name or f"{own} {IGNORED}".strip() for name, own in zip(names, own_names, strict=True)]
    colors = [_GREY if index in ignored else TRUTH_COLOR for index in range(len(names))]
    layer = Layer(labels.boxes, colors, texts, ignored)
    return layer if region is None else _with_faint(layer, ~region.contains(labels.boxes.centers))


def _with_faint(layer: Layer, faint: NDArray[np.bool_]) -> Layer:
    """The layer with more boxes that are not judged."""
    added = frozenset(np.flatnonzero(faint).tolist()) - layer.faint
    colors = [_paler(color) if index in added else color for index, color in enumerate(layer.colors)]
    texts = [f"{text} {NOT_JUDGED}" if index in added else text for index, text in enumerate(layer.texts)]
    return Layer(layer.boxes, colors, texts, layer.faint | added)


def _paler(color: Color) -> Color:
    red, green, blue = ((shade + grey) // 2 for shade, grey in zip(color, _GREY, strict=True))
    return red, green, blue


def class_color(name: str, class_names: tuple[str, ...] = CLASS_NAMES) -> Color:
    """RGB in 0..255 of a class among others, the same as that of its RViz marker."""
    return _in_bytes(class_colors(class_names, groups_of(class_names))[class_names.index(name)])


def _in_bytes(color: tuple[float, float, float]) -> Color:
    red, green, blue = (round(255 * value) for value in color)
    return red, green, blue


def colors_of_points(points: PointCloud, class_names: Sequence[str]) -> NDArray[np.uint8] | None:
    """(N, 3) colours of what points lie on, where ``class_names`` are those of objects; None where nobody knows."""
    if points.classes is None or not class_names:
        return None
    table = point_colors(point_class_names(class_names))
    known = (points.classes >= 0) & (points.classes < len(table) - 1)
    return table[np.where(known, points.classes, UNKNOWN)]


def camera_rows(views: Sequence[CameraView]) -> tuple[list[str], list[str]]:
    """Camera names for two rows on a screen: the half that looks most ahead, then the half that looks most back.

    Both rows run from the vehicle's left to its right, as nuScenes' pictures do.
    """
    heading = {view.name: float(np.arctan2(view.T_ego_camera[1, 2], view.T_ego_camera[0, 2])) for view in views}
    ahead_first = sorted(heading, key=lambda name: abs(heading[name]))
    half = -(-len(ahead_first) // 2)
    # Ahead, left is positive. Back, left comes first when headings run from 0 through the rear (pi) to 2 pi.
    front = sorted(ahead_first[:half], key=lambda name: -heading[name])
    back = sorted(ahead_first[half:], key=lambda name: heading[name] % (2 * np.pi))
    return front, back

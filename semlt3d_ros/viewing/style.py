"""Colours, labels and the order of cameras on a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.detections import Detections, groups_of
from semlt3d_ros.core.frame import CameraView, Labels
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages.encode_markers import class_colors

Color = tuple[int, int, int]

TRUTH_COLOR: Color = (60, 220, 90)
"""RGB of ground truth."""
IGNORED = "(ignored)"
"""What is written beside true objects of no class."""


class Layer(NamedTuple):
    """Boxes to draw, each with its colour (RGB in 0..255) and its text."""

    boxes: Boxes3D
    colors: list[Color]
    texts: list[str]


def best_detections(detections: Detections, score_threshold: float) -> NDArray[np.int64]:
    """Indices of the detections whose best class reaches the threshold, best first."""
    scores = detections.scores
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] >= score_threshold]


def detection_layer(detections: Detections, score_threshold: float) -> Layer:
    """Detections that reach the threshold, best first, with texts such as ``"stroller 0.87"``."""
    order = best_detections(detections, score_threshold)
    class_ids = detections.class_ids[order]
    texts = [
        f"{detections.class_names[index]} {score:.2f}"
        for index, score in zip(class_ids, detections.scores[order], strict=True)
    ]
    colors = [_in_bytes(color) for color in class_colors(detections.class_names, detections.class_groups)]
    return Layer(detections.boxes[order], [colors[index] for index in class_ids], texts)


def truth_layer(labels: Labels) -> Layer:
    """Ground truth with the names of its classes; what is of none of them is ``IGNORED``."""
    count = len(labels.boxes)
    names = [IGNORED if index == ABSENT else labels.class_names[index] for index in labels.class_ids]
    return Layer(labels.boxes, [TRUTH_COLOR] * count, names)


def class_color(name: str, class_names: tuple[str, ...] = CLASS_NAMES) -> Color:
    """RGB in 0..255 of a class among others, the same as that of its RViz marker."""
    return _in_bytes(class_colors(class_names, groups_of(class_names))[class_names.index(name)])


def _in_bytes(color: tuple[float, float, float]) -> Color:
    red, green, blue = (round(255 * value) for value in color)
    return red, green, blue


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

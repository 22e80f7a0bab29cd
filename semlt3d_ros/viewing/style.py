"""Colours, labels and the order of cameras on a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import CameraView, Labels
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES, CLASSES
from semlt3d_ros.messages.encode_markers import GROUP_COLORS

Color = tuple[int, int, int]

TRUTH_COLOR: Color = (60, 220, 90)
"""RGB of ground truth."""


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
    names = [detections.class_names[index] for index in detections.class_ids[order]]
    texts = [f"{name} {score:.2f}" for name, score in zip(names, detections.scores[order], strict=True)]
    return Layer(detections.boxes[order], [class_color(name) for name in names], texts)


def truth_layer(labels: Labels) -> Layer:
    """Ground truth with the names of its classes."""
    count = len(labels.boxes)
    return Layer(labels.boxes, [TRUTH_COLOR] * count, [CLASS_NAMES[index] for index in labels.class_ids])


def class_color(name: str) -> Color:
    """RGB in 0..255 of the class's frequency group, the same as that of its RViz marker."""
    group = CLASSES[CLASS_INDEX[name]].group if name in CLASS_INDEX else ""
    red, green, blue = (round(255 * value) for value in GROUP_COLORS[group])
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

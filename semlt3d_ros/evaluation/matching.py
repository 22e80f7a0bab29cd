"""From the boxes of one frame to matches and their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASSES
from semlt3d_ros.evaluation.settings import EvaluationSettings

ERRORS: tuple[str, ...] = ("ate", "ase", "aoe", "ave")
"""Translation (m), scale (1 - IoU of the aligned boxes), orientation (rad) and velocity (m/s) error."""

_HALF_TURN_CLASSES = (CLASS_INDEX["barrier"],)


@dataclass(frozen=True)
class Predictions:
    """One frame's (box, class) pairs: row ``i`` says that ``boxes[i]`` is a ``class_ids[i]`` with ``scores[i]``."""

    boxes: Boxes3D
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float64]


def _within_range(boxes: Boxes3D, class_ids: NDArray[np.int64], settings: EvaluationSettings) -> NDArray[np.bool_]:
    limits = np.array([settings.class_range_m(class_id) for class_id in range(len(CLASSES))])
    return np.linalg.norm(boxes.centers[:, :2], axis=1) < limits[class_ids]


def select_predictions(detections: Detections, settings: EvaluationSettings) -> Predictions:
    """The predictions of one frame that count: the ``max_boxes`` most confident pairs, less those out of range.

    Pairs without confidence (zero or NaN), boxes whose centre or size is not finite, and classes that the taxonomy does
    not have, are no predictions.
    """
    taxonomy_ids = np.array([CLASS_INDEX.get(name, -1) for name in detections.class_names], dtype=np.int64)
    boxes = detections.boxes
    confidences = detections.confidences.astype(np.float64)
    usable = np.isfinite(boxes.centers).all(axis=1) & np.isfinite(boxes.sizes).all(axis=1) & np.isfinite(boxes.yaw)
    counts = (confidences > 0) & usable[:, None] & (taxonomy_ids >= 0)
    if settings.predictions == "best" and confidences.size:
        best = np.where(counts, confidences, -1.0).argmax(axis=1)
        counts &= np.arange(confidences.shape[1])[None] == best[:, None]
    rows, columns = np.nonzero(counts)
    scores = confidences[rows, columns]
    if len(scores) > settings.max_boxes:
        top = np.sort(np.argsort(-scores, kind="stable")[: settings.max_boxes])
        rows, columns, scores = rows[top], columns[top], scores[top]
    class_ids = taxonomy_ids[columns]
    near = _within_range(boxes[rows], class_ids, settings)
    return Predictions(boxes[rows[near]], class_ids[near], scores[near])


def select_truth(labels: Labels, settings: EvaluationSettings) -> Labels:
    """The truth of one frame that counts: within its class's range, and visible enough where that is known."""
    keep = _within_range(labels.boxes, labels.class_ids, settings)
    for known, least in (
        (labels.visible_pixels, settings.min_visible_pixels),
        (labels.lidar_points, settings.min_lidar_points),
    ):
        keep &= (known < 0) | (known >= least)
    return labels[keep]


def match(distance: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Greedy one-to-one matching at several thresholds at once.

    Args:
        distance: (P, G) metres from each prediction, best first, to each true box.
        thresholds: (T,) metres; a pair matches below, not at, its threshold.

    Returns:
        (P, T) index of the true box each prediction takes, -1 where it takes none. Each prediction in turn takes the
        nearest true box that is not taken yet (the first of equally near ones), if that is near enough.
    """
    taken_by = np.full((len(distance), len(thresholds)), -1, dtype=np.int64)
    if distance.size == 0:
        return taken_by
    each = np.arange(len(thresholds))
    free_distance = np.zeros((len(thresholds), distance.shape[1]))  # infinite once taken
    # Only these can match at all, at any threshold.
    for row in np.flatnonzero(distance.min(axis=1) < thresholds.max()):
        candidates = distance[row] + free_distance
        nearest = candidates.argmin(axis=1)
        matched = candidates[each, nearest] < thresholds
        taken_by[row, matched] = nearest[matched]
        free_distance[each[matched], nearest[matched]] = np.inf
    return taken_by


def true_positive_errors(predicted: Boxes3D, truth: Boxes3D, class_id: int) -> NDArray[np.float64]:
    """Errors (N, 4) of predictions against the truth they matched, in the order of ``ERRORS``; NaN where unknown."""
    translation = np.linalg.norm(predicted.centers[:, :2] - truth.centers[:, :2], axis=1)
    intersection = np.minimum(predicted.sizes, truth.sizes).prod(axis=1)
    union = predicted.sizes.prod(axis=1) + truth.sizes.prod(axis=1) - intersection
    overlap = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    period = np.pi if class_id in _HALF_TURN_CLASSES else 2 * np.pi
    turn = np.abs((truth.yaw - predicted.yaw + period / 2) % period - period / 2)
    velocity = np.linalg.norm(predicted.velocity - truth.velocity, axis=1)
    return np.stack([translation, 1.0 - overlap, turn, velocity], axis=1)

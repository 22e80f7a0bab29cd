"""Frame by frame evaluation of detections against ground truth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASSES
from semlt3d_ros.evaluation import curves
from semlt3d_ros.evaluation.matching import ERRORS, match, select_predictions, select_truth, true_positive_errors
from semlt3d_ros.evaluation.report import ClassResult, Report
from semlt3d_ros.evaluation.settings import EvaluationSettings

_EXEMPT = {CLASS_INDEX["traffic_cone"]: ("aoe", "ave"), CLASS_INDEX["barrier"]: ("ave",)}
"""Errors that mean nothing for a class (a cone has no heading, neither of them moves)."""


class Evaluator:
    """Accumulates frames, then reports.

    Metrics follow nuScenes (Caesar et al., CVPR 2020) on the 18 classes of LT3D (Peri et al., CoRL 2022), except that a
    class without ground truth has no AP and takes no part in any mean, where the development kit counts it as 0.
    A frame costs little memory: each prediction keeps its score, one flag per distance and four errors.
    """

    def __init__(self, settings: EvaluationSettings | None = None) -> None:
        self.settings = settings or EvaluationSettings()
        self._thresholds = np.array([*self.settings.distances, self.settings.tp_distance], dtype=np.float64)
        self._frames = 0
        self._unknown_classes: dict[str, None] = {}
        self._truth_count = np.zeros(len(CLASSES), dtype=np.int64)
        self._scores: list[list[NDArray[np.float64]]] = [[] for _ in CLASSES]
        self._matched: list[list[NDArray[np.bool_]]] = [[] for _ in CLASSES]
        self._errors: list[list[NDArray[np.float64]]] = [[] for _ in CLASSES]

    def add(self, detections: Detections, labels: Labels) -> None:
        """Take in one frame; both are in the ego frame at the same stamp."""
        predictions = select_predictions(detections, self.settings)
        truth = select_truth(labels, self.settings)
        self._frames += 1
        self._unknown_classes.update(dict.fromkeys(name for name in detections.class_names if name not in CLASS_INDEX))
        self._truth_count += np.bincount(truth.class_ids, minlength=len(CLASSES))
        for class_id in np.unique(predictions.class_ids):
            mine = np.flatnonzero(predictions.class_ids == class_id)
            best_first = mine[_best_first(predictions.scores[mine])]
            boxes, true_boxes = predictions.boxes[best_first], truth.boxes[truth.class_ids == class_id]
            offsets = boxes.centers[:, None, :2] - true_boxes.centers[None, :, :2]
            taken = match(np.linalg.norm(offsets, axis=-1), self._thresholds)
            errors = np.full((len(mine), len(ERRORS)), np.nan)
            hits = taken[:, -1] >= 0
            errors[hits] = true_positive_errors(boxes[hits], true_boxes[taken[hits, -1]], int(class_id))
            # Kept last first, so that one rule orders equal scores within a frame and across frames.
            self._scores[class_id].append(predictions.scores[best_first][::-1])
            self._matched[class_id].append((taken >= 0)[::-1])
            self._errors[class_id].append(errors[::-1])

    def report(self) -> Report:
        """The metrics over all frames so far."""
        results = tuple(self._class_result(index) for index in range(len(CLASSES)))
        return Report(self.settings, self._frames, results, tuple(self._unknown_classes))

    def _class_result(self, class_id: int) -> ClassResult:
        info, truth_count = CLASSES[class_id], int(self._truth_count[class_id])
        scores = np.concatenate([np.zeros(0), *self._scores[class_id]])
        result = ClassResult(info.name, info.group, truth_count, len(scores))
        if truth_count == 0:
            return result
        matched = np.concatenate([np.zeros((0, len(self._thresholds)), np.bool_), *self._matched[class_id]])
        errors = np.concatenate([np.zeros((0, len(ERRORS))), *self._errors[class_id]])
        order = _best_first(scores)
        scores, matched, errors = scores[order], matched[order], errors[order]
        settings = self.settings
        for column, distance in enumerate(settings.distances):
            precision = curves.precision_curve(matched[:, column], truth_count)
            result.precision[distance] = precision
            result.ap_by_distance[distance] = curves.average_precision(
                precision, settings.min_recall, settings.min_precision
            )
        hits = matched[:, -1]
        confidence = curves.confidence_curve(hits, scores, truth_count)
        for column, name in enumerate(ERRORS):
            if name not in _EXEMPT.get(class_id, ()):
                result.errors[name] = curves.mean_error(
                    errors[hits, column], scores[hits], confidence, settings.min_recall
                )
        return result


def _best_first(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order of descending score; of equal scores the later goes first, as in the nuScenes development kit."""
    return np.argsort(scores, kind="stable")[::-1]


def evaluate(pairs: Iterable[tuple[Detections, Labels]], settings: EvaluationSettings | None = None) -> Report:
    """Evaluate frames of detections against their ground truth.

    Args:
        pairs: one pair for each frame with ground truth, both in the ego frame; a frame without an answer is a pair
            with empty detections.
        settings: LT3D's unless given.
    """
    evaluator = Evaluator(settings)
    for detections, labels in pairs:
        evaluator.add(detections, labels)
    return evaluator.report()

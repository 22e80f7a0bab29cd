"""Evaluation of detections against ground truth, batch of frames by batch of frames."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.evaluation import curves
from semlt3d_ros.evaluation.attributes import FrameAttributes
from semlt3d_ros.evaluation.confidence_calibration import reliability
from semlt3d_ros.evaluation.confusion import count_confusions
from semlt3d_ros.evaluation.curves import Ranking
from semlt3d_ros.evaluation.matching import best_first
from semlt3d_ros.evaluation.outcomes import (
    ERRORS,
    IGNORED,
    LEVELS,
    TRUE_POSITIVE,
    Outcomes,
    find_pairs,
    judge,
    on_ignored,
)
from semlt3d_ros.evaluation.report import ClassResult, Report
from semlt3d_ros.evaluation.selection import select_predictions, select_truth, unknown_names
from semlt3d_ros.evaluation.settings import EvaluationSettings

_BATCH_CONFIDENCES = 500_000
"""Frames are taken together until they have this many confidences: enough to forget the cost of calling NumPy, little
enough for the processor's cache."""

_NO_ATTRIBUTES = FrameAttributes()


class Evaluator:
    """Accumulates frames, then reports.

    Metrics follow nuScenes (Caesar et al., CVPR 2020) on the classes of LT3D (Peri et al., CoRL 2022), nuScenes, or any
    list. On the same boxes they equal those of the nuScenes development kit; what may differ is a choice in the
    settings (``absent_classes``, ``of_no_class``). A frame costs little memory: each prediction keeps its class, its
    score and a byte for each distance, each true positive five errors.
    """

    def __init__(self, settings: EvaluationSettings | None = None) -> None:
        self.settings = settings or EvaluationSettings()
        count = len(self.settings.protocol.classes)
        self._frames = 0
        self._unknown_classes: dict[str, None] = {}
        self._attributes_known = False
        self._truth_count = np.zeros(count, dtype=np.int64)
        self._confusions = np.zeros((count + 1, count + 1), dtype=np.int64)
        self._outcomes: list[Outcomes] = []
        self._waiting: list[tuple[Detections, Labels, FrameAttributes]] = []
        self._waiting_confidences = 0

    def add(self, detections: Detections, labels: Labels, attributes: FrameAttributes = _NO_ATTRIBUTES) -> None:
        """Take in one frame; both are in the ego frame at the same stamp, and must not be changed until the report.

        Args:
            detections: what was found.
            labels: what was there.
            attributes: nuScenes attributes of both, where they are known.

        Raises:
            ValueError: there are not as many attributes as boxes.
        """
        for what, names, boxes in (
            ("predicted", attributes.predicted, detections.boxes),
            ("true", attributes.true, labels.boxes),
        ):
            if names and len(names) != len(boxes):
                raise ValueError(f"frame {detections.stamp}: {len(names)} {what} attributes for {len(boxes)} boxes")
        self._frames += 1
        self._unknown_classes.update(dict.fromkeys(unknown_names(detections.class_names, self.settings.protocol)))
        self._waiting.append((detections, labels, attributes))
        self._waiting_confidences += detections.confidences.size + len(labels.boxes)
        if self._waiting_confidences >= _BATCH_CONFIDENCES:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        settings = self.settings
        detections, labels, attributes = zip(*self._waiting, strict=True)
        table, predictions = select_predictions(detections, [each.predicted for each in attributes], settings)
        truth = select_truth(labels, [each.true for each in attributes], settings)
        pairs = find_pairs(table, predictions, truth, settings.protocol)
        self._truth_count += np.bincount(truth.class_ids, minlength=len(self._truth_count))
        self._attributes_known |= any(truth.table.attributes)
        self._outcomes.append(judge(table, predictions, truth, pairs, settings.protocol))
        ignored = on_ignored(table, predictions, truth, settings.protocol)
        self._confusions += count_confusions(predictions, truth, pairs, ignored, settings)
        self._waiting, self._waiting_confidences = [], 0

    def report(self) -> Report:
        """The metrics over all frames so far."""
        self._flush()
        outcomes = _joined(self._outcomes, len(self.settings.protocol.distances))
        by_class = np.argsort(outcomes.class_ids.astype(np.int16), kind="stable")
        ends = np.cumsum(np.bincount(outcomes.class_ids, minlength=len(self._truth_count)))
        error_row = np.full(len(outcomes.scores), -1)
        error_row[outcomes.hits] = np.arange(len(outcomes.hits))
        results = []
        for class_id, rows in enumerate(np.split(by_class, ends[:-1])):
            best = rows[best_first(outcomes.scores[rows])]
            hits = error_row[best[error_row[best] >= 0]]
            results.append(
                self._class_result(class_id, outcomes.scores[best], outcomes.codes[best], outcomes.errors[hits])
            )
        confident = (outcomes.scores >= self.settings.min_confidence) & (outcomes.codes[:, self._tp_column] != IGNORED)
        hit = outcomes.codes[confident, self._tp_column] == TRUE_POSITIVE
        return Report(
            settings=self.settings,
            frames=self._frames,
            classes=tuple(results),
            unknown_classes=tuple(self._unknown_classes),
            attributes_known=self._attributes_known,
            confusions=self._confusions.copy(),
            reliability=reliability(np.minimum(outcomes.scores[confident], 1.0), hit),
        )

    @property
    def _tp_column(self) -> int:
        protocol = self.settings.protocol
        return protocol.distances.index(protocol.tp_distance)

    def _class_result(
        self, class_id: int, scores: NDArray[np.float32], codes: NDArray[np.int8], errors: NDArray[np.float64]
    ) -> ClassResult:
        """Figures of one class from its predictions, best first, and the errors of its hits, best first."""
        settings, protocol = self.settings, self.settings.protocol
        info, truth_count = protocol.classes[class_id], int(self._truth_count[class_id])
        ignored = codes[:, self._tp_column] == IGNORED
        result = ClassResult(info.name, info.group, truth_count, int((~ignored).sum()))
        exempt = protocol.exempt.get(info.name, ())
        hit = codes[:, self._tp_column] == TRUE_POSITIVE
        confident = (scores >= settings.min_confidence) & ~ignored
        result.reliability = reliability(np.minimum(scores[confident], 1.0), hit[confident])
        if truth_count == 0:
            if settings.absent_classes == "zero":
                result.ap_by_level = {level: dict.fromkeys(protocol.distances, 0.0) for level in LEVELS}
                result.errors = {name: 1.0 for name in ERRORS if name not in exempt}
            return result
        for column, distance in enumerate(protocol.distances):
            ranking = Ranking(np.flatnonzero(codes[:, column] == TRUE_POSITIVE), len(scores), truth_count)
            for level in LEVELS:
                forgiven = np.flatnonzero((codes[:, column] <= level) & (codes[:, column] != TRUE_POSITIVE))
                precision = curves.precision_curve(ranking.without(forgiven))
                ap = curves.average_precision(precision, protocol.min_recall, protocol.min_precision)
                result.ap_by_level.setdefault(level, {})[distance] = ap
                if level == 0:
                    result.precision[distance] = precision
        ranking = Ranking(np.flatnonzero(hit), len(scores), truth_count).without(np.flatnonzero(ignored))
        confidence = curves.confidence_curve(ranking, scores[~ignored])
        for column, name in enumerate(ERRORS):
            if name not in exempt:
                result.errors[name] = curves.mean_error(errors[:, column], scores[hit], confidence, protocol.min_recall)
        return result


def _joined(outcomes: list[Outcomes], distances: int) -> Outcomes:
    """All outcomes as one; hits are numbered through."""
    starts = np.cumsum([0, *(len(each.scores) for each in outcomes)])
    return Outcomes(
        np.concatenate([np.zeros(0, np.int64), *(each.class_ids for each in outcomes)]),
        np.concatenate([np.zeros(0, np.float32), *(each.scores for each in outcomes)]),
        np.concatenate([np.zeros((0, distances), np.int8), *(each.codes for each in outcomes)]),
        np.concatenate(
            [np.zeros(0, np.int64), *(each.hits + start for each, start in zip(outcomes, starts, strict=False))]
        ),
        np.concatenate([np.zeros((0, len(ERRORS))), *(each.errors for each in outcomes)]),
    )


Pair = tuple[Detections, Labels] | tuple[Detections, Labels, FrameAttributes]


def evaluate(pairs: Iterable[Pair], settings: EvaluationSettings | None = None) -> Report:
    """Evaluate frames of detections against their ground truth.

    Args:
        pairs: one pair for each frame with ground truth, both in the ego frame; a frame without an answer is a pair
            with empty detections. Attributes go with them where they are known.
        settings: LT3D's unless given.
    """
    evaluator = Evaluator(settings)
    for pair in pairs:
        evaluator.add(*pair)
    return evaluator.report()

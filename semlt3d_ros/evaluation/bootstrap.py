"""Whether one detector is better than another beyond chance: average precision over and over, on drives drawn anew.

A paired bootstrap (Efron and Tibshirani 1993, chapter 16): the frames of a drive see the same objects, so whole drives
are drawn, with replacement, and the same ones for both detectors. Every prediction is matched once; what drawing drives
changes is how often each counts. Few drives vary less when drawn than they would when driven: percentiles are taken
farther out the fewer there are (the expanded percentile interval of Hesterberg, The American Statistician 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.evaluation.curves import RECALLS, average_precision
from semlt3d_ros.evaluation.matching import best_first
from semlt3d_ros.evaluation.outcomes import IGNORED, TRUE_POSITIVE, find_pairs, judge
from semlt3d_ros.evaluation.protocols import Protocol
from semlt3d_ros.evaluation.selection import select_predictions, select_truth
from semlt3d_ros.evaluation.settings import EvaluationSettings

Answer = tuple[int, Detections, Labels]
"""Number of the drive, what was found in a frame of it, what was there."""


@dataclass(frozen=True)
class Matched:
    """What became of a detector's predictions, and where.

    Attributes:
        class_ids: (P,) the protocol's class of each, best prediction first.
        codes: (P, T) as of ``evaluation.outcomes.Outcomes``.
        drives: (P,) the drive of each.
        truth: (D, K) true boxes of each class in each drive.
    """

    class_ids: NDArray[np.int64]
    codes: NDArray[np.int8]
    drives: NDArray[np.int64]
    truth: NDArray[np.int64]


def matched(answers: Sequence[Answer], drives: int, settings: EvaluationSettings) -> Matched:
    """Match what a detector found in labelled frames.

    Args:
        answers: at least one.
        drives: how many there are, with those that have no labelled frame.
        settings: what counts.
    """
    numbers, found, labels = zip(*answers, strict=True)
    protocol, no_attributes = settings.protocol, [()] * len(answers)
    table, predictions = select_predictions(found, no_attributes, settings)
    truth = select_truth(labels, no_attributes, settings)
    outcomes = judge(table, predictions, truth, find_pairs(table, predictions, truth, protocol), protocol)
    of_frame, classes = np.array(numbers, np.int64), len(protocol.classes)
    order = best_first(outcomes.scores)
    places = of_frame[truth.table.frames] * classes + truth.class_ids
    return Matched(
        outcomes.class_ids[order],
        outcomes.codes[order],
        of_frame[table.frames[predictions.rows]][order],
        np.bincount(places, minlength=drives * classes).reshape(drives, classes),
    )


def drawn_drives(drives: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """(resamples, drives) how often each drive is drawn, each time as many as there are."""
    return np.random.default_rng(seed).multinomial(drives, np.full(drives, 1.0 / drives), resamples)


def average_precisions(matches: Matched, counts: NDArray[np.int64], protocol: Protocol) -> NDArray[np.float64]:
    """(B, K) average precision of each class on drives that count several times; NaN where it has no true box there.

    Args:
        matches: of a detector.
        counts: (B, D) how often each drive counts. Where all count once, this is the evaluator's AP.
        protocol: the matches'.
    """
    truth = counts @ matches.truth
    result = np.full(truth.shape, np.nan)
    for class_id in range(truth.shape[1]):
        there = truth[:, class_id] > 0
        if there.any():
            of_class = matches.class_ids == class_id
            codes, drives = matches.codes[of_class], matches.drives[of_class]
            result[there, class_id] = np.mean(
                [
                    _of_distance(codes[:, column], drives, counts[there], truth[there, class_id], protocol)
                    for column in range(codes.shape[1])
                ],
                axis=0,
            )
    return result


def _of_distance(
    codes: NDArray[np.int8],
    drives: NDArray[np.int64],
    counts: NDArray[np.int64],
    truth: NDArray[np.int64],
    protocol: Protocol,
) -> NDArray[np.float64]:
    """(B,) average precision of one class at one distance; its predictions are ordered best first."""
    judged = codes != IGNORED
    hit, drives = codes[judged] == TRUE_POSITIVE, drives[judged]
    hits, several = np.flatnonzero(hit), counts.shape[1]
    if len(hits) == 0:
        return np.zeros(len(counts))
    # False positives count by the stretch between two hits that they lie in: recall stands still there.
    stretch = np.cumsum(hit)[~hit]
    wrong = np.bincount(stretch * several + drives[~hit], minlength=(len(hits) + 1) * several)
    false = counts @ wrong.reshape(-1, several).cumsum(axis=0).T  # up to the end of each stretch
    true = np.cumsum(counts[:, drives[hits]], axis=1)
    before = np.column_stack([np.zeros(len(counts), np.int64), true])
    # A curve turns at the end of each stretch, and at the hit that follows it.
    found = np.stack([before[:, :-1], true], axis=2).reshape(len(counts), -1)
    found = np.column_stack([found, before[:, -1]])
    among = np.stack([before[:, :-1] + false[:, :-1], true + false[:, :-1]], axis=2).reshape(len(counts), -1)
    among = np.column_stack([among, before[:, -1] + false[:, -1]])
    result = np.empty(len(counts))
    for row, (up_to, of, boxes) in enumerate(zip(found, among, truth, strict=True)):
        usable = of > 0
        if not up_to[-1]:
            result[row] = 0.0
            continue
        precision = np.interp(RECALLS, up_to[usable] / boxes, up_to[usable] / of[usable], right=0.0)
        result[row] = average_precision(precision, protocol.min_recall, protocol.min_precision)
    return result


@dataclass(frozen=True)
class Change:
    """How one figure of two detectors differs: the mean AP of some classes.

    Attributes:
        name: of the group of classes, or of the class.
        objects: true boxes.
        drives: drives that have any of them.
        running, candidate: figures in [0, 1]; None where there is no true box.
        low, high: bounds of the candidate's less the running's; each holds with the confidence asked for. None where
            fewer than two drives say anything.
        by_chance: share of the draws in which the candidate is no better.
    """

    name: str
    objects: int
    drives: int = 0
    running: float | None = None
    candidate: float | None = None
    low: float | None = None
    high: float | None = None
    by_chance: float | None = None

    @property
    def gain(self) -> float | None:
        """The candidate's figure less the running's."""
        return None if self.running is None or self.candidate is None else self.candidate - self.running


def changes(
    running: Matched,
    candidate: Matched,
    groups: dict[str, Sequence[int]],
    protocol: Protocol,
    draws: NDArray[np.int64],
    confidence: float,
) -> list[Change]:
    """How the mean AP of groups of classes differs between two detectors on the same frames.

    Args:
        running, candidate: the detectors.
        groups: names to the protocol's classes.
        protocol: the matches'.
        draws: (B, D) as of ``drawn_drives``.
        confidence: with which each bound of a change holds.
    """
    once = np.ones((1, draws.shape[1]), np.int64)
    counts = np.concatenate([once, draws])
    both = [average_precisions(each, counts, protocol) for each in (running, candidate)]
    found = []
    for name, columns in groups.items():
        truth = running.truth[:, list(columns)].sum(axis=1)
        before, after = (group_means(each[:, list(columns)]) for each in both)
        found.append(_change(name, truth, before, after, confidence))
    return found


def _change(
    name: str, truth: NDArray[np.int64], before: NDArray[np.float64], after: NDArray[np.float64], confidence: float
) -> Change:
    """Of (D,) true boxes in each drive and (1 + B,) figures, the first of all drives as they are."""
    objects, drives = int(truth.sum()), int((truth > 0).sum())
    if not objects:
        return Change(name, 0)
    gains = (after - before)[1:]
    gains = gains[np.isfinite(gains)]  # draws without any true box of the group say nothing
    by_chance = (1 + int((gains <= 0).sum())) / (1 + len(gains))
    low, high = bounds(gains, drives, confidence) or (None, None)
    return Change(name, objects, drives, float(before[0]), float(after[0]), low, high, by_chance)


def bounds(gains: NDArray[np.float64], drives: int, confidence: float) -> tuple[float, float] | None:
    """The least and the most that a gain may be, each with a confidence.

    Args:
        gains: (B,) of drives drawn anew.
        drives: how many say anything; fewer than two bound nothing.
        confidence: with which each bound holds.
    """
    if drives < 2 or not len(gains):
        return None
    share = norm.cdf(np.sqrt(drives / (drives - 1)) * student.ppf(confidence, drives - 1))
    low, high = np.quantile(gains, (1.0 - share, share))
    return float(low), float(high)


def group_means(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over the classes that have true boxes; NaN where none has."""
    known = np.isfinite(figures)
    count = known.sum(axis=1)
    total = np.where(known, figures, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(figures), np.nan), where=count > 0)

"""Precision over recall, average precision and mean true-positive errors of one class (nuScenes' definitions)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALLS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
"""The recalls at which curves are sampled."""


@dataclass(frozen=True)
class Ranking:
    """Where the true positives of one class stand among its predictions.

    Attributes:
        hits: (H,) places of the true positives, ascending; 0 is the place of the best prediction.
        predictions: number of predictions.
        truth: number of true boxes, at least 1.
    """

    hits: NDArray[np.int64]
    predictions: int
    truth: int

    def without(self, places: NDArray[np.int64]) -> Ranking:
        """The ranking that is left when the false positives at some places (ascending) are taken out."""
        return Ranking(self.hits - np.searchsorted(places, self.hits), self.predictions - len(places), self.truth)

    def corners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places where a curve over recall turns, with the number of true positives up to and including each.

        Recall stays put between true positives, so only the predictions at and just before them matter to a curve that
        is interpolated over recall; the long tail of false positives between does not.
        """
        if len(self.hits) == 0:
            return self.hits, self.hits
        places = np.stack([self.hits, np.append(self.hits[1:], self.predictions) - 1], axis=1).reshape(-1)
        counts = np.repeat(np.arange(1, len(self.hits) + 1), 2)
        if self.hits[0] > 0:
            places = np.concatenate([[0, self.hits[0] - 1], places])
            counts = np.concatenate([[0, 0], counts])
        return places, counts


def precision_curve(ranking: Ranking) -> NDArray[np.float64]:
    """Precision at ``RECALLS``, zero beyond the highest recall that was reached."""
    places, counts = ranking.corners()
    if len(places) == 0:
        return np.zeros_like(RECALLS)
    return np.interp(RECALLS, counts / ranking.truth, counts / (places + 1), right=0.0)


def confidence_curve(ranking: Ranking, scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Confidence (101,) at which each of ``RECALLS`` is reached, zero where it is not.

    Args:
        ranking: where the true positives stand.
        scores: (P,) confidences, best first.
    """
    places, counts = ranking.corners()
    if len(places) == 0:
        return np.zeros_like(RECALLS)
    return np.interp(RECALLS, counts / ranking.truth, scores[places], right=0.0)


def average_precision(precision: NDArray[np.float64], min_recall: float, min_precision: float) -> float:
    """Mean of the part of a precision curve above ``min_precision``, over the recalls above ``min_recall``."""
    counted = precision[_first(min_recall) :] - min_precision
    return float(np.mean(np.maximum(counted, 0.0))) / (1.0 - min_precision)


def mean_error(
    errors: NDArray[np.float64], scores: NDArray[np.floating], confidence: NDArray[np.float64], min_recall: float
) -> float:
    """A true-positive error: its cumulative mean, averaged over the recalls from ``min_recall`` to the highest reached.

    Args:
        errors: (M,) error of each true positive, best first; NaN where unknown.
        scores: (M,) their confidences.
        confidence: (101,) confidence at each recall.
        min_recall: recalls up to this one do not count.

    Returns:
        1.0 where nothing counts, or nothing is known, as in nuScenes.
    """
    known = ~np.isnan(errors)
    reached = np.flatnonzero(confidence)
    first = _first(min_recall)
    if not known.any() or len(reached) == 0 or reached[-1] < first:
        return 1.0
    count = np.cumsum(known)
    running = np.divide(np.nancumsum(errors), count, out=np.zeros(len(errors)), where=count > 0)
    at_recall = np.interp(confidence[::-1], scores[::-1], running[::-1])[::-1]
    return float(np.mean(at_recall[first : reached[-1] + 1]))


def _first(min_recall: float) -> int:
    return round(100 * min_recall) + 1

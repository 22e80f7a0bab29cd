"""Precision over recall, average precision and mean true-positive errors of one class (nuScenes' definitions)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RECALLS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
"""The recalls at which curves are sampled."""


def precision_curve(matched: NDArray[np.bool_], truth_count: int) -> NDArray[np.float64]:
    """Precision at ``RECALLS``, zero beyond the highest recall that was reached.

    Args:
        matched: (P,) whether each prediction, best first, is a true positive.
        truth_count: number of true boxes, at least 1.
    """
    if not matched.any():
        return np.zeros_like(RECALLS)
    hits = np.cumsum(matched).astype(np.float64)
    precision = hits / np.arange(1, len(hits) + 1)
    return np.interp(RECALLS, hits / truth_count, precision, right=0.0)


def confidence_curve(matched: NDArray[np.bool_], scores: NDArray[np.float64], truth_count: int) -> NDArray[np.float64]:
    """Confidence (101,) at which each of ``RECALLS`` is reached, zero where it is not; arguments as above."""
    if not matched.any():
        return np.zeros_like(RECALLS)
    return np.interp(RECALLS, np.cumsum(matched) / truth_count, scores, right=0.0)


def average_precision(precision: NDArray[np.float64], min_recall: float, min_precision: float) -> float:
    """Mean of the part of a precision curve above ``min_precision``, over the recalls above ``min_recall``."""
    counted = precision[_first(min_recall) :] - min_precision
    return float(np.mean(np.maximum(counted, 0.0))) / (1.0 - min_precision)


def mean_error(
    errors: NDArray[np.float64], scores: NDArray[np.float64], confidence: NDArray[np.float64], min_recall: float
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

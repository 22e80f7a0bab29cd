"""Which class true objects are taken for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.evaluation.matching import NOBODY, Pairs, as_wishes, match
from semlt3d_ros.evaluation.selection import Predictions, Truth
from semlt3d_ros.evaluation.settings import EvaluationSettings


def count_confusions(
    predictions: Predictions,
    truth: Truth,
    pairs: Pairs,
    ignored: NDArray[np.bool_],
    settings: EvaluationSettings,
) -> NDArray[np.int64]:
    """Count what true boxes are taken for when classes do not matter for matching.

    Every predicted box counts once, as its most confident class, if that is confident enough; the most confident box
    first takes the nearest true box of any class within the protocol's ``tp_distance``. One that takes none and is
    ``ignored`` (P,), on an object of none of the classes, does not count.

    Returns:
        (K + 1, K + 1) counts: a row for each true class and one for "nothing there", a column for each predicted class
        and one for "missed".
    """
    count = len(settings.protocol.classes)
    leading = _most_confident_of_box(predictions) & (predictions.scores >= settings.min_confidence)
    near = pairs.where(leading[pairs.predictions] & (pairs.distance < settings.protocol.tp_distance))
    taken = match(as_wishes(near, predictions.scores), len(predictions), len(truth.class_ids))
    true_class, found = np.full(len(predictions), count), taken != NOBODY
    true_class[found] = truth.class_ids[taken[found]]
    leading &= found | ~ignored
    missed = np.ones(len(truth.class_ids), np.bool_)
    missed[taken[found]] = False
    side = count + 1
    cells = np.append(
        true_class[leading] * side + predictions.class_ids[leading], truth.class_ids[missed] * side + count
    )
    return np.bincount(cells, minlength=side * side).reshape(side, side)


def _most_confident_of_box(predictions: Predictions) -> NDArray[np.bool_]:
    """Which predictions are the most confident of their box; of equal ones the first."""
    starts = np.flatnonzero(np.diff(predictions.rows, prepend=-1))
    best = np.zeros(len(predictions), np.bool_)
    if len(starts):
        highest = np.maximum.reduceat(predictions.scores, starts)
        counts = np.diff(starts, append=len(predictions))
        candidates = np.flatnonzero(predictions.scores == np.repeat(highest, counts))
        best[candidates[np.flatnonzero(np.diff(predictions.rows[candidates], prepend=-1))]] = True
    return best

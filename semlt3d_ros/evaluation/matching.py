"""Greedy one-to-one matching of predictions to true boxes, over many frames and classes at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NOBODY = -1
"""Stands for the true box of a prediction that took none."""


class Pairs(NamedTuple):
    """Predictions and true boxes near each other.

    Attributes:
        predictions: (E,) rows of predictions, ascending.
        truth: (E,) rows of true boxes.
        distance: (E,) metres between their centres on the ground plane.
    """

    predictions: NDArray[np.int64]
    truth: NDArray[np.int64]
    distance: NDArray[np.float64]

    def where(self, mask: NDArray[np.bool_]) -> Pairs:
        """The pairs chosen by a boolean mask (E,)."""
        return Pairs(self.predictions[mask], self.truth[mask], self.distance[mask])


def near_pairs(
    predicted: NDArray[np.float64],
    predicted_frames: NDArray[np.int64],
    truth: NDArray[np.float64],
    truth_frames: NDArray[np.int64],
    reach: float,
) -> Pairs:
    """All pairs of the same frame whose centres are less than ``reach`` metres apart.

    Args:
        predicted: (P, 2) finite centres in metres.
        predicted_frames: (P,) number of the frame of each.
        truth: (G, 2) finite centres.
        truth_frames: (G,) number of the frame of each.
        reach: metres.
    """
    if len(predicted) == 0 or len(truth) == 0:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    # Frames are laid out side by side along x, with gaps, so that one sorted list serves all of them.
    left = min(predicted[:, 0].min(), truth[:, 0].min())
    width = max(predicted[:, 0].max(), truth[:, 0].max()) - left + 4 * reach
    predicted_place = predicted_frames * width + (predicted[:, 0] - left)
    truth_place = truth_frames * width + (truth[:, 0] - left)
    by_place = np.argsort(truth_place)
    truth_place = truth_place[by_place]
    margin = reach * 1.001  # places are rounded more than distances are
    first = np.searchsorted(truth_place, predicted_place - margin)
    count = np.searchsorted(truth_place, predicted_place + margin, side="right") - first
    rows = np.repeat(np.arange(len(predicted)), count)
    columns = by_place[np.arange(len(rows)) + np.repeat(first - (np.cumsum(count) - count), count)]
    dx, dy = (np.take(predicted[:, axis], rows) - np.take(truth[:, axis], columns) for axis in (0, 1))
    distance = np.sqrt(dx * dx + dy * dy)
    near = np.flatnonzero(distance < reach)
    return Pairs(rows[near], columns[near], distance[near])


def best_first(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Order of descending score; of equal scores the later goes first, as in the nuScenes development kit.

    Args:
        scores: (P,) positive.
    """
    # Positive floats are ordered as their bits are. With the place behind them all keys differ, so that the fastest
    # sort will do, which is not stable.
    keys = np.ascontiguousarray(scores, np.float32).view(np.uint32).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(scores), dtype=np.uint64)
    keys.sort()
    return (keys[::-1] & np.uint64(0xFFFFFFFF)).astype(np.int64)


def as_wishes(pairs: Pairs, scores: NDArray[np.float32]) -> Pairs:
    """Pairs in the order in which they are to be tried: the best prediction's first, its nearest true box first.

    Args:
        pairs: in the order of predictions.
        scores: (P,) confidence of each prediction.
    """
    starts = np.flatnonzero(np.diff(pairs.predictions, prepend=-1))
    order = best_first(scores[pairs.predictions[starts]])
    rank = np.empty(len(starts), dtype=np.int64)
    rank[order] = np.arange(len(starts))
    ranks = np.repeat(rank, np.diff(starts, append=len(pairs.predictions)))
    # Of equally near boxes the first comes first.
    order = np.lexsort((pairs.truth, pairs.distance, ranks))
    return Pairs(pairs.predictions[order], pairs.truth[order], pairs.distance[order])


def match(wishes: Pairs, prediction_count: int, truth_count: int) -> NDArray[np.int64]:
    """Let each prediction in turn, best first, take the nearest true box that is not taken yet.

    That is the one stable matching between predictions, who prefer near boxes, and boxes, who all prefer the better
    prediction. So it need not be made in turn: everybody asks for the nearest box at once, each box keeps the best who
    asks, and the others ask on (Gale and Shapley 1962). A few rounds serve all frames and classes.

    Args:
        wishes: who may take what, ordered by ``as_wishes``.
        prediction_count: P.
        truth_count: number of true boxes.

    Returns:
        (P,) the true box each prediction takes, ``NOBODY`` where it takes none.
    """
    taken = np.full(prediction_count, NOBODY)
    starts = np.flatnonzero(np.diff(wishes.predictions, prepend=NOBODY))
    # From here on askers are numbered best first; each has its wishes from ``next_wish`` up to ``ends``.
    nobody = len(starts)
    next_wish, ends = starts.copy(), np.append(starts[1:], len(wishes.predictions))
    holder = np.full(truth_count, nobody)
    asking = np.arange(nobody)
    while len(asking):
        asked = wishes.truth[next_wish[asking]]
        before = holder[asked]
        # The last of several assignments stays: in reverse, the best asker's.
        holder[asked[::-1]] = asking[::-1]
        after = np.minimum(holder[asked], before)
        holder[asked] = after
        left = np.zeros(nobody + 1, np.bool_)
        left[asking[after != asking]] = True
        left[before[after != before]] = True
        asking = np.flatnonzero(left[:nobody])
        next_wish[asking] += 1
        asking = asking[next_wish[asking] < ends[asking]]
    held = np.flatnonzero(holder != nobody)
    taken[wishes.predictions[starts[holder[held]]]] = held
    return taken

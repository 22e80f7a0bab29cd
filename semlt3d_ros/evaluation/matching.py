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
    offset = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    columns = by_place[np.repeat(first, count) + offset]
    dx, dy = (predicted[rows, axis] - truth[columns, axis] for axis in (0, 1))
    distance = np.sqrt(dx * dx + dy * dy)
    near = distance < reach
    return Pairs(rows[near], columns[near], distance[near])


def match(pairs: Pairs, rank: NDArray[np.int64], truth_count: int) -> NDArray[np.int64]:
    """Let each prediction in turn, best first, take the nearest true box that is not taken yet.

    That is the one stable matching between predictions, who prefer near boxes, and boxes, who all prefer the better
    ranked prediction. So it need not be made in turn: everybody asks for the nearest box at once, each box keeps the
    best who ask, and the others ask on (Gale and Shapley 1962). A few rounds serve all frames and classes.

    Args:
        pairs: who may take what.
        rank: (P,) place of each prediction among all, 0 for the best.
        truth_count: number of true boxes.

    Returns:
        (P,) the true box each prediction takes, ``NOBODY`` where it takes none. Of equally near boxes the first counts.
    """
    taken = np.full(len(rank), NOBODY)
    if len(pairs.predictions) == 0:
        return taken
    ranks = rank[pairs.predictions]
    order = np.lexsort((pairs.truth, pairs.distance, ranks))
    wishes, ranks = pairs.truth[order], ranks[order]
    starts = np.flatnonzero(np.diff(ranks, prepend=-1))
    ends = np.append(starts[1:], len(ranks))
    asker_of_start = pairs.predictions[order[starts]]
    # From here on askers are numbered in the order of rank; each has its wishes from `next_wish` up to `ends`.
    next_wish, nobody = starts.copy(), len(starts)
    holder = np.full(truth_count, nobody)
    asking = np.arange(nobody)
    while len(asking):
        asked = wishes[next_wish[asking]]
        before = holder[asked]
        # The last of several assignments stays: reversed, that is the best rank's.
        holder[asked[::-1]] = asking[::-1]
        holder[asked] = np.minimum(holder[asked], before)
        refused = asking[holder[asked] != asking]
        displaced = before[(before != nobody) & (holder[asked] != before)]
        asking = np.union1d(refused, displaced)
        next_wish[asking] += 1
        asking = asking[next_wish[asking] < ends[asking]]
    held = np.flatnonzero(holder != nobody)
    taken[asker_of_start[holder[held]]] = held
    return taken

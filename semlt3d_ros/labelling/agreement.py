"""What the detections of one object agree on: its size, where it heads, and that it stands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.labelling.settings import LabelSettings
from semlt3d_ros.labelling.tracking import Floats

_NOISE_M = 0.3
"""What is not farther from where it was need not have moved."""
_WINDOW = 2
"""Neighbours to either side that a moving object's heading is agreed with."""


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """(C,) the median of each column of values (N, C) with weights (N,)."""
    order = values.argsort(axis=0)
    reached = weights[order].cumsum(axis=0) >= weights.sum() / 2
    return np.take_along_axis(np.take_along_axis(values, order, 0), reached.argmax(axis=0)[None], 0)[0]


def stands(means: Floats, seconds: float, settings: LabelSettings) -> bool:
    """Whether an object stands throughout.

    Args:
        means: (T, 5) smoothed x y z vx vy.
        seconds: from the first to the last of them.
        settings: how slow that is.
    """
    way = np.linalg.norm(means[-1, :2] - means[0, :2])
    spread = np.linalg.norm(means[:, :2] - means[:, :2].mean(axis=0), axis=1).max()
    slow = way <= max(settings.still_mps * seconds, _NOISE_M)
    if len(means) < 2 or seconds <= 0:
        return bool(np.linalg.norm(means[0, 3:]) < settings.still_mps)
    return bool(slow and max(way, 2 * spread) < settings.still_m)


def axis_of(yaws: Floats, weights: Floats) -> float:
    """The heading of a standing object with headings (N,), most of which are not the wrong way round."""
    axis = 0.5 * np.arctan2((weights * np.sin(2 * yaws)).sum(), (weights * np.cos(2 * yaws)).sum())
    forward = (weights * np.cos(yaws - axis)).sum() >= 0
    return float(axis if forward else axis + np.pi)


def agreed_headings(
    yaws: Floats, weights: Floats, hits: NDArray[np.int64], velocities: Floats, settings: LabelSettings
) -> Floats:
    """(T,) headings of a moving object: none is the wrong way round, and neighbours differ little.

    Args:
        yaws: (N,) detected headings.
        weights: (N,) how much each counts.
        hits: (N,) at which of the T steps.
        velocities: (T, 2) smoothed.
        settings: from which speed on an object heads along its way.
    """
    speeds = np.linalg.norm(velocities, axis=1)
    along = np.arctan2(velocities[:, 1], velocities[:, 0])
    fast = np.flatnonzero(speeds >= settings.heading_mps)
    if len(fast):
        # Where it is slow it heads as at the nearest time that it was not.
        nearest = fast[np.abs(hits[:, None] - fast[None]).argmin(axis=1)]
        wanted = along[nearest]
        # What does not lie along the way at all, as of one that reverses, is left as it is by a half turn at most.
        flipped = np.cos(yaws - wanted) < 0
    else:
        flipped = np.cos(yaws - axis_of(yaws, weights)) < 0
    turned = np.where(flipped, yaws + np.pi, yaws)
    vectors = np.stack([np.cos(turned), np.sin(turned)], axis=1) * weights[:, None]
    result = np.empty(len(velocities))
    for step in range(len(velocities)):
        near = np.abs(hits - step) <= _WINDOW
        if not near.any():
            near = np.abs(hits - step) == np.abs(hits - step).min()
        kernel = 1.0 / (1.0 + np.abs(hits[near] - step))
        x, y = (vectors[near] * kernel[:, None]).sum(axis=0)
        result[step] = np.arctan2(y, x)
    return result

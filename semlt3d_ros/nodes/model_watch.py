"""Whether a model that was promoted does what the one before it did: it answers, in time, with scores like those."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_SETS = 50
"""Fewer sets say nothing; so many failures in a row are enough too."""
_LEAST_SCORES = 200
_KEPT = 500
"""Sets that medians and distributions are taken of: the newest."""
_BINS = np.linspace(0.05, 1.0, 11)
"""Weaker detections are noise, of which models have more or less."""


@dataclass(frozen=True)
class WatchLimits:
    """What a promoted model may do; see the node's parameters of the same names, with ``watch_`` before them.

    Attributes:
        sets: that it must come through; 0 asks for none.
        error_share: of the sets may fail.
        latency_factor: times the detection time of the model before.
        score_drift: between the scores of both, from 0 (alike) to 1 (they share none).
        crashes: of the node that it is given up after.
    """

    sets: int
    error_share: float
    latency_factor: float
    score_drift: float
    crashes: int


@dataclass(frozen=True)
class Behaviour:
    """How a model was at work.

    Attributes:
        sets: that it was seen in.
        milliseconds: median of a detection; 0 where none was measured.
        scores: how many detections had a score in each of ten bins.
    """

    sets: int = 0
    milliseconds: float = 0.0
    scores: tuple[int, ...] = ()


class ModelWatch:
    """Counts what the running model does; while one is on trial, against the one before it.

    Attributes:
        sets, failures: of the running model.
    """

    def __init__(self) -> None:
        self.start(None)

    def start(self, before: Behaviour | None) -> None:
        """Another model runs from now on; ``before`` is how the former one was, None where there is no trial."""
        self.before = before
        self.sets = self.failures = 0
        self._milliseconds: deque[float] = deque(maxlen=_KEPT)
        self._scores: deque[NDArray[np.int64]] = deque(maxlen=_KEPT)

    def add(self, milliseconds: float, scores: NDArray[np.float32]) -> None:
        """A set that was answered in so many milliseconds, and the scores (N,) of what was found."""
        self.sets += 1
        self._milliseconds.append(milliseconds)
        self._scores.append(np.histogram(scores, _BINS)[0])

    def add_failure(self) -> None:
        """A set that the model gave no answer to."""
        self.sets += 1
        self.failures += 1

    def behaviour(self) -> Behaviour:
        """How the running model is at work."""
        if not self._milliseconds:
            return Behaviour(self.sets)
        scores = tuple(int(count) for count in np.sum(self._scores, axis=0))
        return Behaviour(self.sets, statistics.median(self._milliseconds), scores)

    def fault(self, limits: WatchLimits) -> str:
        """Why the model on trial should not go on, in words; empty while nothing speaks against it."""
        if self.failures > limits.error_share * max(self.sets, LEAST_SETS):
            return f"it failed in {self.failures} of {self.sets} sets"
        before, now = self.before, self.behaviour()
        if before is None or min(before.sets, now.sets) < LEAST_SETS:
            return ""
        if before.milliseconds and now.milliseconds > limits.latency_factor * before.milliseconds:
            return f"a detection takes {now.milliseconds:.1f} ms, it took {before.milliseconds:.1f} ms before"
        drift = score_drift(before.scores, now.scores)
        if drift > limits.score_drift:
            return f"its scores are others than those of the model before ({drift:.2f} apart)"
        return ""


def score_drift(before: tuple[int, ...], now: tuple[int, ...]) -> float:
    """How far two distributions of scores are apart: half the sum of the differences of their shares, in [0, 1].

    How many detections there are depends on where the vehicle is, and does not count; but where there were many, none
    at all is as far as can be. Too few to tell are not apart.
    """
    first, second = sum(before), sum(now)
    if first >= _LEAST_SCORES and not second:
        return 1.0
    if min(first, second) < _LEAST_SCORES:
        return 0.0
    return float(np.abs(np.array(before) / first - np.array(now) / second).sum() / 2)

"""What a detector node knows about its own work: how many sets, where the rest went, and where the time goes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

STAGES = ("receive", "prepare", "wait", "batch", "forward", "decode", "opinion", "publish")
"""Disjoint windows of one set's way through the node, in order; the windows of ``StageLatencies``.

``receive``: from the arrival of the set's last image until the node takes it up. ``prepare``: that image is decoded and
scaled, and the set assembled. ``wait``: until the detector is free. ``batch``, ``forward``, ``decode``: the detector's
own stages. ``opinion``: a second opinion, 0 without. ``publish``: everything after, until the last message is sent.
"""
NOBODY_LISTENS = "nobody_listens"
"""Why sets are dropped that nobody wants: that is no loss."""
_WINDOW = 2000


class StageLatencies:
    """Percentiles of the last 2000 sets' latencies, in milliseconds."""

    def __init__(self) -> None:
        self._stages: dict[str, deque[float]] = {name: deque(maxlen=_WINDOW) for name in STAGES}
        self._total: deque[float] = deque(maxlen=_WINDOW)

    def add(self, stages_ms: Mapping[str, float], total_ms: float) -> None:
        """One processed set: milliseconds by stage, and from the arrival of its last image to the end of publishing."""
        for name in STAGES:
            self._stages[name].append(stages_ms[name])
        self._total.append(total_ms)

    def values(self) -> dict[str, str]:
        """``latency_ms.p50``, ``latency_ms.p99`` and the same of each stage; ``n/a`` before the first set."""
        values = _percentiles("latency_ms", self._total)
        for name, window in self._stages.items():
            values.update(_percentiles(f"{name}_ms", window))
        return values


@dataclass
class SetCounters:
    """Where every set went. ``sets_in = sets_processed + sum(drops) + sets under way``.

    Attributes:
        sets_in: sets that images made up: processed, dropped or under way.
        sets_processed: sets whose detections were published.
        drops: sets that were lost, by reason.
    """

    sets_in: int = 0
    sets_processed: int = 0
    drops: Counter[str] = field(default_factory=Counter)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count sets as lost."""
        self.drops[reason] += count

    @property
    def lost(self) -> int:
        """Sets that were wanted and not processed."""
        return sum(self.drops.values()) - self.drops[NOBODY_LISTENS]

    def values(self) -> dict[str, str]:
        """``sets_in``, ``sets_processed`` and one ``drops.<reason>`` per reason."""
        values = {"sets_in": str(self.sets_in), "sets_processed": str(self.sets_processed)}
        values.update({f"drops.{reason}": str(count) for reason, count in sorted(self.drops.items())})
        return values


def _percentiles(name: str, window: deque[float]) -> dict[str, str]:
    if not window:
        return {f"{name}.p50": "n/a", f"{name}.p99": "n/a"}
    middle, high = np.percentile(np.asarray(window), (50, 99))
    return {f"{name}.p50": f"{middle:.3f}", f"{name}.p99": f"{high:.3f}"}

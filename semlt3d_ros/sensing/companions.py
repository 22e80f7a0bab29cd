"""Messages that go with a frame by their stamp: the point cloud and the ground truth. Decoded only when chosen."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.messages.decode import stamp_of

_SECOND = 1_000_000_000
_MAX_BACKWARD = _SECOND
"""A stamp that falls back by more is a time jump: what was kept belongs to another time."""


@dataclass(order=True)
class _Kept:
    stamp: int
    message: Any = field(compare=False)
    used: bool = field(compare=False, default=False)


class Companions:
    """Keeps the newest messages of one topic for the frames that come to ask.

    Attributes:
        name: what they are.
        drops: messages that no frame took, by reason: ``<name>_unmatched``.
    """

    def __init__(self, name: str, tolerance_s: float, capacity: int = 16) -> None:
        """Set up for messages called ``name``, of which ``capacity`` are kept."""
        self.name = name
        self.drops: Counter[str] = Counter()
        self._tolerance = round(tolerance_s * _SECOND)
        self._capacity = capacity
        self._kept: list[_Kept] = []
        self._newest: int | None = None
        self._count, self._taken = 0, 0
        self._closest: int | None = None

    def add(self, message: Any) -> None:
        """Keep a message with a header."""
        stamp = stamp_of(message)
        self._count += 1
        if self._newest is not None and stamp < self._newest - _MAX_BACKWARD:
            self._forget(len(self._kept))
            self._newest = None
        insort(self._kept, _Kept(stamp, message))
        self._newest = stamp if self._newest is None else max(self._newest, stamp)
        self._forget(len(self._kept) - self._capacity)

    def settled(self, stamp: int) -> bool:
        """Whether the nearest message to ``stamp`` is known, given that they arrive in order."""
        return self._newest is not None and self._newest >= stamp

    def nearest(self, stamp: int) -> Any | None:
        """The message nearest to ``stamp`` within the tolerance, or None."""
        kept = self._nearest(stamp)
        return kept.message if kept else None

    def release(self, stamp: int) -> None:
        """The frame at ``stamp`` has taken its message; later frames need none that is older than the tolerance."""
        taken = self._nearest(stamp)
        if taken:
            taken.used = True
            self._taken += 1
        self._forget(sum(kept.stamp < stamp - self._tolerance for kept in self._kept))

    def tell_at_end(self, topic: str, faults: FaultLog) -> None:
        """Put into ``faults`` that no frame took any of the messages, where there were frames that asked."""
        if self._count and not self._taken and self._closest is not None:
            faults.add(
                topic,
                f"{self.name}_unmatched",
                f"none of {self._count} lies within {self._tolerance / _SECOND:g} s of a set of images, the nearest "
                f"{self._closest / _SECOND:+.3f} s off; synchronise the clocks, or correct its header.stamp",
                self._count,
            )

    def _nearest(self, stamp: int) -> _Kept | None:
        nearest = min(self._kept, key=lambda kept: abs(kept.stamp - stamp), default=None)
        if nearest and (self._closest is None or abs(nearest.stamp - stamp) < abs(self._closest)):
            self._closest = nearest.stamp - stamp
        return nearest if nearest and abs(nearest.stamp - stamp) <= self._tolerance else None

    def _forget(self, count: int) -> None:
        unused = sum(not kept.used for kept in self._kept[: max(count, 0)])
        if unused:
            self.drops[f"{self.name}_unmatched"] += unused
        del self._kept[: max(count, 0)]

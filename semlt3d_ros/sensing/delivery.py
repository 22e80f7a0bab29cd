"""How many images each camera of a rig delivers, and whether that is markedly less than it should be."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence

_SECOND = 1_000_000_000
_WINDOW = 4 * _SECOND
_MOST = 4096
"""Arrivals remembered of one camera: far above every frame rate, so that no stream of images fills the memory."""
_CHANCE = 2
"""Where the window begins and how regular the images are, changes two counts by this much against each other."""


class DeliveryRates:
    """Counts the images of the last four seconds. Time is the rig's own: the newest stamp of all cameras.

    So a recording played at half speed has the rates it was made with, a camera with a wrong clock spoils nobody's
    rate, and nothing changes while no camera sends anything.

    Args:
        cameras: names of the rig's cameras.
        anchor: the one whose images sets are made around.
    """

    def __init__(self, cameras: Sequence[str], anchor: str) -> None:
        self._anchor = anchor
        self._now = 0
        self._arrivals: dict[str, deque[int]] = {name: deque(maxlen=_MOST) for name in cameras}
        self._since: dict[str, int] = {}
        self._best: dict[str, int] = {}

    def add(self, camera: str, now: int) -> None:
        """An image of a camera has arrived; ``now`` is the newest stamp of all cameras, in nanoseconds."""
        if now < self._now:
            self._forget()
            self._best.clear()
        elif now > self._now + _WINDOW:
            self._forget()
        self._now = now
        self._since.setdefault(camera, now)
        self._arrivals[camera].append(now)
        count = self._count(camera)
        if count is not None:
            self._best[camera] = max(count, self._best.get(camera, 0))

    def rate_hz(self, camera: str) -> float | None:
        """Images per second; None until the camera has been there for four seconds."""
        return _rate(self._count(camera))

    def expected_hz(self, camera: str) -> float | None:
        """The rate that a camera falls short of by more than half; None if it does not, or nothing can be said yet.

        It is the most that this camera ever delivered, or what the rig's cameras deliver now (their median, but not
        more than the anchor: images that no set asks for are not missed).
        """
        count = self._count(camera)
        if count is None:
            return None
        expected = max(self._best.get(camera, 0), self._usual())
        return _rate(expected) if count < expected / 2 - _CHANCE else None

    def _usual(self) -> int:
        counts = {name: count for name in self._arrivals if (count := self._count(name)) is not None}
        # Without images of the anchor, sets are made around those of the others.
        return min(statistics.median_high(counts.values()), counts.get(self._anchor) or _MOST)

    def _count(self, camera: str) -> int | None:
        start = self._now - _WINDOW
        if self._since.get(camera, self._now) > start:
            return None
        arrivals = self._arrivals[camera]
        while arrivals and arrivals[0] <= start:
            arrivals.popleft()
        return len(arrivals)

    def _forget(self) -> None:
        self._since.clear()
        for arrivals in self._arrivals.values():
            arrivals.clear()


def _rate(count: int | None) -> float | None:
    return None if count is None else count * _SECOND / _WINDOW

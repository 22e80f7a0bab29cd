"""From messages and firing triggers to events: where each begins, what belongs to it, and where it ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule
from semlt3d_ros.recording.ring import Entry, Ring
from semlt3d_ros.recording.watching import Firing

_CLOCK_JUMP_NS = 1_000_000_000
"""By so much the wall clock may be set without events noticing."""
CLOCK_JUMP = "the clock was set"


@dataclass(frozen=True)
class Spans(Checked):
    """How long events are, all in seconds.

    Attributes:
        pre_roll_s: what an event holds from before its trigger.
        post_roll_s: and from after the last.
        longest_s: an event that would go on for longer is followed by another, without a gap.
    """

    TITLE: ClassVar[str] = "events"
    CHECKS: ClassVar[Checks] = (
        *not_negative("pre_roll_s", "post_roll_s"),
        *positive("longest_s"),
        rule(
            lambda spans: spans.longest_s >= spans.pre_roll_s + spans.post_roll_s,
            "longest_s {0.longest_s} is less than pre_roll_s {0.pre_roll_s} and post_roll_s {0.post_roll_s} together",
        ),
    )

    pre_roll_s: float = 5.0
    post_roll_s: float = 5.0
    longest_s: float = 60.0


class Writer(Protocol):
    """Where events go; ``EventWriter`` is one."""

    def begin(self, name: str, triggers: Sequence[str], worth: float, entries: Sequence[Entry]) -> bool:
        """Begin an event; False where it is lost."""

    def write(self, entry: Entry) -> bool:
        """Append a message; False where it is lost."""

    def update(self, triggers: Sequence[str], worth: float) -> None:
        """Tell what else has fired."""

    def end(self, lost: int = 0, cut: str = "") -> None:
        """End the event."""

    def drop(self) -> None:
        """End the event, and keep nothing of it."""


@dataclass
class _Open:
    """An event that is not over, by ``Entry.at``: ``end`` is when its post-roll is."""

    start: int
    end: int
    fired: dict[str, float] = field(default_factory=dict)
    until: dict[str, int] = field(default_factory=dict)
    lost: int = 0

    @property
    def worth(self) -> float:
        return max(self.fired.values())


class Recorder:
    """Makes one event after the other.

    An event that is over stays open for another pre-roll, so that a trigger whose pre-roll would reach into it goes on
    with it: no message is in two events.

    Args:
        ring: the last messages; it must reach as far back as the pre-roll.
        writer: where events go.
        spans: how long they are.

    Attributes:
        lost: messages that belonged to an event and were not taken by the writer.
        jumps: how often the wall clock was set; messages before and after are never in one event.
    """

    def __init__(self, ring: Ring, writer: Writer, spans: Spans) -> None:
        self._ring, self._writer = ring, writer
        self._pre, self._post, self._longest = (
            round(value * 1e9) for value in (spans.pre_roll_s, spans.post_roll_s, spans.longest_s)
        )
        self._open: _Open | None = None
        self._last: tuple[int, int] | None = None
        self._taken = -1  # by ``at``, the last message that is in an event
        self.lost = 0
        self.jumps = 0

    @property
    def is_recording(self) -> bool:
        """Whether an event is open."""
        return self._open is not None

    def add(self, topic: str, type_name: str, data: bytes, stamp: int, at: int) -> None:
        """Take in a message; arguments as of ``Entry``."""
        at = self._advanced(stamp, at)
        entry = Entry(topic, type_name, stamp, at, data)
        self._ring.add(entry)
        if self._open is not None and at <= self._open.end:
            self._hand_over(entry)

    def fire(self, firings: Sequence[Firing], stamp: int, at: int) -> None:
        """Begin an event, or make the one that is open longer."""
        at = self._advanced(stamp, at)
        if not firings:
            return
        if self._open is None:
            fired = {firing.name: firing.worth for firing in firings}
            start = max(at - self._pre, self._taken + 1)
            if not self._begin(fired, stamp, start, self._ring.since(start)):
                return
        elif at > self._open.end:
            between = self._ring.since(self._open.end + 1)
            self._open.end = at
            for entry in between:
                self._hand_over(entry)
        assert self._open is not None
        known = len(self._open.fired)
        for firing in firings:
            self._open.fired.setdefault(firing.name, firing.worth)
            self._open.until[firing.name] = at + self._post
        self._open.end = max(self._open.end, at + self._post)
        if len(self._open.fired) > known:
            self._writer.update(tuple(self._open.fired), self._open.worth)

    def tick(self, stamp: int, at: int) -> None:
        """Time goes by without messages."""
        self._advanced(stamp, at)

    def close(self) -> None:
        """End the event that is open."""
        self._end()

    def _advanced(self, stamp: int, at: int) -> int:
        """Go on in time: end what is over. Returns ``at``, or what was there before if it has gone back."""
        if self._last is not None:
            at = max(at, self._last[1])
            if abs((stamp - self._last[0]) - (at - self._last[1])) > _CLOCK_JUMP_NS:
                self.jumps += 1
                self._end(CLOCK_JUMP)
                self._ring.forget_before(at + 1)
        self._last = stamp, at
        event = self._open
        if event is not None and at > event.end + self._pre:
            self._end()
        elif event is not None and at - event.start > self._longest:
            self._end()
            going_on = {name: event.fired[name] for name, until in event.until.items() if until >= at}
            if going_on and self._begin(going_on, stamp, at, ()):
                self._open.end = event.end  # type: ignore[union-attr]
                self._open.until = {name: event.until[name] for name in going_on}  # type: ignore[union-attr]
        return at

    def _begin(self, fired: dict[str, float], stamp: int, start: int, before: Sequence[Entry]) -> bool:
        """Whether the event could be begun; what holds until it is replaced comes first, as of its beginning."""
        first = before[0].stamp if before else stamp
        latched = [entry._replace(stamp=first) for entry in self._ring.latched()]
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(stamp // 1_000_000_000)) + f"-{next(iter(fired))}"
        if not self._writer.begin(name, tuple(fired), max(fired.values()), [*latched, *before]):
            return False
        self._open = _Open(start, start, dict(fired))
        self._taken = before[-1].at if before else self._taken
        return True

    def _hand_over(self, entry: Entry) -> None:
        self._taken = entry.at
        if not self._writer.write(entry):
            self.lost += 1
            if self._open is not None:
                self._open.lost += 1

    def _end(self, cut: str = "") -> None:
        event, self._open = self._open, None
        if event is None:
            return
        if self._taken >= event.start:
            self._writer.end(event.lost, cut)
        else:  # it was to go on from one that had lasted too long, and nothing has come since
            self._writer.drop()

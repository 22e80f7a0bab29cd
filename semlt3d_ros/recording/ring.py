"""The last seconds of a drive, as the serialised messages they came in."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_OVERHEAD_BYTES = 300
"""What Python takes for an entry besides its data; thousands of small transforms are not free."""
_MOST_LATCHED = 100
"""Messages of one topic of static transforms; as deep as ``port.LATCHED``."""


class Entry(NamedTuple):
    """A message as it was received.

    Attributes:
        topic: topic name.
        type_name: ``"pkg/msg/Name"``.
        stamp: log time: when it was received by the wall clock, nanoseconds.
        at: the same by a clock that nobody sets, nanoseconds since whenever.
        data: CDR bytes.
    """

    topic: str
    type_name: str
    stamp: int
    at: int
    data: bytes

    @property
    def size(self) -> int:
        """What it takes of the memory, bytes."""
        return len(self.data) + _OVERHEAD_BYTES


class Ring:
    """Messages of the last ``seconds``, fewer where they are more than ``max_bytes``; nothing is decoded.

    Args:
        seconds: how far back it reaches.
        max_bytes: what its messages may take of the memory.
        all_latched: topics of which every different message counts, however old, such as ``/tf_static``.
        last_latched: topics of which the last message counts, however old, such as ``camera_info``.

    Attributes:
        byte_count: what its messages take.
        is_full: whether the last message pushed out one that was young enough.
        too_large: messages that alone are larger than the whole ring, and are not in it.
    """

    def __init__(
        self,
        seconds: float,
        max_bytes: int,
        all_latched: frozenset[str] = frozenset(),
        last_latched: frozenset[str] = frozenset(),
    ) -> None:
        self._window = round(seconds * 1e9)
        self._max_bytes = max_bytes
        self._all_latched, self._last_latched = all_latched, last_latched
        self._entries: deque[Entry] = deque()
        self._latched: dict[str, dict[bytes, Entry]] = {}
        self.byte_count = 0
        self.is_full = False
        self.too_large = 0

    def add(self, entry: Entry) -> None:
        """Take in a message; its ``at`` must not be before that of the last."""
        self._latch(entry)
        if entry.size > self._max_bytes:
            self.too_large += 1
            return
        self._entries.append(entry)
        self.byte_count += entry.size
        self.forget_before(entry.at - self._window)
        self.is_full = self.byte_count > self._max_bytes
        while self.byte_count > self._max_bytes:
            self._drop_oldest()

    def forget_before(self, at: int) -> None:
        """Let go of what was received before; latched messages stay."""
        while self._entries and self._entries[0].at < at:
            self._drop_oldest()

    def since(self, at: int) -> list[Entry]:
        """The messages received at ``at`` or later, oldest first."""
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.at < at:
                break
            found.append(entry)
        return found[::-1]

    def latched(self) -> list[Entry]:
        """Those messages that hold until they are replaced, oldest first."""
        return sorted((entry for kept in self._latched.values() for entry in kept.values()), key=lambda each: each.at)

    @property
    def reach_s(self) -> float:
        """Seconds from the oldest message to the newest."""
        return (self._entries[-1].at - self._entries[0].at) * 1e-9 if self._entries else 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def _latch(self, entry: Entry) -> None:
        if entry.topic in self._last_latched:
            self._latched[entry.topic] = {b"": entry}
        elif entry.topic in self._all_latched:
            kept = self._latched.setdefault(entry.topic, {})
            kept.pop(entry.data, None)  # said again, it is the newest
            kept[entry.data] = entry
            if len(kept) > _MOST_LATCHED:
                del kept[next(iter(kept))]

    def _drop_oldest(self) -> None:
        self.byte_count -= self._entries.popleft().size

"""What is wrong with an input, told in the same line wherever a user looks: commands, the node's log, diagnostics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from semlt3d_ros.core.errors import InputRejected


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with one place, however often it was met.

    Attributes:
        place: the topic, frame or file, such as ``"/sensing/camera/CAM_FRONT/camera_info"``.
        reason: short stable key, as of ``InputRejected``.
        text: what is wrong, with numbers, and what to do about it; the newest of its kind.
        count: how often it was met.
        harmless: nothing was lost: it was put right, and is told because the user may want to mend its cause.
    """

    place: str
    reason: str
    text: str
    count: int = 1
    harmless: bool = False

    @property
    def line(self) -> str:
        """Place and text in one line; the same line for every count, so that logs and diagnostics can be compared."""
        return f"{self.place}: {' '.join(self.text.split())}"

    def __str__(self) -> str:
        return self.line if self.count == 1 else f"{self.line} ({self.count} times)"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "place": self.place,
            "reason": self.reason,
            "text": self.text,
            "count": self.count,
            "harmless": self.harmless,
        }


MOST_PLACES = 500
ELSEWHERE = "elsewhere"
"""The place of what is met once there are so many: names of frames come from the graph and may never end."""


class FaultLog:
    """Faults by place and reason, in the order in which they were first met; bounded. Not thread-safe."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults: dict[tuple[str, str], Fault] = {}
        self.extend(faults)

    def add(self, place: str, reason: str, text: str, count: int = 1, harmless: bool = False) -> None:
        """Count a fault; its text takes the place of the former one's."""
        if len(self._faults) >= MOST_PLACES and (place, reason) not in self._faults:
            place, text = ELSEWHERE, text if place == ELSEWHERE else f"{place}: {text}"
        former = self._faults.get((place, reason))
        total = count + (former.count if former else 0)
        self._faults[place, reason] = Fault(place, reason, text, total, harmless)

    def reject(self, place: str, error: InputRejected) -> None:
        """Count what a message or file entry was rejected for."""
        self.add(place, error.reason, str(error))

    def note(self, place: str, reason: str, text: str) -> None:
        """Count what was put right."""
        self.add(place, reason, text, harmless=True)

    def extend(self, faults: Iterable[Fault]) -> None:
        """Count the faults of another log too."""
        for fault in faults:
            self.add(fault.place, fault.reason, fault.text, fault.count, fault.harmless)

    def clear(self) -> None:
        """Forget all."""
        self._faults.clear()

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._faults.values()))

    def __len__(self) -> int:
        return len(self._faults)

    def reasons(self, most: int = 3) -> str:
        """The first few faults in one line, for the error of a run that came to nothing; empty where there are none."""
        lines = [str(fault) for fault in self if not fault.harmless]
        return "; ".join(lines[:most]) + (f"; and {len(lines) - most} more" if len(lines) > most else "")

    def since(self, before: Iterable[Fault]) -> list[Fault]:
        """What was met since ``before`` was taken of this log (``tuple(log)``), with the counts since then."""
        counts = {(fault.place, fault.reason): fault.count for fault in before}
        grown = ((fault, fault.count - counts.get((fault.place, fault.reason), 0)) for fault in self)
        return [replace(fault, count=more) for fault, more in grown if more > 0]

    def to_json(self) -> list[dict[str, Any]]:
        """As plain values, ready for ``json.dumps``."""
        return [fault.to_json() for fault in self]

"""What all triggers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.recording.places import Places


class Sight(NamedTuple):
    """What triggers are shown.

    Attributes:
        at: when, nanoseconds of a clock that nobody sets.
        topic: where it came from; empty where only time goes by.
        message: the message; None where only time goes by.
        detections: what it says, if it is a ``LongTailDetectionArray``.
        fired: names of the triggers that have fired on this sight, of those that stand above in the file.
    """

    at: int
    topic: str = ""
    message: Any = None
    detections: Detections | None = None
    fired: tuple[str, ...] = ()


Watch = Callable[[Sight], bool]
"""Whether the trigger fires."""


def topic_entry(entry: str) -> Checks:
    """Checks that an entry is the name of a topic."""
    return (
        rule(
            lambda trigger: getattr(trigger, entry).startswith("/"),
            f"{entry} must be a topic that begins with '/', not {{0.{entry}!r}}",
        ),
    )


@dataclass(frozen=True)
class Trigger(Checked, ABC):
    """What all triggers have.

    Attributes:
        worth: of an event that it makes; events of little worth are deleted first. An event takes the largest.
        pause_s: after it has made an event, or made one longer, it does not do so again for so long.
        alone: whether it makes events by itself; else only with others, in ``all_of``.
    """

    TITLE: ClassVar[str] = "trigger"
    CHECKS: ClassVar[Checks] = (*positive("worth"), *not_negative("pause_s"))

    worth: float = 1.0
    pause_s: float = 5.0
    alone: bool = True

    @classmethod
    def in_full(cls, values: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """What ``kind`` says is known by the class."""
        return {name: value for name, value in values.items() if name != "kind"}

    def topics(self) -> dict[str, str]:
        """What it looks at: topics with their types; nothing where it looks at the time alone."""
        return {}

    @abstractmethod
    def watch(self, places: Places) -> Watch:
        """Begin a drive. ``places`` are those that were visited so far."""

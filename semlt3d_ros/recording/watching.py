"""All triggers of a recording at work: what comes is shown to each, and what fires is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.messages import topics as names
from semlt3d_ros.messages.decode_detections import decode_long_tail
from semlt3d_ros.recording.places import Places
from semlt3d_ros.recording.trigger import Sight, Trigger
from semlt3d_ros.recording.triggers import Service


class Firing(NamedTuple):
    """A trigger that has fired, and what it is worth."""

    name: str
    worth: float


class Watchers:
    """The triggers of one drive.

    Args:
        triggers: by name, in their order.
        places: what was visited so far.

    Attributes:
        topics: what they have to be shown: topics with their types.
        fired: how often each has made an event, or made one longer.
        faults: what was wrong with what they were shown, and triggers that failed.
    """

    def __init__(self, triggers: Mapping[str, Trigger], places: Places) -> None:
        self._triggers = dict(triggers)
        self._watches = {name: trigger.watch(places) for name, trigger in self._triggers.items()}
        self.topics = {topic: kind for trigger in self._triggers.values() for topic, kind in trigger.topics().items()}
        self.fired: Counter[str] = Counter()
        self.faults = FaultLog()
        self._last: dict[str, int] = {}

    def see(self, at: int, topic: str = "", message: Any = None) -> list[Firing]:
        """Show a message, or that time goes by; what fires on it."""
        is_found = message is not None and self.topics.get(topic) == names.LONG_TAIL_TYPE
        detections = decode_long_tail(message, self.faults, topic) if is_found else None
        fired: list[str] = []
        for name, watch in self._watches.items():
            try:
                if watch(Sight(at, topic, message, detections, tuple(fired))):
                    fired.append(name)
            except Exception as error:  # one trigger shall not take the others, and what they record, along
                text = f"failed on a message of {topic or 'no topic'}: {type(error).__name__}: {error}; report it"
                self.faults.add(f"trigger {name}", "trigger_failed", text)
        return self._due(fired, at)

    def ask(self, at: int) -> list[Firing]:
        """The service was called; what fires on it."""
        return self._due([name for name, trigger in self._triggers.items() if isinstance(trigger, Service)], at)

    def _due(self, fired: list[str], at: int) -> list[Firing]:
        due = []
        for name in fired:
            trigger = self._triggers[name]
            last = self._last.get(name)
            if trigger.alone and (last is None or at - last >= trigger.pause_s * 1e9):
                self._last[name] = at
                self.fired[name] += 1
                due.append(Firing(name, trigger.worth))
        return due

"""Kills the event recorder while it writes: what was finished stays, the next one saves what was under way."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.live_nodes import RECORDING, START_S, Diagnostics, recorder
from bench.steady_drive import SteadyDrive, simulated
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.commands.live_run import isolate
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.nodes.event_recorder_report import EVENTS
from semlt3d_ros.recording.event import Event, events_of

_RATE_HZ, _EVENT_S, _QUOTA_GB = 10.0, 4.0, 20.0
_LONGEST_S = 4.0
"""After the first second of an event there is something of it on the disk."""
WRITING, BETWEEN = "an event under way", "between two"


class Recordings:
    """What is known of the events of a folder.

    Args:
        folder: of the events.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, str] = {}
        self._messages: set[tuple[str, bytes]] = set()

    def check(self, saved: bool) -> Counter[str]:
        """Whether all that is there is whole, and all that was known still there.

        Args:
            saved: whether a recorder has come since, so that nothing is under way any more.

        Returns:
            How many events came since the last look, and how many of them were saved.

        Raises:
            AssertionError: something was lost.
        """
        events, faults = events_of(self.folder)
        assert all("unfinished" in line for line in faults), faults
        assert not (saved and faults), f"left by the recorder before: {faults}"
        there = {event.name: event for event in events}
        lost = set(self._known) - set(there)
        assert not lost, f"lost: {lost}"
        found: Counter[str] = Counter()
        for name, event in there.items():
            digest = _digest(event)
            if name in self._known:
                assert self._known[name] == digest, f"{name} has changed"
                continue
            self._known[name] = digest
            self._read(event)
            found["events"] += 1
            found["saved"] += bool(event.cut)
        return found

    def _read(self, event: Event) -> None:
        """Every message of an event; none is in another one, but what is latched."""
        with BagSource(event.folder) as source:
            everything = [(message.topic, bytes(message.data[4:12])) for message in source.messages()]
            assert not source.truncated, event.name
        assert everything, f"{event.name} is empty"
        messages = [each for each in everything if each[0].endswith(("/image/compressed", "/points"))]
        assert len(set(messages)) == len(messages) and not self._messages & set(messages), "a message is twice there"
        self._messages |= set(messages)


def kill_recorders(folder: Path, kills: int, seed: int) -> Iterator[Counter[str]]:
    """Kill recorders until so many kills fell in an event under way; yields, after each, where they fell.

    Raises:
        AssertionError: something was lost.
    """
    choice = random.Random(seed)
    isolate()
    middleware = DdsMiddleware("bench")
    total: Counter[str] = Counter()
    known = Recordings(folder / "robot" / "events")
    node = None
    try:
        said = Diagnostics(middleware)
        drive = SteadyDrive(middleware, simulated(folder, 224, 8), _RATE_HZ)
        while total[WRITING] < kills:
            said.forget()
            node = recorder(folder / "robot", _QUOTA_GB, _EVENT_S)
            _until(drive, lambda: all(name in said.values for name in RECORDING))
            drive.run(choice.uniform(0.0, _LONGEST_S))
            # Half of the time right after an event was begun or ended, where most happens.
            if choice.random() < 0.5:
                count = said.number(EVENTS, "events")
                _until(drive, partial(_more, said, count))
            writing = any(path.name.endswith(".unfinished") for path in known.folder.iterdir())
            os.kill(node.pid, signal.SIGKILL)
            node.end()  # waits for what is dead already
            node = None
            total[WRITING if writing else BETWEEN] += 1
            total += known.check(saved=False)
            yield total
        node = recorder(folder / "robot", _QUOTA_GB, _EVENT_S)
        said.forget()
        _until(drive, lambda: all(name in said.values for name in RECORDING))
        node.end()
        total += known.check(saved=True)
        yield total
    finally:
        if node is not None:
            node.end()
        middleware.shutdown()


def _until(drive: SteadyDrive, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + START_S
    while not holds():
        assert time.monotonic() < end, "the recorder does not come"
        drive.run(0.05)


def _more(said: Diagnostics, count: float) -> bool:
    return said.number(EVENTS, "events") > count


def _digest(event: Event) -> str:
    digest = hashlib.sha256()
    for path in sorted(event.folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()

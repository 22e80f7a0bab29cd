"""Events to the disk, on a thread of its own: whatever the disk does, nobody waits for it."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.core.outputs import NO_ROOM
from semlt3d_ros.recording.blurring import Blur, blurred
from semlt3d_ros.recording.draft import EventDraft, free_place
from semlt3d_ros.recording.places import keep_place
from semlt3d_ros.recording.quota import Quota, Room, make_room
from semlt3d_ros.recording.ring import Entry
from semlt3d_ros.recording.salvage import salvage

_LOOK_BYTES = 32 << 20
"""After so many bytes the writer looks whether there is room for as many more."""
_FLUSH_S = 1.0
LOCK = ".recorder"
"""The file that says that a recorder writes here."""


@dataclass(frozen=True)
class WriterReport:
    """What has been written since the start, and how it stands.

    Attributes:
        events: events finished.
        lost_events: events that were given up, or not begun.
        salvaged: events made of what a killed recorder left.
        deleted: events deleted to make room.
        message_bytes: bytes of messages written.
        queued_bytes: bytes of messages that wait.
        busy_s: how long the disk has been at the step under way; 0 where it waits for us.
        problem: why nothing can be recorded now, and what to do; empty where it can.
        room: how the disk stood when it was last looked at; None before.
        faults: what went wrong.
    """

    events: int = 0
    lost_events: int = 0
    salvaged: int = 0
    deleted: int = 0
    message_bytes: int = 0
    queued_bytes: int = 0
    busy_s: float = 0.0
    problem: str = ""
    room: Room | None = None
    faults: tuple[Fault, ...] = ()


class _Begin(NamedTuple):
    name: str
    triggers: Sequence[str]
    worth: float
    entries: Sequence[Entry]


class _Update(NamedTuple):
    triggers: Sequence[str]
    worth: float


class _End(NamedTuple):
    lost: int
    cut: str


class _Drop(NamedTuple):
    pass


class _Place(NamedTuple):
    line: str


_Item = Entry | _Begin | _Update | _End | _Drop | _Place


@dataclass
class _Queue:
    """What waits to be written; ``size`` counts the bytes of single messages, not of what came before an event."""

    items: deque[_Item] = field(default_factory=deque)
    size: int = 0
    begun: int = 0
    closing: bool = False


class EventWriter:
    """Writes one event after the other.

    Whatever goes wrong with one is counted and told, and the next is tried. Its methods return at once; they are for
    one thread.

    Args:
        folder: of the events; made if it is not there. If it vanishes later it is not made again: it may have been a
            disk's, and what lies under its name would fill another.
        quota: how much room there is.
        queue_bytes: messages that may wait for the disk; more are lost and counted.
        blur: passes every image before it is written.
        now: wall clock in nanoseconds.
        niceness: of the thread, added to the process' own: who detects goes first.

    Raises:
        ConfigurationError: the folder cannot be made or written to, or another recorder writes there.
    """

    def __init__(
        self,
        folder: Path,
        quota: Quota,
        queue_bytes: int,
        blur: Blur | None = None,
        now: Callable[[], int] = time.time_ns,
        niceness: int = 5,
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"another recorder writes to {folder}; end it, or name another folder") from error
        except OSError as error:
            raise ConfigurationError(f"events cannot be written to {folder}: {error.strerror}") from error
        self._lock: int | None = lock
        self._folder, self._quota, self._queue_bytes = folder, quota, queue_bytes
        self._device = folder.stat().st_dev
        self._blur, self._now, self._niceness = blur, now, niceness
        self._changed = threading.Condition()
        self._queue = _Queue()
        self._report = WriterReport()
        self._faults = FaultLog()
        self._draft: EventDraft | None = None
        self._unlooked = 0
        self._step_begun: float | None = None
        self._thread = threading.Thread(target=self._run, name="event_writer", daemon=True)
        self._thread.start()

    def begin(self, name: str, triggers: Sequence[str], worth: float, entries: Sequence[Entry]) -> bool:
        """Begin an event with what came before it; False where two others wait already, and it is lost."""
        with self._changed:
            if self._queue.begun >= 2:
                self._report = replace(self._report, lost_events=self._report.lost_events + 1)
                self._faults.add(str(self._folder), "slow_disk", "an event is lost: the disk is still at those before")
                return False
            self._queue.begun += 1
            self._put(_Begin(name, tuple(triggers), worth, entries))
        return True

    def write(self, entry: Entry) -> bool:
        """Append a message to the event; False where it is lost, since too many wait."""
        with self._changed:
            if self._queue.size + entry.size > self._queue_bytes:
                self._faults.add(entry.topic, "slow_disk", "messages are lost: the disk is slower than they come")
                return False
            self._queue.size += entry.size
            self._put(entry)
        return True

    def update(self, triggers: Sequence[str], worth: float) -> None:
        """Tell what else has fired."""
        with self._changed:
            self._put(_Update(tuple(triggers), worth))

    def end(self, lost: int = 0, cut: str = "") -> None:
        """End the event; arguments as of ``EventDraft.finish``."""
        with self._changed:
            self._put(_End(lost, cut))

    def drop(self) -> None:
        """End the event, and keep nothing of it."""
        with self._changed:
            self._put(_Drop())

    def remember(self, place: str) -> None:
        """Keep the line of a place that was visited."""
        with self._changed:
            self._put(_Place(place))

    def report(self) -> WriterReport:
        """How it stands; from any thread."""
        with self._changed:
            begun = self._step_begun
            busy_s = 0.0 if begun is None else time.monotonic() - begun
            return replace(self._report, queued_bytes=self._queue.size, busy_s=busy_s, faults=tuple(self._faults))

    def close(self, timeout_s: float) -> bool:
        """Write what waits, then end; returns whether that was done within ``timeout_s`` seconds.

        What is not done then is left to the next recorder.
        """
        with self._changed:
            self._queue.closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
        return True

    def _put(self, item: _Item) -> None:
        self._queue.items.append(item)
        self._changed.notify()

    # What follows runs on the writer's thread.

    def _run(self) -> None:
        with suppress(OSError):  # as of Linux, where threads have priorities of their own
            here = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, here, os.getpriority(os.PRIO_PROCESS, here) + self._niceness)
        self._attempt(self._salvage)
        while True:
            with self._changed:
                self._step_begun = None
                there = self._changed.wait_for(lambda: self._queue.items or self._queue.closing, _FLUSH_S)
                if there and not self._queue.items:
                    return
                self._step_begun = time.monotonic()
                item = self._queue.items.popleft() if there else None
            self._attempt(partial(self._take, item), begins=isinstance(item, _Begin))
            with self._changed:
                self._queue.size -= item.size if isinstance(item, Entry) else 0
                self._queue.begun -= isinstance(item, _Begin)

    def _attempt(self, step: Callable[[], None], begins: bool = False) -> None:
        """Do a step; where it fails, the event that is under way or ``begins`` is given up."""
        try:
            step()
        except Exception as error:
            causes = (error, error.__cause__)
            full = any(isinstance(cause, OSError) and cause.errno in NO_ROOM for cause in causes)
            text = f"{error}; make room on the disk" if full else str(error)
            self._tell("disk_full" if full else "write_failed", text)
            self._give_up(text, begins)

    def _give_up(self, problem: str, begins: bool) -> None:
        draft, self._draft = self._draft, None
        if draft is not None:
            with suppress(Exception):
                draft.discard()
        lost = int(begins or draft is not None)
        with self._changed:
            self._report = replace(self._report, problem=problem, lost_events=self._report.lost_events + lost)

    def _take(self, item: _Item | None) -> None:
        if item is None:
            self._rest()
        elif isinstance(item, Entry):
            self._write(item)
        elif isinstance(item, _Begin):
            self._begin(item)
        elif isinstance(item, _Place):
            if self._is_there():
                keep_place(self._folder, item.line)
        elif self._draft is not None:
            if isinstance(item, _Update):
                self._draft.update(item.triggers, item.worth)
            elif isinstance(item, _Drop):
                draft, self._draft = self._draft, None
                draft.discard()
            else:
                self._finish(item.lost, item.cut, problem="")

    def _begin(self, item: _Begin) -> None:
        size = sum(entry.size for entry in item.entries)
        lack = self._lack(size + _LOOK_BYTES)
        if lack:
            self._tell("no_room" if self._is_there() else "vanished", lack)
            self._give_up(lack, begins=True)
            return
        self._draft = EventDraft(free_place(self._folder, item.name), item.triggers, item.worth)
        self._unlooked = 0
        for entry in item.entries:
            self._write(entry)

    def _write(self, entry: Entry) -> None:
        draft = self._draft
        if draft is None:  # the event was given up
            return
        if self._unlooked >= _LOOK_BYTES:
            self._unlooked = 0
            lack = self._lack(_LOOK_BYTES)
            if lack:
                self._tell("no_room", lack)
                self._finish(0, lack, problem=lack)
                return
        try:
            data = blurred(entry, self._blur)
        except InputRejected as error:
            with self._changed:
                self._faults.reject(entry.topic, error)
            return
        draft.write(entry.topic, entry.type_name, data, entry.stamp)
        self._unlooked += len(data)
        with self._changed:
            self._report = replace(self._report, message_bytes=self._report.message_bytes + len(data))

    def _finish(self, lost: int, cut: str, problem: str) -> None:
        assert self._draft is not None
        self._draft.finish(lost, cut)
        self._draft = None
        with self._changed:
            self._report = replace(self._report, events=self._report.events + 1, problem=problem)
        self._look(0)

    def _rest(self) -> None:
        """Nothing waits."""
        if self._draft is not None:
            self._draft.flush()
        vanished, is_there = self._vanished, self._is_there()
        with self._changed:
            if not is_there or self._report.problem == vanished:
                self._report = replace(self._report, problem="" if is_there else vanished)

    def _salvage(self) -> None:
        saved = salvage(self._folder, self._quota, self._now())
        with self._changed:
            self._report = replace(self._report, salvaged=len(saved))
        self._look(0)

    def _lack(self, needed: int) -> str:
        """Why an event of so many bytes cannot be written; empty where it can. Makes room for it."""
        if not self._is_there():
            return self._vanished
        return self._look(needed).lack

    def _look(self, needed: int) -> Room:
        room = make_room(self._folder, self._quota, needed, self._now())
        with self._changed:
            self._report = replace(self._report, room=room, deleted=self._report.deleted + len(room.deleted))
        return room

    @property
    def _vanished(self) -> str:
        return f"the folder {self._folder} has vanished; bring its disk back, or restart the recorder to make it anew"

    def _is_there(self) -> bool:
        with suppress(OSError):
            return self._folder.stat().st_dev == self._device
        return False

    def _tell(self, reason: str, text: str) -> None:
        with self._changed:
            self._faults.add(str(self._folder), reason, text)

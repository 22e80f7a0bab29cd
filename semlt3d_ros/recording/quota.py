"""Room for events: how much of the disk they may take, and which of them go first."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive
from semlt3d_ros.recording.event import Event, delete_event, events_of


@dataclass(frozen=True)
class Quota(Checked):
    """How much of the disk events may take.

    Attributes:
        max_bytes: all that lies in the folder of events; where more is needed, events are deleted.
        keep_free_bytes: what stays free on the disk. Others fill it too, so no event is deleted for it: recording
            stops instead.
        half_life_s: an event of this age is worth half of what it was.
    """

    TITLE: ClassVar[str] = "quota"
    CHECKS: ClassVar[Checks] = (*positive("max_bytes", "half_life_s"), *not_negative("keep_free_bytes"))

    max_bytes: int
    keep_free_bytes: int = 1 << 30
    half_life_s: float = 14 * 86400.0

    def value(self, event: Event, now: int) -> float:
        """What an event is worth at ``now``, wall clock in nanoseconds; one of the future is as good as new."""
        age_s = max(now - event.last_ns, 0) * 1e-9
        return float(event.worth * 0.5 ** (age_s / self.half_life_s))


@dataclass(frozen=True)
class Room:
    """What was found, and made.

    Attributes:
        events: those that are there now, oldest first.
        used: bytes of all that lies in the folder.
        free: bytes free on the disk.
        deleted: events that had to go.
        lack: why there is no room, and what to do; empty if there is.
        faults: a line for each folder that is no whole event.
    """

    events: tuple[Event, ...]
    used: int
    free: int
    deleted: tuple[Event, ...] = ()
    lack: str = ""
    faults: tuple[str, ...] = ()


def make_room(folder: Path, quota: Quota, needed: int, now: int) -> Room:
    """Delete events of least value until ``needed`` bytes fit in; protected ones never, and none in vain.

    Args:
        folder: of the events; only one process may make room in it.
        quota: how much there is.
        needed: bytes that are to be written, besides what lies in the folder already.
        now: wall clock in nanoseconds.

    Raises:
        ConfigurationError: the folder is not there.
        OSError: it cannot be read, or an event cannot be deleted.
    """
    events, faults = events_of(folder)
    used, free = _size(folder), shutil.disk_usage(folder).free
    room = Room(tuple(events), used, free, faults=tuple(faults))
    if free - needed < quota.keep_free_bytes:
        text = f"{free / 1e9:.2f} GB are free on the disk, {quota.keep_free_bytes / 1e9:.2f} GB shall stay so"
        return _without_room(room, f"{text}; make room on it")
    excess = used + needed - quota.max_bytes
    if excess <= 0:
        return room
    going = _least(events, quota, now, excess)
    if sum(event.byte_count for event in going) < excess:
        text = f"{quota.max_bytes / 1e9:.2f} GB for events are taken by what is protected, unfinished or damaged"
        return _without_room(room, f"{text}; unprotect or delete some (semlt3d events), or give them more")
    deleted = tuple(event for event in going if delete_event(event))
    left = tuple(event for event in events if event not in deleted)
    gone = sum(event.byte_count for event in deleted)
    done = Room(left, used - gone, free + gone, deleted, faults=tuple(faults))
    return done if gone >= excess else _without_room(done, "events were protected just now")


def _without_room(room: Room, lack: str) -> Room:
    return Room(room.events, room.used, room.free, room.deleted, lack, room.faults)


def _least(events: Iterable[Event], quota: Quota, now: int, excess: int) -> list[Event]:
    """The events of least value that take ``excess`` bytes together, or all that may go."""
    going, size = list[Event](), 0
    free = (event for event in events if not event.protected)
    for event in sorted(free, key=lambda event: (quota.value(event, now), event.last_ns)):
        if size >= excess:
            break
        going.append(event)
        size += event.byte_count
    return going


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it has just been given its name, or was deleted
            total += path.stat().st_size if path.is_file() else 0
    return total

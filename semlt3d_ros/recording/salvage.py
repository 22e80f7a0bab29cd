"""What a recorder that was killed left: made into events, as far as it goes.

What has an unfinished name and no living writer becomes a *leftover*, whose messages are copied into an event of the
name it was to have; then it is removed. Whatever moment this is killed at, the next recorder goes on with it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.recording.draft import EventDraft
from semlt3d_ros.recording.event import LEFTOVER, UNFINISHED, EventRecord, read_record
from semlt3d_ros.recording.quota import Quota, make_room

KILLED = "the recorder was killed"
_OURS = {".mcap", ".yaml", ".json"}


def salvage(folder: Path, quota: Quota, now: int) -> list[Path]:
    """The events that were made of what killed recorders left.

    Args:
        folder: of the events.
        quota: how much room there is; what does not fit in stays as it is.
        now: wall clock in nanoseconds.

    Raises:
        ConfigurationError: the folder cannot be read.
        OSError: likewise, or the disk is full; nothing is lost.
    """
    for grave in folder.glob(".*.deleted"):
        shutil.rmtree(grave, ignore_errors=True)
    for place in sorted(folder.glob(f"*{UNFINISHED}")):
        if place.is_dir() and not _is_alive(place) and _is_ours(place):
            leftover = place.with_name(place.name.removesuffix(UNFINISHED) + LEFTOVER)
            if leftover.exists():  # and this is an unfinished copy of it
                shutil.rmtree(place)
            else:
                place.rename(leftover)
    made = (_copied(leftover, quota, now) for leftover in sorted(folder.glob(f"*{LEFTOVER}")))
    return [place for place in made if place is not None]


def _copied(leftover: Path, quota: Quota, now: int) -> Path | None:
    """The event made of a leftover; None where there is nothing in it, or no room for it."""
    place = leftover.with_name(leftover.name.removesuffix(LEFTOVER))
    if not place.exists():  # else it has been copied, and was not removed yet
        if make_room(leftover.parent, quota, sum(file.stat().st_size for file in leftover.iterdir()), now).lack:
            return None
        if not _copy(leftover, place):
            shutil.rmtree(leftover)
            return None
    shutil.rmtree(leftover)
    return place


def _copy(leftover: Path, place: Path) -> bool:
    """Whether a leftover's messages are an event now; not where it has none that can be read."""
    try:
        record = read_record(leftover)
    except ConfigurationError:  # killed before that was written
        record = EventRecord((place.name.partition("-")[2] or "unknown",), 0, 0, ())
    try:
        source = BagSource(leftover)
    except ConfigurationError:
        return False
    with source:
        draft = EventDraft(place, record.triggers, record.worth)
        try:
            for message in source.messages():
                draft.write(message.topic, message.type_name, bytes(message.data), message.stamp)
            if draft.byte_count:
                draft.finish(record.lost, KILLED)
                return True
        except BaseException:
            draft.discard()
            raise
    draft.discard()
    return False


def _is_alive(place: Path) -> bool:
    """Whether somebody writes there still: drafts are locked as long as their process lives."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def _is_ours(place: Path) -> bool:
    return all(path.suffix in _OURS for path in place.iterdir())

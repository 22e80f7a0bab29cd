"""Events: a few seconds of a drive that something made worth keeping.

An event is a folder ``EVENTS/<UTC time>-<trigger>/``: a rosbag2 (``metadata.yaml`` and one mcap, zstd) and beside it
``event.json``, which says why it was kept. While it is recorded it has an unfinished name (``core.outputs``) and is no
event.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from semlt3d_ros.bags.mcap_format import MAGIC
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import write_whole

EVENT_FILE = "event.json"
UNFINISHED = ".unfinished"
LEFTOVER = ".leftover"
"""Ends of the names of folders that are being recorded, and of what a killed recorder left."""


@dataclass(frozen=True)
class EventRecord:
    """What ``event.json`` says.

    Attributes:
        triggers: names of the triggers that fired, in the order in which they first did.
        first_ns, last_ns: log times of the first and the last message, nanoseconds of the recorder's wall clock.
        files: names of the bag's storage files.
        model_version: checkpoint of the last detections in it, ``"<name>@<hash>"``; empty where there are none.
        worth: how much it is worth; the largest of its triggers'.
        protected: whether it is never deleted to make room.
        lost: messages that were received for it and could not be written.
        cut: why it ended before its time; empty if it did not.
    """

    triggers: tuple[str, ...]
    first_ns: int
    last_ns: int
    files: tuple[str, ...]
    model_version: str = ""
    worth: float = 1.0
    protected: bool = False
    lost: int = 0
    cut: str = ""

    def to_json(self) -> str:
        """The text of ``event.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True)
class Event:
    """An event on disk.

    Attributes:
        folder: where it is; a bag.
        name: the folder's name.
        triggers, first_ns, last_ns, model_version, worth, protected, lost, cut: as of ``EventRecord``.
        byte_count: what it takes of the disk.
    """

    folder: Path
    name: str
    triggers: tuple[str, ...]
    first_ns: int
    last_ns: int
    model_version: str
    worth: float
    protected: bool
    byte_count: int
    lost: int = 0
    cut: str = ""

    @property
    def duration_s(self) -> float:
        """From the first message to the last, seconds."""
        return (self.last_ns - self.first_ns) * 1e-9


def read_record(folder: Path) -> EventRecord:
    """What the ``event.json`` of a folder says.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    from semlt3d_ros.core.config import parse

    place = f"event '{folder / EVENT_FILE}'"
    try:
        values = json.loads((folder / EVENT_FILE).read_bytes())
    except FileNotFoundError as error:
        raise ConfigurationError(f"{folder} is no event: it has no {EVENT_FILE}") from error
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{place} is not JSON ({error}); delete the event, or copy it again") from error
    return parse(EventRecord, values, place)


def read_event(folder: Path) -> Event:
    """The event in a folder; of its bag the end is looked at, which a copy that broke off lacks.

    Raises:
        ConfigurationError: the folder is no event, or is damaged or unfinished.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"there is no event at {folder}")
    if folder.name.endswith((UNFINISHED, LEFTOVER)):
        raise ConfigurationError(
            f"{folder} is not finished: it is being recorded, or its recorder was killed; the next recorder saves it"
        )
    record = read_record(folder)
    if not record.files:
        raise ConfigurationError(f"event '{folder}' has no bag: files of {EVENT_FILE} is empty; delete it")
    try:
        for name in record.files:
            if not _is_whole(folder / name):
                raise ConfigurationError(f"event '{folder}' is damaged: {name} is cut off; copy it again, or delete it")
        size = sum(path.stat().st_size for path in folder.iterdir())
    except OSError as error:
        raise ConfigurationError(f"event '{folder}' is damaged: {error.filename}: {error.strerror}") from error
    known = {name: value for name, value in vars(record).items() if name != "files"}
    return Event(folder=folder, name=folder.name, byte_count=size, **known)


def events_of(folder: Path) -> tuple[list[Event], list[str]]:
    """The events in a folder, oldest first, and a line for each folder in it that is damaged, unfinished or none.

    Raises:
        ConfigurationError: the folder is not there or cannot be read.
    """
    try:
        places = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise ConfigurationError(f"{folder} is no folder of events: {error.strerror}") from error
    events, faults = [], []
    for place in places:
        try:
            events.append(read_event(place))
        except ConfigurationError as error:
            faults.append(str(error))
    return sorted(events, key=lambda event: (event.first_ns, event.name)), faults


def set_protected(event: Event, protected: bool) -> Event:
    """Protect an event from being deleted to make room, or no longer.

    Raises:
        ConfigurationError: it has been deleted meanwhile, or cannot be written to.
    """
    with _alone(event.folder.parent):
        record = read_record(event.folder)
        write_whole(event.folder / EVENT_FILE, replace(record, protected=protected).to_json())
        return read_event(event.folder)


def delete_event(event: Event, force: bool = False) -> bool:
    """Delete an event, at once for all who look; returns whether it was: not if it is protected, unless by ``force``.

    Raises:
        OSError: it cannot be deleted.
    """
    grave = event.folder.with_name(f".{event.name}.deleted")
    with _alone(event.folder.parent):
        if not force and _is_protected(event.folder):
            return False
        shutil.rmtree(grave, ignore_errors=True)
        os.rename(event.folder, grave)
    shutil.rmtree(grave)
    return True


def _is_protected(folder: Path) -> bool:
    try:
        return read_record(folder).protected
    except ConfigurationError:
        return False


def _is_whole(path: Path) -> bool:
    """Whether an mcap file has its end."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) < 2 * len(MAGIC):
            return False
        file.seek(-len(MAGIC), os.SEEK_END)
        return file.read() == MAGIC


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps those apart who protect and who delete."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

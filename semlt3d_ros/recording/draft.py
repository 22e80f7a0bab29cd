"""One event on its way to the disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.outputs import unfinished
from semlt3d_ros.messages.topics import LONG_TAIL_TYPE
from semlt3d_ros.messages.typestore import deserialize
from semlt3d_ros.recording.event import EVENT_FILE, LEFTOVER, EventRecord


class EventDraft:
    """An event that is being written under its unfinished name, and appears under its own when it is whole.

    Args:
        place: where the event will be; see ``free_place``.
        triggers: what has fired so far.
        worth: the largest of theirs.

    Attributes:
        place: where the event will be.
        byte_count: bytes of the messages written.

    Raises:
        ConfigurationError: it cannot be written there.
        OSError: likewise.
    """

    def __init__(self, place: Path, triggers: Sequence[str], worth: float) -> None:
        self.place = place
        self.byte_count = 0
        self._sink = BagSink(self.place)
        files = tuple(path.name for path in self._sink.draft.glob("*.mcap"))
        self._record = EventRecord(tuple(triggers), 0, 0, files, worth=worth)
        self._span: tuple[int, int] | None = None
        self._detections = b""
        self._topics: set[str] = set()
        try:
            self._note()
        except OSError:
            self.discard()
            raise

    def write(self, topic: str, type_name: str, data: bytes, stamp: int) -> None:
        """Append a message; arguments as of ``BagSink.write``.

        Raises:
            OSError: the disk is full, or what was written has vanished.
        """
        if topic not in self._topics:
            self._require()
            self._topics.add(topic)
        self._sink.write(topic, type_name, data, stamp)
        self.byte_count += len(data)
        first, last = self._span or (stamp, stamp)
        self._span = min(first, stamp), max(last, stamp)
        if type_name == LONG_TAIL_TYPE:
            self._detections = data

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._sink.flush()

    def update(self, triggers: Sequence[str], worth: float) -> None:
        """Note what else has fired meanwhile, for who finds what a killed recorder left.

        Raises:
            OSError: the disk is full.
        """
        self._record = replace(self._record, triggers=tuple(triggers), worth=worth)
        self._note()

    def finish(self, lost: int = 0, cut: str = "") -> None:
        """Give the event its name.

        Args:
            lost: messages that were received for it and could not be written.
            cut: why it ends before its time.

        Raises:
            OSError: the disk is full, or what was written has vanished.
            ConfigurationError: the name has been taken meanwhile.
        """
        self._require()
        first, last = self._span or (0, 0)
        version = _model_version(self._detections)
        self._record = replace(self._record, first_ns=first, last_ns=last, model_version=version, lost=lost, cut=cut)
        self._note()
        self._sink.close()

    def discard(self) -> None:
        """Give the event up; what was written is removed."""
        self._sink.discard()

    def _require(self) -> None:
        """A bag notes its topics beside its file, and would make a folder that has vanished anew for it."""
        for name in self._record.files:
            os.stat(self._sink.draft / name)

    def _note(self) -> None:
        (self._sink.draft / EVENT_FILE).write_text(self._record.to_json(), encoding="utf-8")


def free_place(folder: Path, name: str) -> Path:
    """A place for an event that nobody has, nor has begun to write; where the name is taken, a number is appended.

    Raises:
        FileExistsError: there is none.
    """
    for number in range(1, 10_000):
        place = folder / (name if number == 1 else f"{name}-{number}")
        taken = (place, unfinished(place, folder=True), place.with_name(place.name + LEFTOVER))
        if not any(each.exists() for each in taken):
            return place
    raise FileExistsError(17, "ten thousand events have this name", str(folder / name))


def _model_version(detections: bytes) -> str:
    try:
        return str(deserialize(detections, LONG_TAIL_TYPE).model_version) if detections else ""
    except InputRejected:
        return ""

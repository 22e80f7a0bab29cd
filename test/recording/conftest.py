"""Events on disk, made with and without a recorder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.messages.typestore import serialize
from semlt3d_ros.recording.event import EVENT_FILE, Event, EventRecord, read_event
from semlt3d_ros.recording.quota import Quota
from semlt3d_ros.recording.ring import Entry
from semlt3d_ros.recording.writer import EventWriter


@pytest.fixture
def make_event(recording: Any, tmp_path: Path) -> Any:
    """Writes an event of a few sets below ``tmp_path / "events"``."""

    def make(name: str, age_s: float = 0.0, **known: Any) -> Event:
        folder = tmp_path / "events" / name
        stamp = recording.start - int(age_s * 1e9)
        with BagSink(folder) as sink:
            for topic, kind, message, at in [*recording.static_messages(), *recording.set_messages(0)]:
                sink.write(topic, kind, message, at)
            files = (f"{name}_0.mcap",)
            record = EventRecord(("always",), stamp, stamp + 10**9, files, **known)
            (sink.draft / EVENT_FILE).write_text(record.to_json())
        return read_event(folder)

    return make


@pytest.fixture(scope="session")
def entries(recording: Any) -> Any:
    """``entries(first, last)``: what is received of these sets of the tiny rig, calibration first."""

    def between(first: int, last: int) -> list[Entry]:
        messages = recording.static_messages() if first == 0 else []
        for index in range(first, last):
            messages += recording.set_messages(index)
        return [Entry(topic, kind, stamp, stamp, serialize(message, kind)) for topic, kind, message, stamp in messages]

    return between


@pytest.fixture
def make_writer(tmp_path: Path) -> Iterator[Any]:
    """Makes a writer of ``tmp_path / "events"``; closed afterwards."""
    with ExitStack() as stack:

        def make(max_bytes: int = 1 << 30, queue_bytes: int = 1 << 30, **options: Any) -> EventWriter:
            quota = Quota(max_bytes, options.pop("keep_free_bytes", 0))
            writer = EventWriter(tmp_path / "events", quota, queue_bytes, **options)
            stack.callback(writer.close, 20)
            return writer

        yield make

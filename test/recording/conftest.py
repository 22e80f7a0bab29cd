"""Events on disk, made without a recorder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.recording.event import EVENT_FILE, Event, EventRecord, read_event


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

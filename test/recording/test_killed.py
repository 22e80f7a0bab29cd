"""A recorder that is killed at any moment leaves whole events, and the next one saves what it was at.

Fifty moments: ``SEMLT3D_KILLS=50 pytest test/recording/test_killed.py``.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.bags import mcap_writer
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.recording import salvage as salvage_module
from semlt3d_ros.recording.draft import EventDraft
from semlt3d_ros.recording.event import EVENT_FILE, Event, events_of
from semlt3d_ros.recording.quota import Quota
from semlt3d_ros.recording.salvage import KILLED, salvage

PROGRAM = Path(__file__).parent / "killed_recorder.py"
KILLS = int(os.environ.get("SEMLT3D_KILLS", "4"))
ROOM = Quota(1 << 30, 0)


def numbers(event: Event) -> list[int]:
    with BagSource(event.folder) as source:
        found = [int(message.message().data[:9]) for message in source.messages()]
        assert not source.truncated
    return found


@pytest.mark.parametrize("seed", range(KILLS))
def test_what_is_there_is_whole_and_what_was_under_way_is_saved(tmp_path: Path, seed: int) -> None:
    events = tmp_path / "events"
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(events), str(seed)])
    try:
        end = time.monotonic() + 60
        while not (events.is_dir() and any(events.iterdir())):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        time.sleep(random.Random(seed).uniform(0.0, 3.0))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished, faults = events_of(events)
    assert len(faults) <= 1 and all("unfinished" in line for line in faults)
    before = {event.name: numbers(event) for event in finished}
    saved = salvage(events, ROOM, time.time_ns())
    after, faults = events_of(events)
    assert faults == [] and len(after) == len(before) + len(saved)
    assert {path.name for path in events.glob("[!.]*")} == {event.name for event in after}
    everything = []
    for event in after:
        there = numbers(event)
        assert there == list(range(there[0], there[0] + len(there))), "no gap within an event"
        assert before.get(event.name, there) == there
        assert event.cut == (KILLED if event.folder in saved else "")
        everything += there
    assert len(set(everything)) == len(everything), "no message is in two events"


def left(make_event: Any, name: str = "it") -> Path:
    """What a killed recorder leaves of an event."""
    folder = make_event(name).folder
    file = next(folder.glob("*.mcap"))
    os.truncate(file, file.stat().st_size - 400)
    place: Path = folder.rename(folder.with_name(f"{name}.unfinished"))
    return place


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap_writer, "_CHUNK_BYTES", 1000)


def test_a_saver_that_is_killed_at_any_step_loses_nothing(make_event: Any, tmp_path: Path, small_chunks: None) -> None:
    events = tmp_path / "events"
    left(make_event)
    shutil.copytree(events, tmp_path / "as_left")
    steps = 0
    while True:
        shutil.rmtree(events)
        shutil.copytree(tmp_path / "as_left", events)
        steps += 1
        child = os.fork()
        if child == 0:
            die_at(steps)
            salvage(events, ROOM, 0)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        salvage(events, ROOM, 0)
        (event,), faults = events_of(events)
        assert faults == [] and [path.name for path in events.iterdir()] == ["it"]
        with BagSource(event.folder) as source:
            assert sum(1 for _ in source.messages()) > 3 and not source.truncated
        if status == 0:
            break
    assert steps > 15


def die_at(step: int) -> None:
    """End this process like a kill at the so-many-th change of the file system."""
    count = 0

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        changes = name in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")
        opens = name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        count += bool(changes or opens)
        if count == step:
            os._exit(9)

    sys.addaudithook(audit)


def test_what_a_living_recorder_writes_is_left_alone(tmp_path: Path) -> None:
    draft = EventDraft(tmp_path / "it", ("it",), 1.0)
    draft.write("/t", "std_msgs/msg/String", b"\x00\x01\x00\x00\x01\x00\x00\x00\x00", 7)
    assert salvage(tmp_path, ROOM, 0) == []
    draft.finish()
    (event,), faults = events_of(tmp_path)
    assert faults == [] and event.cut == "" and salvage(tmp_path, ROOM, 0) == []


def test_what_holds_no_message_is_removed_and_what_is_not_ours_stays(make_event: Any, tmp_path: Path) -> None:
    place = left(make_event)
    os.truncate(next(place.glob("*.mcap")), 0)
    (tmp_path / "events" / "thesis.unfinished").mkdir()
    (tmp_path / "events" / "thesis.unfinished" / "chapter.tex").write_text("...")
    assert salvage(tmp_path / "events", ROOM, 0) == []
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["thesis.unfinished"]


def test_what_does_not_say_why_it_was_recorded_is_saved_by_its_name(make_event: Any, tmp_path: Path) -> None:
    place = left(make_event, "20231114T221320Z-rare_class")
    (place / EVENT_FILE).write_text("{")
    (saved,) = salvage(tmp_path / "events", ROOM, 0)
    (event,), _ = events_of(tmp_path / "events")
    assert event.folder == saved and event.triggers == ("rare_class",) and event.cut == KILLED


def test_without_room_what_was_left_waits(make_event: Any, tmp_path: Path) -> None:
    left(make_event)
    assert salvage(tmp_path / "events", Quota(10, 0), 0) == []
    events, faults = events_of(tmp_path / "events")
    assert events == [] and len(faults) == 1
    assert len(salvage(tmp_path / "events", ROOM, 0)) == 1


def test_a_copy_that_fails_leaves_what_was_left(
    make_event: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(make_event)

    class Full(EventDraft):
        def finish(self, lost: int = 0, cut: str = "") -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(salvage_module, "EventDraft", Full)
    with pytest.raises(OSError):
        salvage(tmp_path / "events", ROOM, 0)
    monkeypatch.undo()
    assert len(salvage(tmp_path / "events", ROOM, 0)) == 1


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        events_of(tmp_path / "none")
    assert salvage(tmp_path / "none", ROOM, 0) == []

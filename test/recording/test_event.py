"""Events on disk: read, listed, protected, deleted; what is damaged is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.recording.event import EVENT_FILE, delete_event, events_of, read_event, set_protected


def test_events_are_listed_oldest_first_with_what_they_say(make_event: Any, tmp_path: Path, recording: Any) -> None:
    late = make_event("late", age_s=0, model_version="city@1234", worth=3.0)
    early = make_event("early", age_s=100, lost=2, cut="no room")
    events, faults = events_of(tmp_path / "events")
    assert (events, faults) == ([early, late], [])
    assert (late.triggers, late.model_version, late.worth, late.protected) == (("always",), "city@1234", 3.0, False)
    assert (early.lost, early.cut, late.duration_s) == (2, "no room", 1.0)
    assert late.byte_count == sum(path.stat().st_size for path in late.folder.iterdir())
    with BagSource(late.folder) as source:
        assert not source.truncated and set(source.topics) >= {"/tf", "/tf_static"}


def test_unfinished_and_damaged_ones_are_told_and_are_no_events(make_event: Any, tmp_path: Path) -> None:
    good = make_event("good")
    make_event("torn").folder.rename(tmp_path / "events" / "torn.unfinished")
    make_event("rescued").folder.rename(tmp_path / "events" / "rescued.leftover")
    (make_event("bare").folder / EVENT_FILE).unlink()
    (make_event("odd").folder / EVENT_FILE).write_text("{")
    (make_event("strange").folder / EVENT_FILE).write_text('{"triggers": 5}')
    lacking = make_event("lacking").folder
    (lacking / "lacking_0.mcap").unlink()
    for name, size in (("short", -1), ("empty", 0)):
        file = make_event(name).folder / f"{name}_0.mcap"
        os.truncate(file, file.stat().st_size + size if size else 0)
    nothing = make_event("nothing").folder / EVENT_FILE
    nothing.write_text(json.dumps({**json.loads(nothing.read_text()), "files": []}))
    (tmp_path / "events" / "visited_places.txt").write_text("")
    events, faults = events_of(tmp_path / "events")
    assert events == [good]
    assert len(faults) == 9
    for name in ("torn", "rescued", "bare", "odd", "strange", "lacking", "short", "empty", "nothing"):
        (line,) = [line for line in faults if f"/{name}" in line]
        assert "\n" not in line


def test_there_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        events_of(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="there is no event at"):
        read_event(tmp_path / "nowhere")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_event_json_holds_is_refused_or_read(make_event: Any, tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "events" / "one"
    if not folder.exists():
        make_event("one")
    file = folder / EVENT_FILE
    original = (tmp_path / "event.json").read_bytes() if (tmp_path / "event.json").exists() else file.read_bytes()
    (tmp_path / "event.json").write_bytes(original)
    cut, insert = data.draw(st.integers(0, len(original))), data.draw(st.binary(max_size=6))
    file.write_bytes(original[:cut] + insert + original[cut + data.draw(st.integers(0, 4)) :])
    events, faults = events_of(tmp_path / "events")
    assert len(events) + len(faults) == 1


def test_a_protected_event_is_not_deleted_unless_forced(make_event: Any, tmp_path: Path) -> None:
    event = set_protected(make_event("kept"), True)
    assert event == read_event(event.folder) and event.protected
    assert not delete_event(event)
    assert not set_protected(event, False).protected
    assert read_event(event.folder).protected is False
    assert delete_event(event)
    assert list((tmp_path / "events").iterdir()) == []
    forced = set_protected(make_event("forced"), True)
    assert delete_event(forced, force=True)
    with pytest.raises(ConfigurationError):
        set_protected(forced, False)
    assert list((tmp_path / "events").iterdir()) == []


def test_protection_that_was_set_meanwhile_holds(make_event: Any) -> None:
    event = make_event("kept")
    set_protected(event, True)
    assert not delete_event(event)

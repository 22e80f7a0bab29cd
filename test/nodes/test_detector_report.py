from __future__ import annotations

from dataclasses import replace

import pytest

from semlt3d_ros.nodes import detector_report as report
from semlt3d_ros.nodes.detector_report import ERROR, OK, WARN
from semlt3d_ros.nodes.statistics import SetCounters
from semlt3d_ros.sensing.camera_input import CameraStatus
from semlt3d_ros.sensing.frame_builder import Completeness

CAMERA = CameraStatus("CAM_BACK", "ok", "", "ok", 40, {"corrupt_jpeg": 2}, 5, 0.25, 9.75)


def test_a_failed_transition_is_an_error_with_its_reason() -> None:
    name, level, message, values = report.lifecycle_entry("unconfigured", "configure failed: no such file 'x'")
    assert (name, level) == ("semlt3d: lifecycle", ERROR)
    assert message == "unconfigured; configure failed: no such file 'x'"
    assert values == {"state": "unconfigured", "failure": "configure failed: no such file 'x'"}
    assert report.lifecycle_entry("active", "")[1:3] == (OK, "active")


@pytest.mark.parametrize(
    ("sets", "level", "message"),
    [
        (Completeness(10, 2, {"CAM_BACK": 2}, {"incomplete": 1}), OK, "no set"),
        (
            Completeness(10, 2, {"CAM_BACK": 2}, {"incomplete": 1}, fruitless=24),
            ERROR,
            "no set, although 24 images came since the last one; the cameras' statuses say why",
        ),
        (Completeness(15, 2, {"CAM_BACK": 2}, {"incomplete": 1}), OK, "5 sets since the last report, all complete"),
        (
            Completeness(12, 5, {"CAM_BACK": 5, "CAM_FRONT": 1}, {"incomplete": 1}),
            WARN,
            "of 5 sets since the last report 3 lacked images of CAM_BACK (3), CAM_FRONT (1)",
        ),
        (
            Completeness(12, 2, {"CAM_BACK": 2}, {"incomplete": 1, "no_transform": 4}),
            WARN,
            "of 6 sets since the last report 4 were dropped: no_transform (4)",
        ),
        (
            Completeness(10, 2, {"CAM_BACK": 2}, {"incomplete": 3}),
            ERROR,
            "of 2 sets since the last report 2 were dropped: incomplete (2)",
        ),
    ],
)
def test_the_input_tells_what_came_since_the_last_report(sets: Completeness, level: int, message: str) -> None:
    before = Completeness(10, 2, {"CAM_BACK": 2}, {"incomplete": 1})
    name, found, text, values = report.input_entry(sets, before)
    assert (name, found, text) == ("semlt3d: input", level, message)
    assert values["sets_complete"] == str(sets.complete) and values["sets_partial"] == str(sets.partial)
    assert values["missing.CAM_BACK"] == str(sets.missing["CAM_BACK"])
    assert values["dropped.incomplete"] == str(sets.dropped["incomplete"])


def test_lost_sets_are_warned_of_while_they_are_lost() -> None:
    counters = SetCounters(sets_in=12, sets_processed=9)
    counters.drop("superseded", 3)
    assert report.sets_entry(counters, 5.0)[1] == WARN
    assert report.sets_entry(counters, 5.0, loss_rate_hz=0.5)[1] == WARN
    name, level, message, values = report.sets_entry(counters, 5.0, loss_rate_hz=0.0)
    assert (name, level, message) == ("semlt3d: sets", OK, "9 of 12 sets processed, 3 dropped")
    assert values["drops.superseded"] == "3" and values["rate_hz"] == "5.00"


def test_sets_that_nobody_wants_are_counted_and_not_lost() -> None:
    counters = SetCounters(sets_in=3)
    counters.drop(report.NOBODY_LISTENS, 3)
    _, level, message, values = report.sets_entry(counters, 0.0)
    assert counters.lost == 0 and level == OK and values["drops.nobody_listens"] == "3"
    assert message == "0 of 3 sets processed, 0 dropped, 3 not wanted: nobody listened"


def test_dropped_messages_are_warned_of_while_they_are_dropped() -> None:
    drops, resets = {"late": 2, "corrupt_jpeg": 0}, {"time_jump": 1}
    assert report.messages_entry(drops, resets, 0)[1] == WARN
    assert report.messages_entry({}, resets, 0)[1] == OK
    _, level, message, values = report.messages_entry(drops, resets, 4, drop_rate_hz=0.0)
    assert (level, message) == (OK, "2 messages dropped")
    assert values == {"waiting": "4", "drops.late": "2", "resets.time_jump": "1"}


def test_the_model_tells_what_it_could_not_become() -> None:
    entry = report.model_entry("a@1", "cuda:0", ["car"], "", "", memory_mib={"allocated": 812.34, "reserved": 1024})
    assert entry[1:3] == (OK, "a@1")
    assert entry[3]["gpu_memory_mib.allocated"] == "812.3" and entry[3]["gpu_memory_mib.reserved"] == "1024.0"
    on_cpu = report.model_entry("a@1", "cpu", ["car", "debris"], "x.npz", "", memory_mib={})
    assert not any(key.startswith("gpu") for key in on_cpu[3])
    assert (on_cpu[3]["classes"], on_cpu[3]["vocabulary_file"]) == ("car,debris", "x.npz")
    _, level, message, values = report.model_entry("a@1", "cpu", [], "", "no such file", "b is damaged")
    assert level == WARN
    assert message == "a@1; the model is as it was: b is damaged; the vocabulary is as it was: no such file"
    assert values["reload_failure"] == "b is damaged" and values["vocabulary_rejected"] == "no such file"


@pytest.mark.parametrize(
    ("state", "level"),
    [
        ("never_seen", ERROR),
        ("stopped", ERROR),
        ("rejected", ERROR),
        ("waiting_camera_info", WARN),
        ("waiting_tf", WARN),
        ("unused", WARN),
        ("slow", WARN),
        ("no_picture", WARN),
        ("implausible", WARN),
        ("ok", OK),
    ],
)
def test_every_state_of_a_camera_has_its_level(state: str, level: int) -> None:
    entry = report.camera_entry(replace(CAMERA, state=state, detail="why"))
    assert entry[:3] == ("semlt3d: camera CAM_BACK", level, "why")
    assert entry[3] == {
        "state": state,
        "age_s": "0.250",
        "rate_hz": "9.75",
        "images": "40",
        "drops.corrupt_jpeg": "2",
    }
    assert report.camera_entry(replace(CAMERA, rate_hz=None))[3]["rate_hz"] == "n/a"


def test_names_begin_with_the_package() -> None:
    names = [report.SETS, report.LATENCY, report.MESSAGES, report.MODEL, report.MEMORY, report.INPUT, report.LIFECYCLE]
    assert all(name.startswith("semlt3d: ") for name in [*names, report.CAMERA])
    assert len(set(names)) == len(names)

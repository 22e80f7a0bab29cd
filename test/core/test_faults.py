"""One line per place and reason, counted."""

import json

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import ELSEWHERE, MOST_PLACES, Fault, FaultLog


def test_faults_of_one_place_and_reason_are_one_line_with_a_count_and_the_newest_text():
    log = FaultLog()
    log.reject("/camera_info", InputRejected("intrinsics", "fx is 0;\n calibrate the camera"))
    log.reject("/camera_info", InputRejected("intrinsics", "fx is -1; calibrate the camera"))
    log.reject("/image", InputRejected("intrinsics", "something else"))
    assert [str(fault) for fault in log] == [
        "/camera_info: fx is -1; calibrate the camera (2 times)",
        "/image: something else",
    ]
    assert next(fault.line for fault in log) == "/camera_info: fx is -1; calibrate the camera"


def test_a_text_of_several_lines_is_told_in_one():
    assert Fault("/tf", "transform", "a\n  b").line == "/tf: a b"


def test_notes_are_harmless():
    log = FaultLog()
    log.note("/points", "row_step", "row_step is 0; width x point_step is taken")
    assert [(fault.reason, fault.harmless) for fault in log] == [("row_step", True)]


def test_what_grew_since_an_earlier_look():
    log = FaultLog()
    log.add("/a", "late", "x")
    before = tuple(log)
    log.add("/a", "late", "y", count=2)
    log.add("/b", "late", "z")
    assert [(fault.place, fault.text, fault.count) for fault in log.since(before)] == [("/a", "y", 2), ("/b", "z", 1)]
    assert log.since(tuple(log)) == []


def test_logs_add_up_and_go_to_json():
    log = FaultLog([Fault("/a", "late", "x", 2)])
    log.extend(FaultLog([Fault("/a", "late", "newer", 3)]))
    assert json.loads(json.dumps(log.to_json())) == [
        {"place": "/a", "reason": "late", "text": "newer", "count": 5, "harmless": False}
    ]
    log.clear()
    assert len(log) == 0


def test_places_without_end_do_not_fill_the_memory():
    log = FaultLog()
    for number in range(MOST_PLACES + 1000):
        log.add(f"/tf map -> object_{number}", "transform", "no rotation")
    *_, last = log
    assert len(log) == MOST_PLACES + 1
    assert (last.place, last.count, last.text) == (
        ELSEWHERE,
        1000,
        f"/tf map -> object_{MOST_PLACES + 999}: no rotation",
    )
    log.add("/tf map -> object_3", "transform", "again")
    assert sum(fault.count for fault in log) == MOST_PLACES + 1001

"""What is wrong with the input is told in the same line in the log and the diagnostics, and a new start is noticed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.messages import topics
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.preparation import ImageSpec

LiveNode = Callable[..., Any]
BACK = topics.camera_image_topic("CAM_BACK")


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level and record.name == "node"]


def stuck(recording: Any, index: int) -> list:
    pose, front, back = recording.set_messages(index)
    back[2].header.stamp.sec = back[2].header.stamp.nanosec = 0
    return [pose, front, back]


def cut_off(recording: Any, index: int) -> list:
    pose, front, back = recording.set_messages(index)
    back[2].data = back[2].data[: len(back[2].data) // 3]
    return [pose, front, back]


def no_message(recording: Any, index: int) -> list:
    pose, front, back = recording.set_messages(index)
    return [pose, front, (*back[:2], b"\x00\x01\x00\x00garbage", back[3])]


def bad_transform(recording: Any, index: int) -> list:
    pose, front, back = recording.set_messages(index)
    imu = recording.pose_message(0)[2].transforms[0]
    imu.child_frame_id, imu.transform.rotation.w = "imu", float("nan")
    pose[2].transforms.append(imu)
    return [pose, front, back]


@pytest.mark.parametrize(
    ("bad", "place", "reason"),
    [
        (stuck, BACK, "stamp"),
        (cut_off, BACK, "corrupt_jpeg"),
        (no_message, BACK, "corrupt_message"),
        (bad_transform, "/tf odom -> imu", "transform"),
    ],
)
def test_each_fault_is_logged_once_in_the_line_of_the_diagnostics(
    live_node: LiveNode, recording: Any, caplog: pytest.LogCaptureFixture, bad: Callable, place: str, reason: str
) -> None:
    node = live_node(min_cameras=1)
    node.feed(recording.static_messages())
    with caplog.at_level(logging.INFO, logger="node"):
        for index in range(1, 8):
            node.feed(bad(recording, index))
            report = node.report()
    (line,) = lines(caplog, logging.WARNING)
    told = report["messages"][f"fault.{place}.{reason}"]
    assert line.startswith(f"{place}: ") and told.startswith(line) and told.endswith("times)")
    if reason in ("stamp", "corrupt_jpeg"):
        assert report["camera CAM_BACK"]["message"] == line and report["camera CAM_BACK"]["level"] == "2"


def test_what_was_put_right_is_told_once_and_warns_of_nothing(
    live_node: LiveNode, recording: Any, caplog: pytest.LogCaptureFixture
) -> None:
    node = live_node()
    transforms, front, back = recording.static_messages()
    back[2].k, back[2].d = np.zeros(9), np.zeros(0)
    with caplog.at_level(logging.INFO, logger="node"):
        node.feed([transforms, front, back])
        for index in range(4):
            node.feed([back, *recording.set_messages(index)])
            report = node.report()
    assert not lines(caplog, logging.WARNING)
    (line,) = [text for text in lines(caplog, logging.INFO) if "K of frame" in text]
    assert report["messages"][f"fault.{topics.camera_info_topic('CAM_BACK')}.intrinsics_from_p"] == line
    assert {report[name]["level"] for name in ("messages", "input", "camera CAM_BACK")} == {"0"}
    assert len(node.answers) == 4


def test_images_that_make_up_no_set_are_an_error_of_the_input(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages())
    for index in range(12):
        pose, front, back = stuck(recording, index)
        front[2].header.stamp.sec = front[2].header.stamp.nanosec = 0
        node.feed([pose, front, back])
        report = node.report()
    assert report["input"]["level"] == "2" and "22 images" in report["input"]["message"]
    assert {report[f"camera {name}"]["state"] for name in recording.cameras} == {"rejected"}
    assert not node.answers


def test_a_camera_that_is_silent_for_a_while_is_logged(
    live_node: LiveNode, recording: Any, caplog: pytest.LogCaptureFixture
) -> None:
    node = live_node(min_cameras=1)
    with caplog.at_level(logging.INFO, logger="node"):
        node.feed(recording.static_messages())
        for index in range(100):
            node.middleware.clock += 100_000_000
            pose, front, _ = recording.set_messages(index)
            node.feed([pose, front])
            node.report()
    assert lines(caplog, logging.WARNING) == [f"camera CAM_BACK: no image on {BACK} yet"]


@pytest.mark.parametrize("sets", [1, 2, 5])
def test_a_short_recording_is_answered_every_time_it_is_played(live_node: LiveNode, recording: Any, sets: int) -> None:
    node = live_node()
    bag = [*recording.static_messages(), *[m for index in range(sets) for m in recording.set_messages(index)]]
    for _ in range(4):
        node.feed(bag)
    assert node.answers == [recording.stamp_of_set(index) for _ in range(4) for index in range(sets)]
    # Live and offline are told the same.
    offline = FrameBuilder(node.node._rig, ImageSpec(32, 16))
    frames = [frame for topic, kind, message, _ in bag * 4 for frame in offline.add(topic, kind, message)]
    assert [frame.stamp for frame in frames] == node.answers
    assert node.node._builder.resets == offline.resets == {"time_jump": 3}


def test_a_clock_that_goes_back_makes_the_detector_forget(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed([*recording.static_messages(), *[m for index in range(3) for m in recording.set_messages(index)]])
    resets = node.detector.resets
    node.middleware.clock -= 300_000_000
    node.feed([m for index in range(3, 6) for m in recording.set_messages(index)])
    assert node.detector.resets == resets + 1 and node.report()["messages"]["resets.time_jump"] == "1"
    assert node.answers == [recording.stamp_of_set(index) for index in range(6)]
    # A clock that is set right by a little is none.
    node.middleware.clock -= 20_000_000
    node.feed(recording.set_messages(6))
    assert node.report()["messages"]["resets.time_jump"] == "1"

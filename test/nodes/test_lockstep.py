"""A recording played to a node in a process of its own gives what reading the recording gives, bit for bit."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import Semlt3dError
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_long_tail
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.port import QoS
from semlt3d_ros.nodes.player import Player, PlayerOptions, PlayerSummary
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import rig_from_topics

Join = Callable[..., DdsMiddleware]
LOCKSTEP = PlayerOptions(rate=1000, lockstep=True, answer_timeout_s=60, wait_for_subscribers_s=60)


def offline(bag: Path, detector: Any) -> list[bytes]:
    """Serialised detections of the bag, read directly."""
    answers = []
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_from_topics(source.topics), detector.image_spec)
        frames = [
            frame
            for message in source.messages()
            for frame in builder.add(message.topic, message.type_name, message.message())
        ]
    for frame in frames + builder.flush():
        if builder.reset_before(frame):
            detector.reset()
        answers.append(encode_long_tail(detector.detect(frame), "base_link"))
    return answers


def live(middleware: DdsMiddleware, bag: Path, expected: int) -> tuple[list[bytes], PlayerSummary]:
    """Serialised detections of a node that is fed in lockstep."""
    answers: list[bytes] = []
    subscription = middleware.create_subscription(
        topics.LONG_TAIL, topics.LONG_TAIL_TYPE, lambda data, _: answers.append(data), QoS(depth=100), raw=True
    )
    assert middleware.spin(lambda: subscription.matched == 1, 60)
    summary = Player(middleware, bag, LOCKSTEP).play()
    assert middleware.spin(lambda: len(answers) >= expected, 60)
    return answers, summary


def same(live_answers: list[bytes], offline_answers: list[bytes]) -> bool:
    """DDS pads a message to a multiple of four bytes."""
    return len(live_answers) == len(offline_answers) and all(
        after.startswith(before) and len(after) - len(before) < 4
        for after, before in zip(live_answers, offline_answers, strict=True)
    )


def test_live_equals_offline(
    join: Join, node_process: Callable[..., Any], fake_node: ModuleType, recording: Any, tmp_path: Path
) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 12)
    expected = offline(bag, fake_node.FakeDetector())
    assert len(expected) == 12
    node_process()
    answers, summary = live(join(), bag, len(expected))
    assert same(answers, expected)
    assert summary.unanswered == 0
    assert sum(summary.sent.values()) == 3 + 12 * 3


def test_live_equals_offline_with_everything_that_can_go_wrong_on_the_way(
    join: Join, node_process: Callable[..., Any], fake_node: ModuleType, recording: Any, tmp_path: Path
) -> None:
    messages = recording.static_messages()
    for index in range(8):
        pose, front, back = recording.set_messages(index)
        if index == 2:  # a camera misses one set
            messages += [pose, front]
        elif index == 3:  # one image is damaged
            damaged = front[2]
            damaged.data = damaged.data[: len(damaged.data) // 3].copy()
            messages += [pose, front, back]
        elif index == 4:  # the pose comes after the images
            messages += [front, back, pose]
        elif index == 5:  # an image comes twice
            messages += [pose, front, front, back]
        else:
            messages += [pose, front, back]
    messages += recording.set_messages(8)[:2]  # the next set's last image completes this one, too
    messages += recording.set_messages(9)
    for index in range(60, 64):  # a gap
        messages += recording.set_messages(index)
    bag = recording.write(tmp_path / "drive.mcap", messages)
    expected = offline(bag, fake_node.FakeDetector())
    assert len(expected) == 14
    node_process("min_cameras:=1")
    answers, summary = live(join(), bag, len(expected))
    assert same(answers, expected)
    assert summary.unanswered == 0


def test_sets_that_are_never_answered_do_not_hold_up_the_player(
    join: Join, node_process: Callable[..., Any], recording: Any, tmp_path: Path
) -> None:
    messages = [message for message in recording.static_messages() if message[0] != topics.TF_STATIC]
    for index in range(5):
        messages += recording.set_messages(index)
    bag = recording.write(tmp_path / "no_tf.mcap", messages)
    node_process()
    answers, summary = live(join(), bag, 0)
    assert answers == []
    assert summary.unanswered == 0
    assert summary.loops == 1


def test_a_node_that_leaves_ends_the_player(
    join: Join, node_process: Callable[..., subprocess.Popen[str]], recording: Any, tmp_path: Path
) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 50)
    process = node_process()
    middleware = join()
    answers: list[bytes] = []

    def answered(data: bytes, _: int) -> None:
        answers.append(data)
        if len(answers) == 3:
            process.send_signal(signal.SIGTERM)

    subscription = middleware.create_subscription(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, answered, raw=True)
    assert middleware.spin(lambda: subscription.matched == 1, 60)
    with pytest.raises(Semlt3dError, match="the detector has left after"):
        Player(middleware, bag, LOCKSTEP).play()


def test_lockstep_without_a_node_says_so(join: Join, recording: Any, tmp_path: Path) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 1)
    options = PlayerOptions(lockstep=True, wait_for_subscribers_s=0.2)
    with pytest.raises(Semlt3dError, match="no detector has answered within"):
        Player(join(), bag, options).play()

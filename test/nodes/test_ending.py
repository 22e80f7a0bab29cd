"""Ctrl-C, at any moment and however often: processes on DDS end in order and without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.port import QoS

Join = Callable[..., DdsMiddleware]
_PRESSES_S = 0.02


@pytest.fixture
def play(domain: int, recording: Any, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the player in a process group of its own."""
    bag = recording.of_sets(tmp_path / "drive.mcap", 5)
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "semlt3d_ros.cli", "play", str(bag), *options]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(command, env=environment, start_new_session=True, **streams))
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def press_until_it_ends(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> str:
    """Send a signal again and again, so that one comes at every moment of ending; its output."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(number)
        time.sleep(_PRESSES_S)
    output, _ = process.communicate(timeout=60)
    return output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [("--loop",), ("--loop", "--rate", "0.01")], ids=["playing", "between messages"])
def test_the_player_ends_while_it_plays(
    join: Join, play: Callable[..., subprocess.Popen[str]], options: tuple[str, ...], number: signal.Signals
) -> None:
    middleware = join()
    received: list[Any] = []
    for name in topics.NUSCENES_CAMERAS[:1]:
        topic = topics.camera_image_topic(name)
        middleware.create_subscription(topic, topics.COMPRESSED_IMAGE_TYPE, lambda *_: received.append(1), QoS(10))
    process = play(*options)
    assert middleware.spin(lambda: bool(received), 60)
    output = press_until_it_ends(process, number)
    assert process.returncode == 0, output
    assert "Traceback" not in output and "messages on" in output


@pytest.mark.parametrize("options", [(), ("--lockstep",)])
def test_the_player_ends_while_it_waits(
    join: Join, play: Callable[..., subprocess.Popen[str]], options: tuple[str, ...]
) -> None:
    middleware = join()
    # Of what is no image it asks for nobody.
    poses = middleware.create_subscription(topics.TF, topics.TF_TYPE, lambda *_: None, QoS(10))
    process = play(*options)
    assert middleware.spin(lambda: poses.matched > 0, 60)
    middleware.spin(timeout_s=0.3)
    output = press_until_it_ends(process)
    assert process.returncode == 0, output
    assert "Traceback" not in output and "WARN" not in output
    assert output.startswith("0 messages")


def test_the_player_in_lockstep_does_not_wait_for_an_answer_any_more(
    join: Join, play: Callable[..., subprocess.Popen[str]], recording: Any
) -> None:
    from semlt3d_ros.nodes.lockstep import ProgressReport

    node = join()
    received: list[Any] = []
    topic = topics.camera_image_topic(recording.cameras[0])
    node.create_subscription(topic, topics.COMPRESSED_IMAGE_TYPE, lambda *_: received.append(1), QoS(10))
    # It listens, and never says that it is done.
    ProgressReport(node, (topic,))
    process = play("--lockstep")
    assert node.spin(lambda: bool(received), 60)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert "Traceback" not in output and "0 unanswered" in output


def test_the_node_ends_however_often_it_is_told(
    node_process: Callable[..., subprocess.Popen[str]],
) -> None:
    process = node_process()
    output = press_until_it_ends(process)
    assert process.returncode == 0
    assert output == "ended\n"

"""The node on DDS, without ROS, as a real ROS 2 graph sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.messages import topics

OUTPUTS = {
    topics.DETECTIONS: topics.DETECTION_3D_TYPE,
    topics.LONG_TAIL: topics.LONG_TAIL_TYPE,
    topics.MARKERS: topics.MARKER_TYPE,
    topics.LABEL_INFO: topics.LABEL_INFO_TYPE,
    topics.DIAGNOSTICS: topics.DIAGNOSTIC_TYPE,
}
if find_spec("autoware_perception_msgs"):
    OUTPUTS[topics.OBJECTS] = topics.OBJECTS_TYPE


@pytest.fixture
def driving(ros_environment: dict[str, str], graph: Any, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """The node on DDS, and cameras that do not end; gives what the node has logged."""
    hidden = ("AMENT_PREFIX_PATH", "RMW_IMPLEMENTATION")
    environment = {name: value for name, value in ros_environment.items() if name not in hidden}
    cameras = f"cameras:=[{', '.join(graph.recording.cameras)}]"
    options = [word for text in (cameras, "device:=cpu", "threads:=1") for word in ("-p", text)]
    log = tmp_path / "node.log"
    with open(log, "w", encoding="utf-8") as output:
        node = subprocess.Popen(
            [sys.executable, "-m", "semlt3d_ros.cli", "node", *options],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    graph.listen_to_answers()
    graph.until(lambda: graph.value("lifecycle", "state") == "active", 120)
    graph.send(*graph.recording.static_messages())
    graph.drive(5)
    graph.until(lambda: graph.answers)
    ended = threading.Event()

    def drive() -> None:
        while not ended.is_set():
            graph.drive(1)

    thread = threading.Thread(target=drive)
    thread.start()
    yield lambda: log.read_text(encoding="utf-8")
    ended.set()
    thread.join()
    node.terminate()
    assert node.wait(20) == 0


def test_topics_are_listed_echoed_and_timed(driving: Callable[[], str], ros2: Callable[..., str]) -> None:
    listed = ros2("topic", "list", "-t", "--no-daemon", "--spin-time", "3")
    for topic, type_name in OUTPUTS.items():
        assert f"{topic} [{type_name}]" in listed
    echoed = {topic: ros2("topic", "echo", "--once", topic, type_name) for topic, type_name in OUTPUTS.items()}
    assert "frame_id: base_link" in echoed[topics.DETECTIONS]
    assert "model_version: demo@" in echoed[topics.LONG_TAIL]
    assert "class_name: car" in echoed[topics.LABEL_INFO]
    assert "name: 'semlt3d: lifecycle'" in echoed[topics.DIAGNOSTICS]
    for said in (listed, *echoed.values(), driving()):
        assert "WARN" not in said and "Failed" not in said, said


def test_the_rate_is_told(driving: Callable[[], str], ros_environment: dict[str, str]) -> None:
    command = ["ros2", "topic", "hz", topics.LONG_TAIL]
    environment = {**ros_environment, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        lines = (line for line in process.stdout if "average rate" in line)
        assert float(next(lines).split(":")[1]) > 1
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=20)


@pytest.mark.skipif(find_spec("rosbag2_py") is None, reason="rosbag2 is not installed")
def test_outputs_are_recorded_and_read_back(
    driving: Callable[[], str], graph: Any, ros_environment: dict[str, str], tmp_path: Path
) -> None:
    wanted = (topics.DETECTIONS, topics.LONG_TAIL, topics.MARKERS)
    command = ["ros2", "bag", "record", "--storage", "sqlite3", "-o", str(tmp_path / "recorded"), *wanted]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, env=ros_environment, start_new_session=True, **streams)
    begin = len(graph.answers)
    while len(graph.answers) < begin + 30:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert "[WARN]" not in said and "[ERROR]" not in said, said
    with BagSource(tmp_path / "recorded") as source:
        counts = {topic: len(list(source.messages([topic]))) for topic in wanted}
    assert all(count > 5 for count in counts.values()), counts

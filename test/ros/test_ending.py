"""Ctrl-C on ROS 2, at any moment and however often: no traceback, exit status 0."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

_PRESSES_S = 0.02
_STARTED = re.compile(r"process started with pid \[(\d+)\]")
_HANDLED = re.compile(r"^SigCgt:\s*([0-9a-f]+)$", re.MULTILINE)


class Program:
    """A process group with its log."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def status(self) -> int | None:
        return self._process.poll()

    @property
    def has_begun(self) -> bool:
        """Whether its first line has run."""
        return handles_sigterm(self._process.pid)

    @property
    def children_have_begun(self) -> bool:
        """Whether those of both processes that it launches have."""
        children = [int(number) for number in _STARTED.findall(self.said)]
        return len(children) == 2 and all(map(handles_sigterm, children))

    def until(self, holds: Callable[[], Any], timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end and self.status is None, self.said
            time.sleep(0.005)

    def press(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)

    def press_until_it_ends(self) -> None:
        end = time.monotonic() + 60
        while self.status is None and time.monotonic() < end:
            self.press()
            time.sleep(_PRESSES_S)

    def wait(self) -> int:
        return self._process.wait(60)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def handles_sigterm(process: int) -> bool:
    """Whether a process has a handler of its own: Python handles SIGINT from the beginning, and SIGTERM never."""
    try:
        found = _HANDLED.search(Path(f"/proc/{process}/status").read_text(encoding="utf-8"))
    except OSError:
        return False
    return found is not None and bool(int(found[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.fixture
def program(ros_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts a command in a process group of its own."""
    started: list[Program] = []

    def start(*command: str) -> Program:
        environment = {**ros_environment, "ROS_LOG_DIR": str(tmp_path / "log"), "PYTHONUNBUFFERED": "1"}
        started.append(Program(list(command), environment, tmp_path / "said.log"))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def bag(recording: Any, tmp_path: Path) -> Path:
    return recording.of_sets(tmp_path / "drive.mcap", 5)


@pytest.fixture
def node(program: Callable[..., Program], bag: Path, recording: Any) -> Callable[[str], Program]:
    """Starts one of the package's programs, not through `ros2 run`, which takes the signals meant for it."""
    from ament_index_python.packages import get_package_prefix

    parameters = {
        "player": (f"bag:={bag}", "loop:=true"),
        "detector": (f"cameras:=[{', '.join(recording.cameras)}]", "device:=cpu", "threads:=1"),
    }

    def start(name: str) -> Program:
        path = Path(get_package_prefix("semlt3d_ros"), "lib", "semlt3d_ros", name)
        return program(str(path), "--ros-args", *(word for text in parameters[name] for word in ("-p", text)))

    return start


@pytest.mark.parametrize("delay_s", [0, 0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", ["detector", "player"])
def test_a_program_ends_whenever_and_however_often_it_is_told(
    node: Callable[[str], Program], name: str, delay_s: float
) -> None:
    process = node(name)
    process.until(lambda: process.has_begun)
    time.sleep(delay_s)
    process.press_until_it_ends()
    assert process.status == 0, process.said
    assert "Traceback" not in process.said and "Exception" not in process.said and "ERROR" not in process.said


def test_the_detector_ends_while_it_detects(node: Callable[[str], Program], graph: Any) -> None:
    process = node("detector")
    graph.listen_to_answers()
    graph.until(lambda: graph.value("lifecycle", "state") == "active", 120)
    graph.send(*graph.recording.static_messages())
    graph.drive(10)
    graph.until(lambda: graph.answers)
    process.press_until_it_ends()
    assert process.status == 0, process.said
    assert "Traceback" not in process.said and "ERROR" not in process.said


@pytest.mark.parametrize("presses", [1, 2])
@pytest.mark.parametrize("moment", ["starting", "waiting", "playing"])
def test_ctrl_c_on_a_launched_replay(
    program: Callable[..., Program], graph: Any, recording: Any, bag: Path, tmp_path: Path, moment: str, presses: int
) -> None:
    cameras = recording.cameras if moment == "playing" else ("NOWHERE",)
    rig = tmp_path / "rig.yaml"
    rig.write_text("cameras:\n" + "".join(f"  - name: {name}\n" for name in cameras), encoding="utf-8")
    arguments = (f"bag:={bag}", f"rig:={rig}", "device:=cpu", "loop:=true")
    process = program("ros2", "launch", "semlt3d_ros", "replay.launch.py", *arguments)
    process.until(lambda: process.children_have_begun)
    if moment != "starting":
        process.until(lambda: "]: active" in process.said, 120)
    if moment == "playing":
        graph.listen_to_answers()
        graph.until(lambda: graph.answers)
    for _ in range(presses):
        process.press()
        time.sleep(0.15)
    assert process.wait() == 0, process.said
    assert "Traceback" not in process.said and "process has died" not in process.said, process.said
    assert process.said.count("process has finished cleanly") == 2, process.said
    assert "SIGTERM" not in process.said, "launch had to insist"

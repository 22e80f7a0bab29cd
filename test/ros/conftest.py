"""Everything here runs in a sourced ROS 2 workspace that holds this package; without one there is nothing to run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.port import LATCHED, QoS

if find_spec("rclpy") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def ros_environment(domain: int) -> Iterator[dict[str, str]]:
    """For the processes that a test starts: that domain, on loopback alone."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    yield environment
    # `ros2` leaves one behind for each domain.
    subprocess.run(["ros2", "daemon", "stop"], env=environment, capture_output=True, timeout=60)


class Graph:
    """The test's own node: cameras to the detector, and everything the detector says."""

    def __init__(self, domain: int, recording: Any) -> None:
        from semlt3d_ros.middleware.ros import RosMiddleware

        self.middleware = RosMiddleware("tester", domain_id=domain)
        self.recording = recording
        self.statuses: dict[str, dict[str, str]] = {}
        self.answers: list[Any] = []
        self._history: dict[str, list[str]] = {}
        self._publishers: dict[str, Any] = {}
        self._next = 0
        self.listen(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE, self._take_diagnostics)

    def listen(self, topic: str, type_name: str, callback: Callable[[Any], None], **qos: Any) -> Any:
        return self.middleware.create_subscription(topic, type_name, lambda message, _: callback(message), QoS(**qos))

    def listen_to_answers(self) -> Any:
        return self.listen(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, self.answers.append)

    def until(self, holds: Callable[[], Any], timeout_s: float = 60.0) -> None:
        assert self.middleware.spin(lambda: bool(holds()), timeout_s), json.dumps(
            [self._history, self.statuses], indent=1
        )

    def seen(self, camera: str) -> list[str]:
        """The states that a camera was in, in their order."""
        return self._history.get(f"semlt3d: camera {camera}", [])

    def state(self, camera: str) -> str:
        return self.statuses.get(f"semlt3d: camera {camera}", {}).get("state", "")

    def value(self, status: str, key: str) -> str:
        return self.statuses.get(f"semlt3d: {status}", {}).get(key, "")

    def send(self, *messages: tuple[str, str, Any, int]) -> None:
        """Publish; tf_static is latched, images come as sensor data."""
        for topic, type_name, message, _ in messages:
            if topic not in self._publishers:
                qos = LATCHED if topic == topics.TF_STATIC else QoS(10, reliable="image" not in topic)
                self._publishers[topic] = self.middleware.create_publisher(topic, type_name, qos)
                if topic != topics.TF_STATIC:
                    self.middleware.spin(lambda topic=topic: self._publishers[topic].matched > 0, 10)
                    # Matched here is not yet matched there, and best effort loses what comes too early.
                    self.middleware.spin(timeout_s=0.5)
            self._publishers[topic].publish(message)

    def drive(self, sets: int, *cameras: str, first: int | None = None, period_s: float = 0.1) -> None:
        """Send sets of images of these cameras (default: all), each after ``period_s``."""
        if first is not None:
            self._next = first
        wanted = cameras or self.recording.cameras
        for index in range(self._next, self._next + sets):
            stamp = self.recording.stamp_of_set(index)
            images = [self.recording.image_message(name, index) for name in wanted]
            self.send(self.recording.pose_message(stamp), *images)
            self.middleware.spin(timeout_s=period_s)
        self._next += sets

    def _take_diagnostics(self, message: Any) -> None:
        for status in message.status:
            values = {entry.key: entry.value for entry in status.values}
            history = self._history.setdefault(status.name, [])
            if history[-1:] != [values.get("state", "")]:
                history.append(values.get("state", ""))
            self.statuses[status.name] = {**values, "level": str(status.level), "message": status.message}


@pytest.fixture
def graph(domain: int, recording: Any) -> Iterator[Graph]:
    """The test's own node."""
    made = Graph(domain, recording)
    yield made
    made.middleware.shutdown()


@pytest.fixture
def ros2(ros_environment: dict[str, str]) -> Callable[..., str]:
    """Runs a ``ros2`` command to its end and gives all it printed."""

    def run(*arguments: str, timeout_s: float = 60.0) -> str:
        done = subprocess.run(
            ["ros2", *arguments],
            env=ros_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
        return done.stdout

    return run


@pytest.fixture
def detector(ros_environment: dict[str, str], recording: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts the detector with the checkpoint that comes with the package; ``name:=value`` sets parameters."""
    from ament_index_python.packages import get_package_prefix

    # Not through `ros2 run`, which takes the signals that are meant for the node.
    program = Path(get_package_prefix("semlt3d_ros"), "lib", "semlt3d_ros", "detector")
    processes: list[subprocess.Popen[str]] = []

    def start(*overrides: str, remap: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        cameras = f"cameras:=[{', '.join(recording.cameras)}]"
        given = (cameras, "device:=cpu", "threads:=1", "diagnostics_period_s:=0.2", "min_cameras:=1", *overrides)
        words = [word for text in given for word in ("-p", text)] + [word for text in remap for word in ("-r", text)]
        log = open(tmp_path / f"detector_{len(processes)}.log", "w", encoding="utf-8")  # noqa: SIM115
        process = subprocess.Popen(
            [str(program), "--ros-args", *words],
            env=ros_environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        process.log = lambda: Path(log.name).read_text(encoding="utf-8")
        processes.append(process)
        return process

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def launch(ros_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Launches something and gives its log; at the end all of it is gone."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **environment: str) -> Path:
        log = tmp_path / "launch.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["ros2", "launch", *arguments],
                env={**ros_environment, "ROS_LOG_DIR": str(tmp_path / "log"), **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        processes.append(process)
        return log

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

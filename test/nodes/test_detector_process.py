"""The detector node as a process: diagnostics over DDS, ending by signal, and starts that cannot work."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_long_tail
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.parameters import load_parameters
from semlt3d_ros.middleware.port import QoS
from semlt3d_ros.nodes.detector import DetectorNode
from semlt3d_ros.nodes.detector_main import open_detector, run_detector
from semlt3d_ros.nodes.detector_parameters import NODE_NAME, DetectorParameters
from semlt3d_ros.nodes.player import Player, PlayerOptions

Join = Callable[..., DdsMiddleware]
CONFIGS = [Path(__file__).resolve().parents[2] / "config" / name for name in ("detector.yaml", "model.yaml")]


def test_diagnostics_of_a_live_run_account_for_every_set(
    join: Join, node_process: Callable[..., subprocess.Popen[str]], recording: Any, tmp_path: Path
) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 20)
    process = node_process("diagnostics_period_s:=0.05", "image_depth:=100")
    middleware = join()
    newest: dict[str, dict[str, str]] = {}

    def take(message: Any, _: int) -> None:
        newest.update({status.name: {entry.key: entry.value for entry in status.values} for status in message.status})

    def sets() -> dict[str, int]:
        values = newest.get("semlt3d: sets", {})
        return {key: int(value) for key, value in values.items() if key != "rate_hz"}

    def settled() -> bool:
        counts = sets()
        dropped = sum(count for key, count in counts.items() if key.startswith("drops."))
        return counts.get("sets_in") == 20 and counts["sets_processed"] + dropped == 20

    middleware.create_subscription(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE, take)
    middleware.create_subscription(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, lambda *_: None)
    Player(middleware, bag, PlayerOptions(rate=2, wait_for_subscribers_s=60)).play()
    assert middleware.spin(settled, 60), (
        newest.get("semlt3d: sets"),
        newest.get("semlt3d: messages"),
    )
    assert sets()["sets_processed"] > 0
    assert float(newest["semlt3d: latency"]["latency_ms.p50"]) > 0
    assert newest["semlt3d: camera CAM_FRONT"]["images"] == "20"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_node_in_the_middle_of_a_stream(
    join: Join,
    node_process: Callable[..., subprocess.Popen[str]],
    recording: Any,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 30)
    process = node_process()
    middleware = join()
    answers: list[Any] = []
    middleware.create_subscription(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, lambda message, _: answers.append(message))
    player = Player(middleware, bag, PlayerOptions(rate=3, loop=True, wait_for_subscribers_s=60))
    middleware.create_timer(0.02, lambda: middleware.stop() if answers else None)
    player.play()
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output == "ended\n"


def test_the_example_files_hold_every_parameter_once_at_its_default() -> None:
    names = [name for file in CONFIGS for name in yaml.safe_load(file.read_text())["/**"]["ros__parameters"]]
    # ROS' reader takes no empty list, so this one is shown in a comment.
    assert "# class_thresholds:" in CONFIGS[0].read_text()
    names.append("class_thresholds")
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(DetectorParameters))
    assert load_parameters(DetectorParameters, NODE_NAME, CONFIGS) == DetectorParameters()


def test_faulty_parameters_start_nothing(domain: int) -> None:
    overrides = ["deadline:=0.1", "image_depth:=0", "image_reliability:=maybe"]
    with pytest.raises(ConfigurationError) as caught:
        run_detector((), overrides, domain)
    message = str(caught.value)
    assert "there is no parameter 'deadline', did you mean 'deadline_s'?" in message
    assert "image_depth = 0 is not from 1 to 100" in message
    assert "image_reliability = 'maybe' is not one of best_effort, reliable" in message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["checkpoint:=/nowhere/student.safetensors"], "'/nowhere/student.safetensors' does not exist"),
        (["rig_file:=/nowhere/rig.yaml"], "rig '/nowhere/rig.yaml' cannot be read"),
        (["cameras:=[]"], "name at least one camera"),
    ],
)
def test_what_cannot_be_loaded_starts_nothing(domain: int, overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run_detector((), overrides, domain)
    assert words in str(caught.value)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint of a small student with random weights."""
    torch = pytest.importorskip("torch")
    from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
    from semlt3d_ros.student.config import StudentConfig
    from semlt3d_ros.student.student import Student

    def write(**changes: Any) -> Path:
        torch.manual_seed(1)
        config = StudentConfig(image_width=64, image_height=32, anchors=10, proposals=5, depth_bins=8, **changes)
        save_checkpoint(tmp_path / "random.safetensors", Student(config), "random", {})
        return tmp_path / "random.safetensors"

    return write


@pytest.mark.parametrize("names", [CLASS_NAMES, ("car", "submarine")])
def test_a_student_answers_over_dds_in_its_own_classes(
    join: Join, checkpoint: Callable[..., Path], recording: Any, tmp_path: Path, names: tuple[str, ...]
) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 3)
    cameras = f"cameras:=[{', '.join(recording.cameras)}]"
    robot = join(NODE_NAME, f"checkpoint:={checkpoint(class_names=names)}", "device:=cpu", "threads:=1", cameras)
    listener = join("listener")
    answers: list[Any] = []
    listener.create_subscription(
        topics.LONG_TAIL, topics.LONG_TAIL_TYPE, lambda message, _: answers.append(decode_long_tail(message)), QoS(10)
    )
    node = DetectorNode(robot, open_detector)
    node.lifecycle.run("configure")
    node.lifecycle.run("activate")
    thread = threading.Thread(target=robot.spin)
    thread.start()
    try:
        options = PlayerOptions(rate=1000, lockstep=True, wait_for_subscribers_s=60, answer_timeout_s=60)
        summary = Player(listener, bag, options).play()
        assert listener.spin(lambda: len(answers) == 3, 60)
    finally:
        robot.stop()
        thread.join(60)
        node.close()
    assert summary.unanswered == 0
    assert [answer.stamp for answer in answers] == [recording.stamp_of_set(index) for index in range(3)]
    assert answers[0].model_version.startswith("random@")
    assert answers[0].cameras == recording.cameras
    assert all(answer.class_names == names for answer in answers)

"""`ros2 launch` and `ros2 run`, as they are typed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Ros2 = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ros2(ros_environment: dict[str, str], tmp_path: Path) -> Ros2:
    """Runs one `ros2` command to its end; both output streams come in one."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**ros_environment, "ROS_LOG_DIR": str(tmp_path / "log")}
        return subprocess.run(
            ["ros2", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def launched(ros2: Ros2) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs one of this package's launch files to its end."""
    return lambda name, *arguments: ros2("launch", "semlt3d_ros", name, *arguments)


def test_every_argument_of_the_detector_is_shown_with_a_description(launched: Ros2) -> None:
    shown = launched("detector.launch.py", "--show-args").stdout
    for name in ("vehicle", "namespace", "name", "params", "model_params", "rig", "checkpoint", "device", "autostart"):
        assert f"'{name}':" in shown
    for name in ("use_sim_time", "rviz", "rviz_config", "log_level"):
        assert f"'{name}':" in shown
    assert "no description given" not in shown
    assert "autoware_sample, nuscenes, pandaset, webcam" in shown


def test_replay_shows_its_arguments_and_the_detectors(launched: Ros2) -> None:
    shown = launched("replay.launch.py", "--show-args").stdout
    for name in ("bag", "rate", "loop", "player", "delay", "exit_when_played", "rig", "rviz", "log_level"):
        assert f"'{name}':" in shown
    assert "no description given" not in shown


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("bag:=/nowhere/drive.mcap", "bag:=/nowhere/drive.mcap does not exist; give an .mcap file or a rosbag2 folder"),
        ("bag:={bag} rate:=0", "rate:=0 is not a number greater than 0"),
        ("bag:={bag} rate:=fast", "rate:=fast is not a number greater than 0"),
        ("bag:={bag} delay:=-1", "delay:=-1 is not a number of seconds, 0 or more"),
        ("bag:={bag} player:=vlc", "player:=vlc is not one of semlt3d, rosbag2"),
        ("bag:={bag} loop:=perhaps", "loop:=perhaps is neither true nor false"),
        ("bag:={bag} rig:=submarine", "rig:=submarine is neither a file nor one of autoware_sample, nuscenes"),
        ("bag:={bag} params:=/nowhere.yaml", "params:=/nowhere.yaml is not a file"),
        ("bag:={bag} checkpoint:=/nowhere.safetensors", "checkpoint:=/nowhere.safetensors is not a file"),
        ("bag:={bag} autostart:=1", "autostart:=1 is neither true nor false"),
        ("bag:={bag} vehicle:=submarine", "vehicle:=submarine is neither a file nor one of autoware_sample"),
        ("bag:={bag} name:=two_eyes!", "name: 'two_eyes!' is none of a node"),
        ("bag:={bag} recording:=perhaps", "recording:=perhaps is neither true nor false"),
        ("bag:={bag} recording:=true", "recording:=true needs the folder of the events"),
        ("bag:={bag} recording:=true events:=e triggers:=/nowhere.yaml", "triggers:=/nowhere.yaml is not a file"),
    ],
)
def test_what_does_not_fit_is_one_line_before_anything_starts(
    launched: Ros2, tmp_path: Path, arguments: str, complaint: str
) -> None:
    bag = tmp_path / "drive.mcap"
    bag.touch()
    done = launched("replay.launch.py", *arguments.format(bag=bag).split())
    assert done.returncode != 0
    (line,) = [line for line in done.stdout.splitlines() if "ERROR" in line]
    assert complaint in line
    assert "process started" not in done.stdout and "Traceback" not in done.stdout


def test_all_faults_are_told_at_once(launched: Ros2, tmp_path: Path) -> None:
    vehicle = tmp_path / "vehicle.yaml"
    vehicle.write_text("rig: submarine\nremap: {a: b}\n", encoding="utf-8")
    arguments = ("bag:=/nowhere.mcap", "rate:=0", f"vehicle:={vehicle}", "params:=/nowhere.yaml", "rviz:=perhaps")
    done = launched("replay.launch.py", *arguments)
    (line,) = [line for line in done.stdout.splitlines() if "ERROR" in line]
    for part in (
        "bag:=/nowhere.mcap does not exist",
        "rate:=0 is not a number greater than 0",
        f"vehicle file '{vehicle}': rig: 'submarine' is neither a file",
        "there is no entry 'remap', did you mean 'remaps'?",
        "params:=/nowhere.yaml is not a file",
        "rviz:=perhaps is neither true nor false",
    ):
        assert part in line, line
    assert "process started" not in done.stdout


def test_the_launch_file_of_autowares_sample_vehicle_shows_its_arguments(launched: Ros2) -> None:
    shown = launched("autoware_sample.launch.xml", "--show-args").stdout
    for name in ("vehicle", "output/objects", "checkpoint", "use_sim_time", "rviz"):
        assert f"'{name}':" in shown
    assert "no description given" not in shown


def test_programs_are_found(ros2: Ros2) -> None:
    found = ros2("pkg", "executables", "semlt3d_ros").stdout.splitlines()
    programs = ("detector", "distiller", "event_recorder", "player", "semlt3d")
    assert found == [f"semlt3d_ros {name}" for name in programs]


def test_programs_run_on_the_active_python(ros2: Ros2) -> None:
    done = ros2("run", "semlt3d_ros", "semlt3d", "--version")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name", ["DatasetSample", "DistillationStatus", "LongTailDetection", "LongTailDetectionArray", "ViewWindow"]
)
def test_messages_are_generated(ros2: Ros2, name: str) -> None:
    shown = ros2("interface", "show", f"semlt3d_ros/msg/{name}").stdout
    definition = Path(__file__).resolve().parents[2] / "msg" / f"{name}.msg"
    for line in definition.read_text(encoding="utf-8").splitlines():
        assert line in shown

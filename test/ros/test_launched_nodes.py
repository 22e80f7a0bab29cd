"""What the launch files start, and how."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import stamp_of

SHOWS_ITS_ARGUMENTS = """#!/bin/sh
printf '%s\\n' "$@" > "{file}.part"
mv "{file}.part" "{file}"
exec sleep 600
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], tuple[str, Path]]:
    """An installed package of one program that notes its arguments; gives the prefix path with it, and the note."""

    def install(package: str) -> tuple[str, Path]:
        prefix, file = tmp_path / package, tmp_path / f"{package}.arguments"
        marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / package
        program = prefix / "lib" / package / package
        for path in (marker, program):
            path.parent.mkdir(parents=True)
        marker.touch()
        program.write_text(SHOWS_ITS_ARGUMENTS.format(file=file), encoding="utf-8")
        program.chmod(0o755)
        return f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}", file

    return install


def until(holds: Callable[[], Any], log: Path, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, log.read_text(encoding="utf-8")
        time.sleep(0.1)


def test_rviz_looks_at_the_node_wherever_it_is(
    launch: Callable[..., Path], stand_in: Callable[[str], tuple[str, Path]]
) -> None:
    prefix_path, file = stand_in("rviz2")
    where = ("autostart:=false", "namespace:=front", "name:=eyes", "rviz:=true")
    log = launch("semlt3d_ros", "detector.launch.py", *where, AMENT_PREFIX_PATH=prefix_path)
    until(file.exists, log)
    given = file.read_text(encoding="utf-8").split()
    assert Path(given[given.index("-d") + 1]).name == "semlt3d.rviz"
    for topic in (topics.MARKERS, *(f"/semlt3d/debug/{name}/image" for name in topics.NUSCENES_CAMERAS)):
        assert f"{topic}:={topic.replace('/semlt3d', '/front/eyes')}" in given


def test_rviz_looks_where_the_vehicle_file_says(
    launch: Callable[..., Path], stand_in: Callable[[str], tuple[str, Path]], tmp_path: Path
) -> None:
    prefix_path, file = stand_in("rviz2")
    vehicle = tmp_path / "vehicle.yaml"
    rig = "rig: {base_frame: body, points_topic: /cloud, cameras: [{name: A}, {name: B}]}"
    vehicle.write_text(f"namespace: front\nname: eyes\n{rig}\nremaps: {{~/markers: /viz/boxes}}\n", encoding="utf-8")
    arguments = (f"vehicle:={vehicle}", "autostart:=false", "rviz:=true")
    log = launch("semlt3d_ros", "detector.launch.py", *arguments, AMENT_PREFIX_PATH=prefix_path)
    until(file.exists, log)
    given = file.read_text(encoding="utf-8").split()
    assert given[given.index("-f") + 1] == "body"
    for seen in (
        "/semlt3d/markers:=/viz/boxes",
        "/semlt3d/debug/CAM_FRONT/image:=/front/eyes/debug/A/image",
        "/semlt3d/debug/CAM_FRONT_RIGHT/image:=/front/eyes/debug/B/image",
        "/sensing/lidar/points:=/cloud",
    ):
        assert seen in given, given


@pytest.mark.parametrize("reliability", ["best_effort", "reliable"])
def test_rviz_asks_for_points_as_the_node_does_for_images(
    launch: Callable[..., Path], stand_in: Callable[[str], tuple[str, Path]], reliability: str
) -> None:
    prefix_path, file = stand_in("rviz2")
    arguments = (f"image_reliability:={reliability}", "autostart:=false", "rviz:=true")
    log = launch("semlt3d_ros", "detector.launch.py", *arguments, AMENT_PREFIX_PATH=prefix_path)
    until(file.exists, log)
    given = file.read_text(encoding="utf-8").split()
    config = yaml.safe_load(Path(given[given.index("-d") + 1]).read_text(encoding="utf-8"))
    (points,) = [
        display
        for display in config["Visualization Manager"]["Displays"]
        if display["Class"] == "rviz_default_plugins/PointCloud2"
    ]
    assert points["Topic"]["Reliability Policy"] == {"best_effort": "Best Effort", "reliable": "Reliable"}[reliability]


def test_a_vehicle_file_says_where_the_node_is_and_how_and_arguments_win(
    launch: Callable[..., Path], graph: Any, ros2: Callable[..., str], tmp_path: Path
) -> None:
    reports: list[Any] = []
    graph.listen("/front/diagnostics", topics.DIAGNOSTIC_TYPE, reports.append)
    vehicle = tmp_path / "vehicle.yaml"
    vehicle.write_text(
        "namespace: front\nname: eyes\nrig: {cameras: [{name: A}]}\nremaps: {/diagnostics: diagnostics}\n"
        "parameters: {score_threshold: 0.5, class_thresholds: ['12=0.5'], autostart: false}\n"
        "model: {device: 'cuda:7', threads: 2}\n",
        encoding="utf-8",
    )
    launch("semlt3d_ros", "detector.launch.py", f"vehicle:={vehicle}", "name:=nose", "device:=cpu")
    graph.until(lambda: reports)
    values = {
        "score_threshold": "0.5",
        "class_thresholds": "['12=0.5']",
        "autostart": "False",
        "device": "cpu",
        "threads": "2",
        "rig_file": str(vehicle),
    }
    for name, value in values.items():
        assert value in ros2("param", "get", "/front/nose", name)


def test_autowares_sample_vehicle_offers_its_objects_where_it_is_told(
    launch: Callable[..., Path], graph: Any, ros2: Callable[..., str]
) -> None:
    launch("semlt3d_ros", "autoware_sample.launch.xml", "output/objects:=/perception/objects")
    graph.until(lambda: graph.value("lifecycle", "state") == "active", 120)
    graph.until(lambda: graph.state("CAM_FRONT") == "never_seen")
    listed = ros2("topic", "list", "-t", "--no-daemon", "--spin-time", "3")
    assert "/sensing/camera/camera4/image_rect_color [sensor_msgs/msg/Image]" in listed
    here = "/perception/object_recognition/detection/semlt3d"
    assert f"{here}/detections [{topics.DETECTION_3D_TYPE}]" in listed
    assert f"{here}/debug/markers [{topics.MARKER_TYPE}]" in listed
    if find_spec("autoware_perception_msgs"):
        assert f"/perception/objects [{topics.OBJECTS_TYPE}]" in listed


def test_without_being_asked_rviz_stays_away(
    launch: Callable[..., Path], stand_in: Callable[[str], tuple[str, Path]], graph: Any
) -> None:
    prefix_path, file = stand_in("rviz2")
    launch("semlt3d_ros", "detector.launch.py", "autostart:=false", AMENT_PREFIX_PATH=prefix_path)
    graph.until(lambda: graph.statuses.get("semlt3d: lifecycle", {}).get("state") == "unconfigured")
    assert not file.exists()


def test_namespaces_and_remaps_of_a_launch_file_that_includes_ours_reach_the_nodes(
    launch: Callable[..., Path],
    graph: Any,
    stand_in: Callable[[str], tuple[str, Path]],
    ros2: Callable[..., str],
    tmp_path: Path,
) -> None:
    prefix_path, shown = stand_in("rviz2")
    reports: list[Any] = []
    graph.listen("/front/diagnostics", topics.DIAGNOSTIC_TYPE, reports.append)
    file = tmp_path / "vehicle.launch.py"
    file.write_text(
        """
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch_ros.actions import PushRosNamespace, SetRemap
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    detector = IncludeLaunchDescription(
        [FindPackageShare("semlt3d_ros"), "/launch/detector.launch.py"],
        launch_arguments={"autostart": "false", "rviz": "true"}.items(),
    )
    around = [PushRosNamespace("unit"), SetRemap("/diagnostics", "/front/diagnostics")]
    return LaunchDescription([GroupAction([*around, detector])])
""",
        encoding="utf-8",
    )
    log = launch(str(file), AMENT_PREFIX_PATH=prefix_path)
    graph.until(lambda: reports)
    assert not graph.statuses
    assert "/unit/semlt3d" in ros2("node", "list", "--no-daemon", "--spin-time", "3")
    until(shown.exists, log)
    assert "/semlt3d/markers:=/unit/semlt3d/markers" in shown.read_text(encoding="utf-8").split()


def test_a_recording_replayed_by_launch_is_detected_on_its_own_time(
    launch: Callable[..., Path], graph: Any, recording: Any, tmp_path: Path
) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 5)
    rig = tmp_path / "rig.yaml"
    rig.write_text("cameras:\n" + "".join(f"  - name: {name}\n" for name in recording.cameras), encoding="utf-8")
    reported: list[int] = []
    graph.listen(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE, lambda message: reported.append(message.header.stamp.sec))
    graph.listen_to_answers()
    arguments = (f"bag:={bag}", f"rig:={rig}", "device:=cpu", "rate:=0.5", "exit_when_played:=true")
    log = launch("semlt3d_ros", "replay.launch.py", *arguments)
    graph.until(lambda: log.read_text(encoding="utf-8").count("process has finished cleanly") == 2, 90)
    stamps = [stamp_of(answer) for answer in graph.answers]
    assert stamps and set(stamps) <= {recording.stamp_of_set(index) for index in range(5)}
    begin = recording.start // 1_000_000_000
    assert any(begin <= second < begin + 10 for second in reported), "the node's clock is the recording's"
    text = log.read_text(encoding="utf-8")
    assert "ERROR" not in text and "WARN" not in text

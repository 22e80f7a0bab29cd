"""The rigs that come with the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from semlt3d_ros.messages import topics
from semlt3d_ros.sensing.rig import load_rig

RIGS = sorted((Path(__file__).resolve().parents[2] / "config" / "rigs").glob("*.yaml"))
RESOLVED_TOPIC = re.compile(r"(/[A-Za-z][A-Za-z0-9_]*)+")


def test_every_rig_named_in_the_manual_is_there():
    assert [path.stem for path in RIGS] == ["autoware_sample", "nuscenes", "pandaset", "webcam"]


@pytest.mark.parametrize("path", RIGS, ids=lambda path: path.stem)
def test_every_rig_loads_and_names_topics_that_ros_accepts(path: Path):
    rig = load_rig(path)
    wanted = rig.topics(with_points=True, with_labels=True)
    assert all(RESOLVED_TOPIC.fullmatch(topic) for topic in wanted)
    assert rig.base_frame and not rig.base_frame.startswith("/")
    assert path.read_text(encoding="utf-8").startswith("# "), "says what vehicle it is"


def test_autowares_cameras_are_named_by_where_they_look():
    """Yaw of cameraN in sensor_kit_calibration.yaml of autowarefoundation/sample_sensor_kit_launch, in radians."""
    yaw = {
        "camera4": -0.005,
        "camera2": -1.04,
        "camera1": -2.12,
        "camera5": 3.125,
        "camera3": 2.0943951,
        "camera0": 1.035,
    }
    rig = load_rig(next(path for path in RIGS if path.stem == "autoware_sample"))
    looks = {
        "CAM_FRONT": (-0.5, 0.5),
        "CAM_FRONT_RIGHT": (-1.5, -0.5),
        "CAM_BACK_RIGHT": (-2.6, -1.5),
        "CAM_BACK": (2.6, 3.2),
        "CAM_BACK_LEFT": (1.5, 2.6),
        "CAM_FRONT_LEFT": (0.5, 1.5),
    }
    assert rig.camera_names == topics.NUSCENES_CAMERAS and rig.anchor == "CAM_FRONT"
    for camera in rig.cameras:
        kit = re.fullmatch(r"/sensing/camera/(camera\d)/image_rect_color", camera.image_topic)[1]
        low, high = looks[camera.name]
        assert low < yaw[kit] < high, camera.name
        assert camera.info_topic == f"/sensing/camera/{kit}/camera_info" and not camera.compressed

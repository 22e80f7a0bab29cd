from __future__ import annotations

from pathlib import Path

import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import topics
from semlt3d_ros.sensing.rig import CameraConfig, Rig, load_rig, rig_from_topics

RIGS = sorted((Path(__file__).resolve().parents[2] / "config" / "rigs").glob("*.yaml"))


@pytest.mark.parametrize("path", RIGS, ids=lambda path: path.stem)
def test_shipped_rigs_load(path):
    rig = load_rig(path)
    assert rig.anchor in rig.camera_names
    assert set(rig.topics()) >= {camera.image_topic for camera in rig.cameras}


def test_shipped_six_camera_rigs_follow_the_convention():
    for path in RIGS:
        if path.stem != "webcam":
            assert load_rig(path).camera_names == topics.NUSCENES_CAMERAS


def test_a_name_is_enough(tmp_path):
    (tmp_path / "rig.yaml").write_text(
        "cameras: [{name: LEFT}, {name: RIGHT, compressed: false, time_offset_s: -0.02}]"
    )
    rig = load_rig(tmp_path / "rig.yaml")
    assert rig.anchor == "LEFT" and rig.base_frame == "base_link" and rig.fixed_frame == "odom"
    assert rig.cameras[1] == CameraConfig(
        "RIGHT", "/sensing/camera/RIGHT/image", "/sensing/camera/RIGHT/camera_info", False, -0.02
    )
    assert rig.topics()["/sensing/camera/RIGHT/image"] == "sensor_msgs/msg/Image"


def test_all_faults_are_listed_at_once(tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text(
        """
anchor: FRONT
speed: 3
base_frame: 7
cameras:
  - {name: A, image_topic: no_slash, time_offset_s: fast}
  - {name: B, lens: wide}
  - {name: B, info_topic: /info}
  - {image_topic: /x}
"""
    )
    with pytest.raises(ConfigurationError) as error:
        load_rig(path)
    for part in (
        str(path),
        "anchor 'FRONT' is not one of the cameras",
        "unknown entry 'speed'",
        "base_frame must be a text, not 7",
        "cameras[0]: image_topic must be a topic that begins with '/', not 'no_slash'",
        "cameras[0].time_offset_s must be a number, not 'fast'",
        "cameras[1]: unknown entry 'lens'",
        "the name 'B' is given to more than one camera",
        "cameras[3]: missing name",
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "cameras: []", "cameras: 5", "cameras: [", "cameras: [{name: A}]\nfixed_frame: 3"]
)
def test_what_is_no_rig(tmp_path, text):
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"rig\.yaml"):
        load_rig(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        load_rig(tmp_path / "none.yaml")


def _available(*names: str, **more: str) -> dict[str, str]:
    found = {topics.camera_image_topic(name): topics.COMPRESSED_IMAGE_TYPE for name in names}
    found |= {topics.camera_info_topic(name): topics.CAMERA_INFO_TYPE for name in names}
    return found | more


def test_discovers_cameras_in_order():
    rig = rig_from_topics(_available("zoom", "CAM_BACK", "aux", "CAM_FRONT") | {topics.TF: topics.TF_TYPE})
    assert rig.camera_names == ("CAM_FRONT", "CAM_BACK", "aux", "zoom")
    assert rig.anchor == "CAM_FRONT" and rig.fixed_frame == "odom" and rig.points_topic is None


def test_discovers_raw_images_and_prefers_compressed_ones():
    available = _available("A") | {topics.camera_image_topic("A", False): topics.IMAGE_TYPE}
    available |= {topics.camera_image_topic("B", False): topics.IMAGE_TYPE}
    rig = rig_from_topics(available)
    assert [camera.compressed for camera in rig.cameras] == [True, False]


def test_ego_motion_from_what_there_is():
    with_odometry = rig_from_topics(_available("A") | {topics.ODOMETRY: topics.ODOMETRY_TYPE})
    assert with_odometry.odometry_topic == topics.ODOMETRY and with_odometry.fixed_frame == "odom"
    assert rig_from_topics(_available("A")).fixed_frame is None


def test_points_and_truth_are_only_asked_for_when_wanted():
    available = _available("A") | {
        topics.POINTS: topics.POINT_CLOUD_TYPE,
        topics.TRUTH_LONG_TAIL: topics.LONG_TAIL_TYPE,
    }
    rig = rig_from_topics(available)
    assert topics.POINTS not in rig.topics() and topics.TRUTH_LONG_TAIL not in rig.topics()
    assert {topics.POINTS, topics.TRUTH_LONG_TAIL} <= set(rig.topics(with_points=True, with_labels=True))


def test_no_camera_names_what_there_is():
    with pytest.raises(ConfigurationError, match="/usb_cam/image_raw"):
        rig_from_topics({"/usb_cam/image_raw": topics.IMAGE_TYPE, "/tf": topics.TF_TYPE})


def test_a_rig_built_in_code_is_checked_too():
    with pytest.raises(ConfigurationError, match="anchor"):
        Rig((CameraConfig("A", "/a", "/b"),), anchor="B")


@pytest.mark.parametrize(
    ("topic", "rectified", "expected"),
    [
        ("/camera0/image_rect_color", None, True),
        ("/camera0/image_rect/compressed", None, True),
        ("/camera0/image_raw", None, False),
        ("/zed/rgb/color/rect/image", None, True),
        ("/camera0/rectified/image", None, True),
        ("/camera0/image_rectified/compressed", None, True),
        ("/camera0/image_rect_raw", None, True),
        ("/camera0/image_undistorted", None, True),
        ("/camera0/image_unrectified", None, False),
        ("/director/image_raw", None, False),
        ("/camera0/rectangle/image", None, False),
        ("/camera0/image_rect", False, False),
        ("/camera0/image", True, True),
    ],
)
def test_rectified_images_are_known_by_their_topic_unless_the_rig_says_otherwise(topic, rectified, expected):
    assert CameraConfig("A", topic, "/info", rectified=rectified).is_rectified is expected

"""What this package computes by NumPy against the ROS packages that do the same, on real message classes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench import encoding
from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels, PointCloud
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages import decode, encode, topics
from semlt3d_ros.messages.typestore import deserialize, message_class, serialize

pytest.importorskip("rclpy", reason="ROS 2 is not sourced")

STAMP = 1_700_000_000_250_000_000
MessageTypes = Callable[[str], Any]


def ros_class(type_name: str) -> Any:
    """rclpy's class, made to check every field that is set."""
    from rosidl_runtime_py.utilities import get_message

    found = get_message(type_name)
    sys.modules[found.__module__].ros_python_check_fields = "1"
    return found


def read_by_ros(message: Any, type_name: str) -> Any:
    """A message of rosbags' classes, or its bytes, sent as this package sends it and read as ROS reads it."""
    from rclpy.serialization import deserialize_message

    data = message if isinstance(message, bytes) else serialize(message, type_name)
    return deserialize_message(data, ros_class(type_name))


def sent_by_ros(message: Any) -> bytes:
    """The bytes that ROS sends of one of its messages."""
    from rclpy.serialization import serialize_message

    return serialize_message(message)


def plain(message: Any) -> Any:
    """All fields of a ROS message as dictionaries and lists; NaN as text, which is equal to itself."""
    from rosidl_runtime_py.convert import message_to_ordereddict

    def comparable(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: comparable(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [comparable(item) for item in value]
        return "NaN" if isinstance(value, float) and np.isnan(value) else value

    return comparable(message_to_ordereddict(message))


def detections(count: int = 5) -> Detections:
    random = np.random.default_rng(count)
    boxes = Boxes3D(
        random.uniform(-40, 40, (count, 3)),
        random.uniform(0.2, 8, (count, 3)),
        random.uniform(-3.1, 3.1, count),
        np.where(random.random((count, 1)) < 0.4, np.nan, random.normal(size=(count, 2)) * 5),
    )
    return Detections(
        STAMP,
        boxes,
        random.random((count, len(CLASS_NAMES))),
        expert_weights=random.random((count, 4)).astype(np.float32),
        depth_uncertainty=random.uniform(0, 3, count).astype(np.float32),
        cameras=("CAM_FRONT",),
        missing=("CAM_BACK",),
        model_version="a@1",
    )


def labels() -> Labels:
    return Labels(detections().boxes, np.arange(5), track_ids=tuple("abcde"), lidar_points=np.arange(5) - 1)


def points() -> PointCloud:
    random = np.random.default_rng(0)
    xyz = random.normal(size=(50, 3)).astype(np.float32)
    return PointCloud(xyz, random.random(50).astype(np.float32), random.random(50).astype(np.float32))


def photo(channels: int = 3, kind: str = "uint8", height: int = 12, width: int = 20) -> np.ndarray:
    """A smooth picture, so that ways to interpolate differ little."""
    rows, columns = np.mgrid[:height, :width]
    top = np.iinfo(kind).max
    shades = [(np.sin(rows / 9 + k) * np.cos(columns / 11 - k) + 1) / 2 * top for k in range(channels)]
    return np.stack(shades, axis=-1).astype(kind)


POSE = decode.StampedTransform("odom", "base_link", STAMP, rigid.planar(3.0, -2.0, 1.2, z=0.4))
CAMERA = CameraModel(20, 12, np.array([[30.0, 0, 9.5], [0, 31.0, 5.5], [0, 0, 1]]), "plumb_bob", np.full(5, 0.01))
OPTIONS = encode.MarkerOptions(covariance=True)
MESSAGES: dict[str, tuple[str, Callable[[MessageTypes], Any]]] = {
    "detections": (
        topics.DETECTION_3D_TYPE,
        lambda types: encoding.detection3d_by_field(detections(), "base_link", 3, types),
    ),
    "no detections": (
        topics.DETECTION_3D_TYPE,
        lambda types: encoding.detection3d_by_field(detections(0), "b", 3, types),
    ),
    "true objects": (
        topics.DETECTION_3D_TYPE,
        lambda types: encoding.labels_detection3d_by_field(labels(), STAMP, "base_link", types),
    ),
    "label info": (
        topics.LABEL_INFO_TYPE,
        lambda types: encode.encode_label_info(CLASS_NAMES, STAMP, "base_link", 0.25, types),
    ),
    "long tail": (topics.LONG_TAIL_TYPE, lambda types: encoding.long_tail_by_field(detections(), "base_link", types)),
    "truth": (
        topics.LONG_TAIL_TYPE,
        lambda types: encoding.labels_long_tail_by_field(labels(), STAMP, "base_link", types),
    ),
    "markers": (topics.MARKER_TYPE, lambda types: encoding.markers_by_field(detections(), "base_link", OPTIONS, types)),
    "diagnostics": (
        topics.DIAGNOSTIC_TYPE,
        lambda types: encode.encode_diagnostics([("a", 2, "b", {"c": 1.5})], STAMP, types=types),
    ),
    "image": (topics.IMAGE_TYPE, lambda types: encode.encode_image(photo(), STAMP, "cam", types)),
    "compressed image": (
        topics.COMPRESSED_IMAGE_TYPE,
        lambda types: encode.encode_compressed_image(photo(), STAMP, "cam", types=types),
    ),
    "camera info": (topics.CAMERA_INFO_TYPE, lambda types: encode.encode_camera_info(CAMERA, STAMP, "cam", types)),
    "points": (topics.POINT_CLOUD_TYPE, lambda types: encode.encode_point_cloud(points(), STAMP, "lidar", types)),
    "transforms": (topics.TF_TYPE, lambda types: encode.encode_transforms([POSE, POSE], types)),
    "odometry": (
        topics.ODOMETRY_TYPE,
        lambda types: encode.encode_odometry(POSE.matrix, STAMP, (1.0, 0.0, 0.0), (0.0, 0.0, 0.2), types=types),
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_arrive_in_ros_as_they_were_meant(name: str) -> None:
    from rclpy.serialization import deserialize_message

    type_name, build = MESSAGES[name]
    meant = deserialize_message(sent_by_ros(build(ros_class)), ros_class(type_name))
    assert plain(read_by_ros(build(message_class), type_name)) == plain(meant)


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_of_ros_arrive_here_as_they_were_meant(name: str) -> None:
    type_name, build = MESSAGES[name]
    arrived = deserialize(sent_by_ros(build(ros_class)), type_name)
    assert serialize(arrived, type_name) == serialize(build(message_class), type_name)


WRITTEN_FROM_ARRAYS: dict[str, Callable[[], bytes]] = {
    "detections": lambda: encode.encode_detection3d(detections(), "base_link", 3),
    "no detections": lambda: encode.encode_detection3d(detections(0), "b", 3),
    "true objects": lambda: encode.encode_labels_detection3d(labels(), STAMP, "base_link"),
    "long tail": lambda: encode.encode_long_tail(detections(), "base_link"),
    "truth": lambda: encode.encode_labels(labels(), STAMP, "base_link"),
    "markers": lambda: encode.encode_markers(detections(), "base_link", OPTIONS),
}


@pytest.mark.parametrize("name", WRITTEN_FROM_ARRAYS)
def test_what_is_written_from_arrays_is_what_ros_writes(name: str) -> None:
    type_name, build = MESSAGES[name]
    ours, theirs = bytes(WRITTEN_FROM_ARRAYS[name]()), sent_by_ros(build(ros_class))
    # Fast CDR leaves whatever the memory held in the bytes that only align: those say nothing, and are 0 in ours.
    assert len(ours) == len(theirs)
    apart = [place for place, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other]
    assert not any(ours[place] for place in apart), apart
    assert ours == serialize(deserialize(theirs, type_name), type_name)


def test_vision_messages_have_the_fields_that_rviz_reads() -> None:
    found = detections()
    arrived = read_by_ros(encode.encode_detection3d(found, "base_link"), topics.DETECTION_3D_TYPE)
    assert type(arrived).__module__.startswith("vision_msgs.msg")
    best = int(found.scores.argmax())
    first = arrived.detections[0]
    assert [result.hypothesis.class_id for result in first.results] == [
        CLASS_NAMES[index] for index in np.argsort(-found.confidences[best])[:3]
    ]
    assert first.results[0].hypothesis.score == pytest.approx(float(found.scores[best]))
    assert (first.bbox.center.position.x, first.bbox.size.y) == (
        found.boxes.centers[best, 0],
        found.boxes.sizes[best, 1],
    )
    assert first.header == arrived.header and arrived.header.frame_id == "base_link"


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("shape", [(1, 40), (5, 8)])
def test_clouds_are_those_of_sensor_msgs_py(big_endian: bool, shape: tuple[int, int]) -> None:
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2")

    random = np.random.default_rng(1)
    kinds = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4"), ("ring", "u2"), ("time", "f8")]
    table = np.zeros(40, [(name, (">" if big_endian else "<") + kind) for name, kind in kinds])
    for name in table.dtype.names:
        table[name] = random.random(40) * (30 if name == "ring" else 1)
    table["x"][::7] = np.nan
    table["z"][3] = np.inf
    field, codes = ros_class("sensor_msgs/msg/PointField"), {"f4": 7, "u2": 4, "f8": 8}
    message = ros_class(topics.POINT_CLOUD_TYPE)(
        height=shape[0],
        width=shape[1],
        fields=[
            field(name=name, offset=table.dtype.fields[name][1], datatype=codes[kind], count=1) for name, kind in kinds
        ],
        is_bigendian=big_endian,
        point_step=table.itemsize,
        row_step=table.itemsize * shape[1],
        is_dense=False,
    )
    message.data.frombytes(table.tobytes())
    ours = decode.decode_point_cloud(message)
    # Its byteswap changes the message's data in place: it comes second.
    theirs = point_cloud2.read_points(message, ["x", "y", "z", "intensity", "time"], skip_nans=True)
    theirs = theirs[np.isfinite(theirs["z"])]
    assert len(ours) == len(theirs) == 33
    np.testing.assert_array_equal(ours.xyz, np.stack([theirs[name] for name in "xyz"], axis=-1))
    np.testing.assert_array_equal(ours.intensity, theirs["intensity"])
    np.testing.assert_allclose(ours.time, theirs["time"], atol=1e-7)


def test_clouds_made_by_sensor_msgs_py_and_read_by_it() -> None:
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2")

    cloud = points()
    made = point_cloud2.create_cloud_xyz32(ros_class("std_msgs/msg/Header")(frame_id="lidar"), cloud.xyz)
    np.testing.assert_array_equal(decode.decode_point_cloud(made).xyz, cloud.xyz)
    arrived = read_by_ros(encode.encode_point_cloud(cloud, STAMP, "lidar"), topics.POINT_CLOUD_TYPE)
    theirs = point_cloud2.read_points_numpy(arrived)
    np.testing.assert_array_equal(theirs[:, :3], cloud.xyz)
    np.testing.assert_array_equal(theirs[:, 3], cloud.intensity)
    np.testing.assert_array_equal(theirs[:, 4], cloud.time)


quaternions = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1)
angles = st.floats(-3.1, 3.1)


def same_turn(one: Any, other: Any) -> bool:
    """Whether two unit quaternions are the same rotation; q and -q are."""
    return bool(abs(abs(np.dot(one, other)) - 1) < 1e-9)


@given(quaternions)
def test_rotations_are_those_of_tf_transformations(quaternion: list[float]) -> None:
    tf_transformations = pytest.importorskip("tf_transformations")

    unit = np.array(quaternion) / np.linalg.norm(quaternion)
    matrix = tf_transformations.quaternion_matrix(unit)
    np.testing.assert_allclose(rigid.rotation_from_quaternion(quaternion), matrix[:3, :3], atol=1e-9)
    theirs = tf_transformations.quaternion_from_matrix(matrix)
    assert same_turn(rigid.quaternion_from_rotation(matrix[:3, :3]), theirs)
    np.testing.assert_allclose(rigid.inverse(matrix), tf_transformations.inverse_matrix(matrix), atol=1e-9)


@given(angles, st.floats(-1.5, 1.5), angles)
def test_headings_are_those_of_tf_transformations(roll: float, pitch: float, yaw: float) -> None:
    tf_transformations = pytest.importorskip("tf_transformations")

    matrix = tf_transformations.euler_matrix(roll, pitch, yaw)
    assert rigid.yaw_from_rotation(matrix[:3, :3]) == pytest.approx(yaw, abs=1e-6)
    assert tf_transformations.euler_from_matrix(matrix)[2] == pytest.approx(yaw, abs=1e-6)
    assert same_turn(rigid.quaternion_from_yaw(yaw), tf_transformations.quaternion_from_euler(0, 0, yaw))


@given(quaternions, quaternions, st.floats(0, 1))
def test_rotations_between_two_are_those_of_tf_transformations(
    first: list[float], second: list[float], share: float
) -> None:
    tf_transformations = pytest.importorskip("tf_transformations")

    one, other = (np.array(q) / np.linalg.norm(q) for q in (first, second))
    # Between half turns apart there is no shortest way, and for close ones ours takes the chord, which is the arc.
    assume(0.05 < abs(one @ other) < 0.9995)
    ours = rigid.interpolate(rigid.transform(rotation=one), rigid.transform(rotation=other), share)
    assert same_turn(
        rigid.quaternion_from_rotation(ours[:3, :3]), tf_transformations.quaternion_slerp(one, other, share)
    )


def test_detections_read_back_are_the_same() -> None:
    found = detections()
    arrived = decode.decode_long_tail(read_by_ros(encode.encode_long_tail(found, "base_link"), topics.LONG_TAIL_TYPE))
    order = np.argsort(-found.scores, kind="stable")
    np.testing.assert_allclose(arrived.boxes.centers, found.boxes.centers[order])
    np.testing.assert_array_equal(arrived.confidences, found.confidences[order])
    np.testing.assert_array_equal(arrived.depth_uncertainty, found.depth_uncertainty[order])
    assert (arrived.cameras, arrived.missing, arrived.model_version) == (found.cameras, found.missing, "a@1")

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.rigid import planar, transform
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.decode import (
    StampedTransform,
    decode_calibration,
    decode_odometry,
    decode_transforms,
    stamp_of,
)
from semlt3d_ros.messages.encode import encode_camera_info, encode_odometry, encode_transforms
from semlt3d_ros.messages.typestore import message_class

K = np.array([[700.0, 0.0, 400.0], [0.0, 710.0, 225.0], [0.0, 0.0, 1.0]])
CAMERA = CameraModel(800, 450, K)


@given(st.integers(0, 2**31 * 10**9 - 1))
@settings(deadline=None)
def test_stamps_keep_every_nanosecond(stamp: int) -> None:
    image = message_class("sensor_msgs/msg/CompressedImage")
    header = build_header(message_class, stamp, "cam")
    assert stamp_of(image(header=header, format="", data=np.zeros(0, np.uint8))) == stamp


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("", []),
        ("plumb_bob", [-0.3, 0.1, 0.001, -0.002, 0.01]),
        ("rational_polynomial", [0.1, 0.2, 0.0, 0.0, 0.3, 0.01, 0.02, 0.03]),
        ("equidistant", [0.01, -0.02, 0.003, 0.0]),
    ],
)
def test_calibrations_round_trip(types: Any, model: str, coefficients: list[float]) -> None:
    camera = CameraModel(800, 450, K, model, np.array(coefficients))
    message = encode_camera_info(camera, 9, "CAM", types=types)
    decoded = decode_calibration(message).camera
    assert (decoded.width, decoded.height, stamp_of(message)) == (800, 450, 9)
    np.testing.assert_array_equal(decoded.K, K)
    np.testing.assert_array_equal(decoded.D, coefficients or np.zeros(5))
    assert decoded.is_pinhole == camera.is_pinhole


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"k": np.zeros(9), "p": np.zeros(12)}, "intrinsics"),
        ({"k": np.full(9, np.nan)}, "intrinsics"),
        ({"k": np.diag([-1.0, 1.0, 1.0]).reshape(-1)}, "intrinsics"),
        ({"width": 0}, "intrinsics"),
        ({"distortion_model": "fisheye9"}, "distortion"),
        ({"d": np.array([np.nan] * 5)}, "distortion"),
        ({"d": np.ones(7)}, "distortion"),
    ],
)
def test_calibrations_that_no_camera_has_are_rejected(changes: dict[str, Any], reason: str) -> None:
    message = encode_camera_info(CAMERA, 9, "CAM_LEFT")
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(InputRejected, match="CAM_LEFT") as caught:
        decode_calibration(message)
    assert caught.value.reason == reason


@pytest.mark.parametrize("bad", ["rotation", "nan", "long", "translation"])
@given(place=st.integers(0, 3))
@settings(max_examples=4, deadline=None)
def test_one_bad_transform_takes_no_good_one_along(bad: str, place: int) -> None:
    items = [StampedTransform("base_link", f"frame_{i}", 5, transform((i, 2, 3))) for i in range(3)]
    message = encode_transforms([*items[:place], StampedTransform("/imu", "/gyro", 5, np.eye(4)), *items[place:]])
    broken = message.transforms[place].transform
    match bad:
        case "rotation":
            broken.rotation.w = 0.0
        case "nan":
            broken.rotation.x = broken.rotation.y = broken.rotation.z = broken.rotation.w = float("nan")
        case "long":
            broken.rotation.w = 2.0
        case _:
            broken.translation.z = 1e300
    rejected: list[tuple[str, InputRejected]] = []
    decoded = decode_transforms(message, rejected)
    assert [item.child for item in decoded] == ["frame_0", "frame_1", "frame_2"]
    ((link, error),) = rejected
    assert link == "imu -> gyro" and error.reason == "transform" and "'imu' -> 'gyro'" in str(error)
    with pytest.raises(InputRejected, match="gyro"):
        decode_transforms(message)


@given(st.floats(0.95, 1.05))
@settings(deadline=None)
def test_rounded_quaternions_are_brought_to_unit_length(length: float) -> None:
    message = encode_transforms([StampedTransform("base_link", "CAM", 5, transform((1, 2, 3), (0.5, -0.5, 0.5, -0.5)))])
    rotation = message.transforms[0].transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = (value * length for value in (0.5, -0.5, 0.5, -0.5))
    (decoded,) = decode_transforms(message)
    np.testing.assert_allclose(decoded.matrix, transform((1, 2, 3), (0.5, -0.5, 0.5, -0.5)), atol=1e-12)


def test_transforms_round_trip(types: Any) -> None:
    items = [
        StampedTransform("base_link", "CAM", 5, transform((1, 2, 3), (0.5, -0.5, 0.5, -0.5))),
        StampedTransform("odom", "base_link", 1_700_000_000_123_456_789, planar(4.0, 5.0, 0.3)),
    ]
    decoded = decode_transforms(encode_transforms(items, types=types))
    for item, back in zip(items, decoded, strict=True):
        assert (back.parent, back.child, back.stamp) == (item.parent, item.child, item.stamp)
        np.testing.assert_allclose(back.matrix, item.matrix, atol=1e-12)
        assert np.isnan(back.linear).all()


def test_odometry_round_trips(types: Any) -> None:
    pose = planar(10.0, -3.0, 2.0, 0.5)
    decoded = decode_odometry(encode_odometry(pose, 77, (5.0, 0.1, 0.0), (0.0, 0.0, 0.2), types=types))
    assert (decoded.parent, decoded.child, decoded.stamp) == ("odom", "base_link", 77)
    np.testing.assert_allclose(decoded.matrix, pose, atol=1e-12)
    np.testing.assert_allclose([decoded.linear, decoded.angular], [(5.0, 0.1, 0.0), (0.0, 0.0, 0.2)])


def test_frame_names_lose_the_slash_of_old_publishers() -> None:
    message = encode_transforms([StampedTransform("/odom", "/base_link", 5, np.eye(4))])
    (decoded,) = decode_transforms(message)
    assert (decoded.parent, decoded.child) == ("odom", "base_link")


@pytest.mark.parametrize("field", ["rotation", "translation"])
def test_transforms_that_are_not_rigid_are_rejected(field: str, sent: Callable[[Any, str], Any]) -> None:
    message = encode_transforms([StampedTransform("odom", "base_link", 5, np.eye(4))])
    if field == "rotation":
        message.transforms[0].transform.rotation.w = 0.0
    else:
        message.transforms[0].transform.translation.x = float("nan")
    with pytest.raises(InputRejected, match="base_link") as caught:
        decode_transforms(sent(message, topics.TF_TYPE))
    assert caught.value.reason == "transform"

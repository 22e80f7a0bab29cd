"""How this package reads and writes images, against cv_bridge on rclpy's own message classes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.messages import decode, encode, topics
from semlt3d_ros.messages.bridge import image_bridge
from semlt3d_ros.messages.typestore import serialize

pytest.importorskip("rclpy", reason="ROS 2 is not sourced")

STAMP = 1_700_000_000_250_000_000


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


def photo(channels: int = 3, kind: str = "uint8", height: int = 12, width: int = 20) -> np.ndarray:
    """A smooth picture, so that ways to interpolate differ little."""
    rows, columns = np.mgrid[:height, :width]
    top = np.iinfo(kind).max
    shades = [(np.sin(rows / 9 + k) * np.cos(columns / 11 - k) + 1) / 2 * top for k in range(channels)]
    return np.stack(shades, axis=-1).astype(kind)


@pytest.fixture(scope="module")
def bridge() -> Any:
    """The real ``CvBridge``."""
    found, why_not = image_bridge()
    if found is None:
        pytest.skip(why_not)
    from cv_bridge import CvBridge

    return CvBridge()


def image_message(encoding: str, pixels: np.ndarray, padding: int = 0, big_endian: bool = False) -> Any:
    """A ``sensor_msgs/Image`` of pixels (H, W) or (H, W, C), with rows padded by whole pixels."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = stored.reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding * channels)), constant_values=77)
    message = ros_class(topics.IMAGE_TYPE)(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=rows.shape[1] * rows.itemsize,
    )
    message.header.frame_id = "cam"
    message.data.frombytes(rows.tobytes())
    return message


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(
    ("encoding", "channels"),
    [
        ("rgb8", 3),
        ("bgr8", 3),
        ("rgba8", 4),
        ("bgra8", 4),
        ("mono8", 0),
        ("bayer_rggb8", 0),
        ("bayer_bggr8", 0),
        ("bayer_gbrg8", 0),
        ("bayer_grbg8", 0),
        ("yuv422", 2),
        ("yuv422_yuy2", 2),
    ],
)
def test_images_are_those_of_cv_bridge(bridge: Any, encoding: str, channels: int, padding: int) -> None:
    pixels = photo(channels) if channels else photo(1)[..., 0]
    message = image_message(encoding, pixels, padding)
    np.testing.assert_array_equal(decode.decode_image(message), bridge.imgmsg_to_cv2(message, "rgb8"))


@pytest.mark.parametrize("big_endian", [False, True])
def test_deep_grey_images_are_those_of_cv_bridge_but_for_rounding(bridge: Any, big_endian: bool) -> None:
    pixels = photo(1, "uint16")[..., 0]
    ours = decode.decode_image(image_message("mono16", pixels, big_endian=big_endian))
    theirs = bridge.imgmsg_to_cv2(image_message("mono16", pixels), "rgb8")
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_deep_colours_have_whole_rows(bridge: Any, encoding: str, big_endian: bool) -> None:
    pixels = photo(4 if "a" in encoding else 3, "uint16")
    message = image_message(encoding, pixels, padding=1, big_endian=big_endian)
    # Two more bytes are not a whole pixel: whoever took the step for the width would read rows that lean.
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, -1)
    message.data = type(message.data)("B", np.pad(rows, ((0, 0), (0, 2))).tobytes())
    message.step += 2
    decoded = decode.decode_image(message)
    expected = pixels[..., [2, 1, 0]] if encoding.startswith("bgr") else pixels[..., :3]
    assert decoded.dtype == np.uint8 and np.abs(decoded.astype(int) - (expected >> 8)).max() <= 1


def test_deep_bayer_images_keep_their_colours(bridge: Any) -> None:
    tile = np.array([[200, 120], [120, 40]], np.uint16) << 8
    decoded = decode.decode_image(image_message("bayer_rggb16", np.tile(tile, (6, 6))))
    np.testing.assert_allclose(decoded[4, 4], (200, 120, 40), atol=2)


@pytest.mark.parametrize("encoding", ["yuv444", "32FC1", "16UC1", "nv21", "", "8UC3"])
def test_what_no_one_can_read_is_rejected(bridge: Any, encoding: str) -> None:
    with pytest.raises(InputRejected) as caught:
        decode.decode_image(image_message(encoding, photo(4, "uint16")))
    assert caught.value.reason in ("encoding", "image_size") and "image of frame 'cam'" in str(caught.value)


def test_annotated_images_are_read_by_cv_bridge(bridge: Any) -> None:
    image = photo()
    arrived = read_by_ros(encode.encode_image(image, STAMP, "cam"), topics.IMAGE_TYPE)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(arrived, "rgb8"), image)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(arrived, "bgr8"), image[..., ::-1])


def test_images_made_by_cv_bridge_are_read_here(bridge: Any) -> None:
    image = photo()
    np.testing.assert_array_equal(decode.decode_image(bridge.cv2_to_imgmsg(image, "rgb8")), image)
    compressed = bridge.cv2_to_compressed_imgmsg(image, "png")
    np.testing.assert_array_equal(decode.decode_compressed_image(compressed), image[..., ::-1])

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.decode import SampleDepth, compressed_image_size, decode_compressed_image, decode_image
from semlt3d_ros.messages.encode import encode_compressed_image, encode_image
from semlt3d_ros.messages.typestore import message_class

RED, GREEN, BLUE = 200, 120, 40


def image_message(pixels: np.ndarray, encoding: str, width: int, padding: int = 0, **changes: Any) -> Any:
    """An Image whose rows (H, bytes) are followed by ``padding`` bytes that must not be seen."""
    rows = np.pad(pixels.reshape(len(pixels), -1), ((0, 0), (0, padding)), constant_values=77)
    fields = {
        "header": build_header(message_class, 3, "cam"),
        "height": rows.shape[0],
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": rows.shape[1],
        "data": rows.reshape(-1),
    }
    return message_class("sensor_msgs/msg/Image")(**(fields | changes))


def compressed(data: bytes, format: str = "jpeg") -> Any:
    return message_class("sensor_msgs/msg/CompressedImage")(
        header=build_header(message_class, 3, "cam"), format=format, data=np.frombuffer(data, np.uint8)
    )


def photo(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(float)
    channels = [127 + 120 * np.sin(x / 17 + k) * np.cos(y / 23 - k) for k in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 7), st.sampled_from([0, 1]), st.randoms())
@settings(max_examples=60, deadline=None)
def test_channel_order_and_row_padding(width: int, height: int, padding: int, endian: int, random: Any) -> None:
    rgb = np.array([random.randrange(256) for _ in range(width * height * 3)], np.uint8).reshape(height, width, 3)
    alpha = np.full((height, width, 1), 9, np.uint8)
    layouts = {
        "rgb8": rgb,
        "bgr8": rgb[..., ::-1],
        "rgba8": np.concatenate([rgb, alpha], axis=-1),
        "bgra8": np.concatenate([rgb[..., ::-1], alpha], axis=-1),
    }
    for encoding, pixels in layouts.items():
        decoded = decode_image(image_message(pixels, encoding, width, padding, is_bigendian=endian))
        np.testing.assert_array_equal(decoded, rgb, err_msg=encoding)
    gray = rgb[..., 0]
    expected = np.repeat(gray[..., None], 3, axis=-1)
    np.testing.assert_array_equal(decode_image(image_message(gray, "mono8", width, padding)), expected)
    for order in "<>":
        wide = (gray.astype(np.uint16) * 256 + 13).astype(order + "u2").view(np.uint8)
        message = image_message(wide, "mono16", width, 2 * padding, is_bigendian=int(order == ">"))
        np.testing.assert_array_equal(decode_image(message), expected)


@given(st.sampled_from([10, 12, 14, 16]), st.integers(0, 255), st.sampled_from("<>"))
@settings(max_examples=60, deadline=None)
def test_the_bits_that_a_camera_uses_are_found_and_kept(bits: int, value: int, order: str) -> None:
    depth = SampleDepth()
    full = np.array([[0, value << (bits - 8), (1 << bits) - 1, (255 << (bits - 8))]])

    def message(samples: np.ndarray) -> Any:
        return image_message(samples.astype(order + "u2").view(np.uint8), "mono16", 4, is_bigendian=int(order == ">"))

    np.testing.assert_array_equal(decode_image(message(full), depth)[0, :, 0], [0, value, 255, 255])
    assert depth.bits == bits and depth.brightest == (1 << bits) - 1
    # A dark image does not change the scale again.
    np.testing.assert_array_equal(decode_image(message(full // 4), depth)[0, :, 0], [0, value // 4, 63, 63])
    assert depth.bits == bits


def test_the_depth_grows_with_the_brightest_sample() -> None:
    depth = SampleDepth()
    for brightest, bits in ((3, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (9, 14), (16384, 16), (0, 16)):
        decode_image(image_message(np.array([[brightest]], "<u2").view(np.uint8), "mono16", 1), depth)
        assert depth.bits == bits


@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16"])
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_colours_are_the_shallow_ones(encoding: str, bits: int) -> None:
    rgb = photo(9, 5)
    rgb[0, 0] = 255
    pixels = rgb[..., ::-1] if encoding.startswith("bgr") else rgb
    if "a" in encoding:
        pixels = np.concatenate([pixels, np.full((5, 9, 1), 255, np.uint8)], axis=-1)
    wide = (pixels.astype("<u2") << (bits - 8)).reshape(5, -1).view(np.uint8)
    np.testing.assert_array_equal(decode_image(image_message(wide, encoding, 9, padding=3), SampleDepth()), rgb)


@pytest.mark.parametrize("pattern", ["rggb", "grbg"])
def test_deep_bayer_images_are_the_shallow_ones(pattern: str) -> None:
    tile = np.random.default_rng(1).integers(0, 256, (8, 12)).astype(np.uint8)
    tile[0, 0] = 255
    wide = (tile.astype(np.uint16) << 4).astype(">u2").view(np.uint8)
    decoded = decode_image(image_message(wide, f"bayer_{pattern}16", 12, is_bigendian=1), SampleDepth())
    np.testing.assert_array_equal(decoded, decode_image(image_message(tile, f"bayer_{pattern}8", 12)))


@pytest.mark.parametrize("gray", [True, False])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_pngs_of_16_bits_that_are_not_filled(gray: bool, bits: int) -> None:
    image = photo(40, 24)
    image[0, 0] = 255
    samples = (image[..., 0] if gray else image[..., ::-1]).astype(np.uint16) << (bits - 8)
    message = compressed(cv2.imencode(".png", samples)[1].tobytes(), "16UC1; png compressed")
    expected = np.repeat(image[..., :1], 3, axis=-1) if gray else image
    np.testing.assert_array_equal(decode_compressed_image(message, depth=SampleDepth()), expected)
    np.testing.assert_array_equal(decode_compressed_image(message), expected >> (16 - bits))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_by_a_hand_made_mosaic(pattern: str) -> None:
    value = {"r": RED, "g": GREEN, "b": BLUE}
    tile = np.array([[value[pattern[0]], value[pattern[1]]], [value[pattern[2]], value[pattern[3]]]], np.uint8)
    decoded = decode_image(image_message(np.tile(tile, (4, 6)), f"bayer_{pattern}8", 12, padding=3))
    assert decoded.shape == (8, 12, 3)
    assert (decoded[2:-2, 2:-2] == (RED, GREEN, BLUE)).all()


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv_422_by_hand_made_pixels(encoding: str) -> None:
    # BT.601 video range: (Y, U, V) = (82, 90, 240) is pure red, (235, 128, 128) white, (16, 128, 128) black.
    def pair(y0: int, y1: int, u: int, v: int) -> list[int]:
        return [u, y0, v, y1] if encoding in ("yuv422", "uyvy") else [y0, u, y1, v]

    row = np.array(pair(82, 82, 90, 240) + pair(235, 16, 128, 128), np.uint8)
    decoded = decode_image(image_message(np.stack([row, row]), encoding, 4, padding=5)).astype(int)
    expected = np.array([(255, 0, 0), (255, 0, 0), (255, 255, 255), (0, 0, 0)])
    assert np.abs(decoded - expected).max() <= 3


@pytest.mark.parametrize(
    ("encoding", "changes", "reason"),
    [
        ("rgb8", {"encoding": "yuv444"}, "encoding"),
        ("rgb8", {"encoding": ""}, "encoding"),
        ("rgb8", {"step": 11}, "image_size"),
        ("rgb8", {"width": 0}, "image_size"),
        ("rgb8", {"height": 0}, "image_size"),
        ("rgb8", {"height": 7}, "image_size"),
        ("rgb8", {"height": 2**32 - 1, "width": 2**32 - 1, "step": 2**32 - 1}, "image_size"),
        ("rgb8", {"data": np.zeros(71, np.uint8)}, "image_size"),
        ("rgb8", {"data": np.zeros(0, np.uint8)}, "image_size"),
        ("yuyv", {"width": 3}, "image_size"),
        ("bayer_rggb8", {"width": 2, "height": 2}, "image_size"),
    ],
)
def test_images_that_do_not_fit_are_rejected(encoding: str, changes: dict[str, Any], reason: str) -> None:
    message = image_message(np.zeros((6, 12), np.uint8), **({"encoding": encoding, "width": 4} | changes))
    with pytest.raises(InputRejected, match="image of frame 'cam'") as caught:
        decode_image(message)
    assert caught.value.reason == reason


def test_rgb8_is_not_copied() -> None:
    message = image_message(np.zeros((4, 12), np.uint8), "rgb8", 4)
    assert np.shares_memory(decode_image(message), message.data)


def test_raw_images_round_trip(types: Any) -> None:
    image = photo(31, 17)
    message = encode_image(image, 7, "cam", types=types)
    np.testing.assert_array_equal(decode_image(message), image)


def test_rclpy_images_keep_their_data_in_an_array(rclpy_types: Any) -> None:
    message = rclpy_types("sensor_msgs/msg/Image")(
        height=1, width=2, encoding="bgr8", step=6, data=array.array("B", [1, 2, 3, 4, 5, 6])
    )
    assert decode_image(message).tolist() == [[[3, 2, 1], [6, 5, 4]]]


def test_jpegs_round_trip(types: Any) -> None:
    image = photo(160, 96)
    message = encode_compressed_image(image, 7, "cam", quality=95, types=types)
    assert compressed_image_size(message) == (160, 96)
    decoded = decode_compressed_image(message)
    assert decoded.shape == image.shape and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - image).mean() < 3


@given(st.integers(16, 200), st.integers(16, 200), st.integers(1, 220), st.integers(1, 220))
@settings(max_examples=60, deadline=None)
def test_jpegs_are_decoded_at_the_smallest_scale_that_suffices(w: int, h: int, need_w: int, need_h: int) -> None:
    message = encode_compressed_image(photo(w, h), 7, "cam")
    height, width = decode_compressed_image(message, (need_w, need_h)).shape[:2]
    sizes = [(-(-w * eighth // 8), -(-h * eighth // 8)) for eighth in range(1, 9)]
    enough = [size for size in sizes if size[0] >= need_w and size[1] >= need_h]
    assert (width, height) == (enough[0] if enough else (w, h))


def test_a_reduced_jpeg_shows_the_same_picture() -> None:
    message = encode_compressed_image(photo(320, 192), 7, "cam", quality=95)
    reduced = decode_compressed_image(message, (80, 48)).astype(int)
    expected = cv2.resize(decode_compressed_image(message), (80, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced - expected).mean() < 2


@pytest.mark.parametrize("format", ["jpeg", "rgb8; jpeg compressed bgr8", "png", "", "whatever"])
def test_the_format_string_is_not_trusted(format: str) -> None:
    image = photo(40, 24)
    jpeg = compressed(simplejpeg.encode_jpeg(image, 95, "RGB", "444"), format)
    png = compressed(cv2.imencode(".png", image[..., ::-1])[1].tobytes(), format)
    assert np.abs(decode_compressed_image(jpeg).astype(int) - image).mean() < 3
    np.testing.assert_array_equal(decode_compressed_image(png, (10, 10)), image)
    assert compressed_image_size(jpeg) == compressed_image_size(png) == (40, 24)


def test_gray_jpeg_and_png_become_rgb() -> None:
    gray = photo(40, 24)[..., :1].copy()
    jpeg = decode_compressed_image(compressed(simplejpeg.encode_jpeg(gray, 95, "GRAY", "Gray")))
    png = decode_compressed_image(compressed(cv2.imencode(".png", gray)[1].tobytes(), "mono8; png compressed"))
    np.testing.assert_array_equal(png, np.repeat(gray, 3, axis=-1))
    assert np.abs(jpeg.astype(int) - gray).max() < 20


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_images_are_rejected_or_read_but_raise_nothing_else(kind: str, data: st.DataObject) -> None:
    whole = cv2.imencode(".jpg" if kind == "jpeg" else ".png", photo(48, 32))[1].tobytes()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    try:
        decode_compressed_image(compressed(bytes(damaged)))
    except InputRejected as error:
        assert error.reason in ("encoding", "image_size", f"corrupt_{kind}")


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_images_that_were_cut_off_are_rejected(kind: str, share: float) -> None:
    whole = cv2.imencode(".jpg" if kind == "jpeg" else ".png", photo(96, 64))[1].tobytes()
    with pytest.raises(InputRejected) as caught:
        decode_compressed_image(compressed(whole[: int(share * len(whole))]))
    assert caught.value.reason == f"corrupt_{kind}"


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP"])
def test_other_data_is_rejected(data: bytes) -> None:
    with pytest.raises(InputRejected) as caught:
        decode_compressed_image(compressed(data))
    assert caught.value.reason in ("encoding", "corrupt_jpeg")


def test_a_forged_size_allocates_nothing() -> None:
    png = bytearray(cv2.imencode(".png", photo(8, 8))[1].tobytes())
    png[16:24] = b"\x00\x01\x00\x00" * 2
    with pytest.raises(InputRejected, match="65536x65536") as caught:
        decode_compressed_image(compressed(bytes(png)))
    assert caught.value.reason == "image_size"


ENCODINGS = ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "bayer_rggb8", "bayer_gbrg8", "yuv422", "yuyv", "x"]


@given(st.sampled_from(ENCODINGS), st.integers(0, 12), st.integers(0, 12), st.integers(0, 50), st.integers(0, 600))
@settings(max_examples=200, deadline=None)
def test_any_sizes_give_an_image_or_a_rejection(encoding: str, width: int, height: int, step: int, size: int) -> None:
    message = image_message(np.zeros((1, 3), np.uint8), encoding, width, height=height, step=step)
    message.data = np.arange(size).astype(np.uint8)
    try:
        assert decode_image(message).shape == (height, width, 3)
    except InputRejected as error:
        assert error.reason in ("encoding", "image_size")

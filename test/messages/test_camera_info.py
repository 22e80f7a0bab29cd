"""Regions of interest, binning, rectification and empty matrices, with numbers worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.messages.decode import Calibration, decode_calibration
from semlt3d_ros.messages.encode import encode_camera_info
from semlt3d_ros.messages.typestore import message_class

K = np.array([[1000.0, 0.0, 799.5], [0.0, 1000.0, 449.5], [0.0, 0.0, 1.0]])
CAMERA = CameraModel(1600, 900, K, "plumb_bob", np.array([-0.2, 0.03, 0.001, -0.001, 0.0]))


def info(roi: tuple[int, int, int, int] = (0, 0, 0, 0), binning: tuple[int, int] = (0, 0), **changes: Any) -> Any:
    message = encode_camera_info(CAMERA, 9, "CAM_LEFT")
    region = message_class("sensor_msgs/msg/RegionOfInterest")
    left, top, width, height = roi
    message.roi = region(x_offset=left, y_offset=top, width=width, height=height, do_rectify=False)
    message.binning_x, message.binning_y = binning
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def matrix(camera: CameraModel) -> list[float]:
    return [camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2]]


def at(message: Any, width: int, height: int, rectified: bool = False) -> tuple[CameraModel, str]:
    return decode_calibration(message, rectified).at(width, height)


@pytest.mark.parametrize(
    ("roi", "binning", "size", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (1600, 900), [1000, 1000, 799.5, 449.5]),
        ((0, 0, 1600, 900), (1, 1), (1600, 900), [1000, 1000, 799.5, 449.5]),
        # Cropped: the principal point moves by the offset.
        ((400, 100, 800, 600), (0, 0), (800, 600), [1000, 1000, 399.5, 349.5]),
        # The offset alone: the rest of the image.
        ((0, 300, 0, 0), (0, 0), (1600, 600), [1000, 1000, 799.5, 149.5]),
        # The region is set, but whole images are published.
        ((400, 100, 800, 600), (0, 0), (1600, 900), [1000, 1000, 799.5, 449.5]),
        # Binning per axis; the centre (c + 1/2) / 2 - 1/2 of a bin stays where it is.
        ((0, 0, 0, 0), (2, 2), (800, 450), [500, 500, 399.5, 224.5]),
        ((0, 0, 0, 0), (2, 0), (800, 900), [500, 1000, 399.5, 449.5]),
        ((0, 0, 0, 0), (1, 2), (1600, 450), [1000, 500, 799.5, 224.5]),
        # What does not fill a bin is left out, or is one more.
        ((0, 0, 0, 0), (1, 8), (1600, 112), [1000, 125, 799.5, 450 / 8 - 0.5]),
        ((0, 0, 0, 0), (1, 8), (1600, 113), [1000, 125, 799.5, 450 / 8 - 0.5]),
        # Cropped in pixels of the full resolution, and then binned.
        ((400, 100, 800, 600), (2, 4), (400, 150), [500, 250, (400) / 2 - 0.5, 350 / 4 - 0.5]),
        ((400, 100, 800, 600), (2, 4), (800, 225), [500, 250, 399.5, 450 / 4 - 0.5]),
        # Binning is told, but not done; and the window is not binned.
        ((0, 0, 0, 0), (2, 2), (1600, 900), [1000, 1000, 799.5, 449.5]),
        ((400, 100, 800, 600), (2, 2), (800, 600), [1000, 1000, 399.5, 349.5]),
    ],
)
@pytest.mark.parametrize("rectified", [False, True])
def test_windows_and_binning(
    roi: tuple[int, int, int, int], binning: tuple[int, int], size: tuple[int, int], expected: list, rectified: bool
) -> None:
    camera, scaled = at(info(roi, binning), *size, rectified)
    np.testing.assert_allclose(matrix(camera), expected, rtol=1e-12)
    assert (camera.width, camera.height) == size and not scaled
    assert camera.is_pinhole == rectified


def test_images_that_were_scaled_after_the_crop_are_told() -> None:
    camera, scaled = at(info((400, 100, 800, 600)), 400, 300)
    np.testing.assert_allclose(matrix(camera), [500, 500, 399.5 / 2 - 0.25, 349.5 / 2 - 0.25])
    assert "1600x900" in scaled and "800x600 at (400, 100)" in scaled and "400x300" in scaled
    camera, _ = at(info((400, 100, 800, 600)), 480, 270)
    np.testing.assert_allclose(matrix(camera)[0], 300)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (info(), ["1600x900", "640x480", "aspect ratio"]),
        (info((400, 100, 800, 500), (1, 2)), ["800x500 at (400, 100)", "binning of 1x2", "640x480"]),
        (info(width=480, height=640), ["480x640", "width and height are swapped"]),
    ],
)
def test_images_that_fit_neither_the_whole_nor_the_window_are_refused_with_numbers(
    message: Any, words: list[str]
) -> None:
    if message.width == 480:
        message.k[2], message.k[5] = 239.5, 319.5
    with pytest.raises(InputRejected, match="CAM_LEFT") as caught:
        at(message, 640, 480)
    assert caught.value.reason == "camera_info_size" and all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("roi", "binning"),
    [
        ((1000, 0, 800, 900), (0, 0)),
        ((0, 400, 1600, 900), (0, 0)),
        ((1600, 0, 0, 0), (0, 0)),
        ((4_000_000_000, 0, 10, 10), (0, 0)),
        ((0, 0, 0, 0), (5000, 1)),
    ],
)
def test_windows_that_do_not_fit_are_refused(roi: tuple[int, int, int, int], binning: tuple[int, int]) -> None:
    with pytest.raises(InputRejected, match="CAM_LEFT") as caught:
        decode_calibration(info(roi, binning))
    assert caught.value.reason == "roi"


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_window_shows_the_same_points_at_the_same_places(data: st.DataObject) -> None:
    """What the whole image shows at a pixel, the cropped and binned one shows at the pixel that it has become."""
    left, top = data.draw(st.integers(0, 1000)), data.draw(st.integers(0, 500))
    width, height = data.draw(st.integers(200, 1600 - left)), data.draw(st.integers(200, 900 - top))
    across, down = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    calibration = decode_calibration(info((left, top, width, height), (across, down)))
    camera, scaled = calibration.at(width // across, height // down)
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-0.5, 0.5, 50), rng.uniform(-0.3, 0.3, 50), np.ones(50)]) * 10
    whole, _ = CAMERA.project(points)
    there, _ = camera.project(points)
    expected = (whole - (left, top) + 0.5) / (across, down) - 0.5
    np.testing.assert_allclose(there, expected, atol=1e-9)
    assert not scaled


def test_rectified_images_have_p_and_no_distortion() -> None:
    P = np.array([[900.0, 0.0, 780.0, 0.0], [0.0, 910.0, 440.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    calibration = decode_calibration(info(p=P.reshape(-1)), rectified=True)
    assert matrix(calibration.camera) == [900, 910, 780, 440] and calibration.camera.is_pinhole
    assert calibration.T_camera_image is None and not calibration.notes and not calibration.doubt
    raw = decode_calibration(info(p=P.reshape(-1)))
    assert matrix(raw.camera) == [1000, 1000, 799.5, 449.5] and not raw.camera.is_pinhole


def test_a_rectified_image_of_a_model_that_is_not_known_is_one_all_the_same() -> None:
    message = info(distortion_model="fisheye9", d=np.full(5, np.nan))
    assert decode_calibration(message, rectified=True).camera.is_pinhole
    with pytest.raises(InputRejected):
        decode_calibration(message)


def test_r_turns_the_frame_of_rectified_images() -> None:
    """R maps the camera's frame to the rectified one: 10 degrees about y bring a point at 10 degrees to the centre."""
    c, s = np.cos(np.radians(10)), np.sin(np.radians(10))
    R = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    P = np.hstack([K, np.zeros((3, 1))])
    calibration = decode_calibration(info(r=R.reshape(-1), p=P.reshape(-1)), rectified=True)
    assert calibration.T_camera_image is not None
    point = np.array([s, 0.0, c]) * 20.0
    seen = rigid.apply(rigid.inverse(calibration.T_camera_image), point)
    np.testing.assert_allclose(seen, (0, 0, 20), atol=1e-12)
    assert decode_calibration(info(r=R.reshape(-1), p=P.reshape(-1))).T_camera_image is None


def test_the_fourth_column_moves_the_second_camera_of_a_stereo_pair() -> None:
    """fx = 1000 and a baseline of 0.12 m make Tx = -120: the camera sits 0.12 m to the right of the first one."""
    P = np.hstack([K, [[-120.0], [0.0], [0.0]]])
    calibration = decode_calibration(info(p=P.reshape(-1)), rectified=True)
    assert calibration.T_camera_image is not None
    np.testing.assert_allclose(calibration.T_camera_image, rigid.transform((0.12, 0, 0)), atol=1e-12)
    ((reason, text),) = calibration.notes
    assert reason == "stereo_shift" and "(0.120, 0.000, 0.000) m" in text and "'CAM_LEFT'" in text


@given(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2), st.floats(-300, 300), st.floats(-300, 300))
@settings(max_examples=50, deadline=None)
def test_any_p_and_r_project_as_the_message_defines_it(pitch: float, yaw: float, tx: float, ty: float) -> None:
    R = rigid.rotation_from_quaternion((np.sin(pitch / 2), np.sin(yaw / 2), 0.0, 1.0))
    P = np.hstack([K, [[tx], [ty], [0.0]]])
    calibration = decode_calibration(info(r=R.reshape(-1), p=P.reshape(-1)), rectified=True)
    points = np.random.default_rng(3).uniform((-5, -3, 8), (5, 3, 30), (20, 3))
    T = calibration.T_camera_image if calibration.T_camera_image is not None else np.eye(4)
    pixels, _ = calibration.camera.project(rigid.apply(rigid.inverse(T), points))
    u = np.column_stack([points @ R.T, np.ones(20)]) @ P.T
    np.testing.assert_allclose(pixels, u[:, :2] / u[:, 2:], atol=1e-8)


@pytest.mark.parametrize("r", [np.zeros(9), np.eye(3).reshape(-1)])
def test_p_serves_where_k_is_empty(r: np.ndarray) -> None:
    calibration = decode_calibration(info(k=np.zeros(9), d=np.zeros(0), distortion_model="", r=r))
    assert matrix(calibration.camera) == [1000, 1000, 799.5, 449.5] and calibration.camera.is_pinhole
    assert calibration.T_camera_image is None
    assert [reason for reason, _ in calibration.notes] == ["intrinsics_from_p"]


def test_k_serves_rectified_images_where_p_is_empty() -> None:
    calibration = decode_calibration(info(p=np.zeros(12)), rectified=True)
    assert matrix(calibration.camera) == [1000, 1000, 799.5, 449.5] and calibration.camera.is_pinhole
    assert [reason for reason, _ in calibration.notes] == ["intrinsics_from_k"]


@pytest.mark.parametrize(
    "changes",
    [
        {"r": np.full(9, np.nan)},
        {"r": np.diag([1.0, 1.0, -1.0]).reshape(-1)},
        {"r": np.eye(3).reshape(-1) * 2},
        {"p": np.array([1000.0, 0, 800, np.inf, 0, 1000, 450, 0, 0, 0, 1, 0])},
        {"p": np.array([0.0, 0, 800, 0, 0, 1000, 450, 0, 0, 0, 1, 0])},
    ],
)
def test_rectifications_that_are_none_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputRejected, match="CAM_LEFT") as caught:
        decode_calibration(info(**changes), rectified=True)
    assert caught.value.reason == "intrinsics"
    assert all(f"{name.upper()} = [[" in str(caught.value) for name in changes)


def test_a_last_row_that_was_left_out_is_put_there() -> None:
    k = K.copy()
    k[2, 2] = 0.0
    np.testing.assert_array_equal(decode_calibration(info(k=k.reshape(-1))).camera.K, K)


def test_sizes_are_looked_up_once() -> None:
    calibration: Calibration = decode_calibration(info((400, 100, 800, 600), (2, 2)))
    assert calibration.at(400, 300)[0] is calibration.at(400, 300)[0]
    assert decode_calibration(info()).at(1600, 900)[0].K.tobytes() == K.tobytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": K.T.reshape(-1)}, "transposed"),
        ({"k": np.array([0.62, 0, 0.5, 0, 1.1, 0.5, 0, 0, 1])}, "units of the image's size"),
        ({"k": np.array([9e6, 0, 800, 0, 9e6, 450, 0, 0, 1])}, "field of view of 0.0 by 0.0 degrees"),
        ({"k": np.array([1000.0, 800, 0, 0, 1000, 450, 0, 0, 1])}, "skew 800"),
        ({"k": np.array([1000.0, 0, 8000, 0, 1000, 450, 0, 0, 1])}, "principal point (8000, 450)"),
        ({"k": np.array([1000.0, 0, 800, 0, 50, 450, 0, 0, 1])}, "too far apart"),
    ],
)
def test_intrinsics_that_cannot_be_are_refused_with_numbers(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputRejected, match="CAM_LEFT") as caught:
        decode_calibration(info(**changes))
    assert caught.value.reason == "intrinsics" and words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": np.array([30000.0, 0, 800, 0, 30000, 450, 0, 0, 1])}, "field of view of 3.1"),
        ({"k": np.array([1000.0, 0, 800, 0, 2000, 450, 0, 0, 1])}, "fx 1000 and fy 2000 are far apart"),
        ({"k": np.array([2000.0, 0, 1599.5, 0, 2000, 899.5, 0, 0, 1])}, "K of another image size"),
        ({"k": np.array([1000.0, 100, 800, 0, 1000, 450, 0, 0, 1])}, "the skew 100"),
    ],
)
def test_intrinsics_that_can_hardly_be_meant_are_told(changes: dict[str, Any], words: str) -> None:
    calibration = decode_calibration(info(**changes))
    assert words in calibration.doubt and "CAM_LEFT" in calibration.doubt and "calibrate" in calibration.doubt

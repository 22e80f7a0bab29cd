"""The prepared image must show things where its camera says they are."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.messages.decode import decode_compressed_image
from semlt3d_ros.messages.encode import encode_compressed_image
from semlt3d_ros.sensing.preparation import ImagePreparation, ImageSpec, decoded_camera


def _intrinsics(width: int, height: int, focal: float) -> np.ndarray:
    return np.array([[focal * width, 0, 0.49 * width], [0, focal * width, 0.52 * height], [0, 0, 1]])


CAMERAS = {
    "pinhole": CameraModel(480, 270, _intrinsics(480, 270, 0.5)),
    "odd_size": CameraModel(323, 183, _intrinsics(323, 183, 0.6)),
    "wide": CameraModel(400, 150, _intrinsics(400, 150, 0.5)),
    "tall": CameraModel(240, 300, _intrinsics(240, 300, 0.8)),
    "small": CameraModel(80, 50, _intrinsics(80, 50, 0.6)),
    "binned_in_y": CameraModel(480, 135, np.array([[240.0, 0, 238.0], [0, 120.0, 70.0], [0, 0, 1]])),
    "binned_in_x": CameraModel(
        240,
        300,
        np.array([[96.0, 0, 118.0], [0, 192.0, 156.0], [0, 0, 1]]),
        "plumb_bob",
        np.array([-0.1, 0.01, 0.0, 0.0]),
    ),
    "plumb_bob": CameraModel(
        480, 270, _intrinsics(480, 270, 0.5), "plumb_bob", np.array([-0.16, 0.01, 0.001, -0.0005, 0.01])
    ),
    "rational": CameraModel(
        400,
        225,
        _intrinsics(400, 225, 0.5),
        "rational_polynomial",
        np.array([0.4, 0.02, 0.0002, -0.0003, 0.001, 0.7, 0.06, 0.002]),
    ),
    "equidistant": CameraModel(
        320, 240, _intrinsics(320, 240, 0.35), "equidistant", np.array([0.02, -0.01, 0.004, -0.001])
    ),
}
SPECS = {"full": ImageSpec(112, 64), "cropped": ImageSpec(56, 24, top_crop=0.25)}
every_camera = pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS.keys())
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def _pattern(pixels: np.ndarray) -> np.ndarray:
    """Smooth dots 16 pixels apart: a shift by a tenth of a pixel changes values by up to 4.7."""
    waves = np.cos(2 * np.pi * pixels / 16)
    return 127.5 + 120 * waves[..., 0] * waves[..., 1]


def _grid(camera: CameraModel) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return np.stack([columns, rows], axis=-1)


@cache
def _rays(name: str) -> np.ndarray:
    return CAMERAS[name].unproject(_grid(CAMERAS[name]))


def _shift_and_gain(prepared: np.ndarray, expected: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Least squares: by how many pixels (u, v) the image is off, and by what share its contrast."""
    by_row, by_column = np.gradient(expected)
    terms = np.stack([by_column[inside], by_row[inside], expected[inside] - 127.5], axis=-1)
    return np.linalg.lstsq(terms, (prepared - expected)[inside], rcond=None)[0] * [-1, -1, 1]


@pytest.mark.parametrize("jpeg", [False, True], ids=["raw", "jpeg"])
@every_spec
@pytest.mark.parametrize("name", CAMERAS)
def test_points_are_where_the_new_camera_sees_them(name, spec, jpeg):
    """Points that the new camera sees as a pattern are drawn where the old one sees them; the pattern must come out."""
    camera, preparation = CAMERAS[name], ImagePreparation(spec)
    blank, result = preparation(np.full((camera.height, camera.width, 3), 255, np.uint8), camera)
    seen, _ = result.project(_rays(name))
    image = np.repeat(_pattern(seen)[..., None], 3, axis=-1).round().astype(np.uint8)
    if jpeg:
        message = encode_compressed_image(image, 0, "camera", quality=98)
        image = decode_compressed_image(message, preparation.required_size(camera))
    prepared, seen_by = preparation(image, camera)
    assert prepared.shape == (spec.height, spec.width, 3) and prepared.dtype == np.uint8
    assert (seen_by.width, seen_by.height) == (spec.width, spec.height) and seen_by.is_pinhole
    # A JPEG's size is rounded up to whole pixels of its scale, so the exact camera depends on the decoded size.
    points = 9.0 * seen_by.unproject(_grid(seen_by))
    expected = _pattern(result.project(points)[0])
    inside = (blank == 255).all(axis=-1) & camera.project(points)[1]
    for columns in np.array_split(np.arange(spec.width), 4):
        part = np.zeros_like(inside)
        part[:, columns] = inside[:, columns]
        shift_u, shift_v, gain = _shift_and_gain(prepared[..., 1].astype(float), expected, part)
        assert abs(shift_u) < 0.03 and abs(shift_v) < 0.03
        assert -0.15 < gain < 0.05


@every_spec
@pytest.mark.parametrize("name", CAMERAS)
def test_the_bottom_is_kept_and_the_top_is_cut(name, spec):
    camera = CAMERAS[name]
    image = np.full((camera.height, camera.width, 3), 200, np.uint8)
    prepared, result = ImagePreparation(spec)(image, camera)
    shape = {"binned_in_y": 2.0, "binned_in_x": 0.5}
    rows = round(camera.height * shape.get(name, 1.0) * spec.width / camera.width)
    cut = max(0, round(spec.top_crop * rows) - (rows - spec.height))
    assert not prepared[: max(0, cut)].any()
    if camera.is_pinhole:
        assert (prepared[cut:] == 200).all()
    bottom = camera.pinhole().unproject(np.array([camera.width / 2, camera.height - 0.5]))
    assert result.project(bottom)[0][1] == pytest.approx(spec.height - 0.5, abs=1e-6)


@every_spec
@every_camera
def test_pixels_come_out_square(camera, spec):
    """What is seen is as high as it is wide, also in images that are binned in one axis."""
    _, result = ImagePreparation(spec)(np.zeros((camera.height, camera.width, 3), np.uint8), camera)
    assert result.K[0, 0] / result.K[1, 1] == pytest.approx(1.0, abs=0.03)


def test_black_where_the_lens_saw_nothing():
    pincushion = CameraModel(640, 480, _intrinsics(640, 480, 0.5), "plumb_bob", np.array([0.3, 0.0, 0.0, 0.0]))
    prepared, camera = ImagePreparation(ImageSpec(320, 240))(np.full((480, 640, 3), 255, np.uint8), pincushion)
    rows, columns = np.mgrid[0:240, 0:320]
    _, seen = pincushion.project(camera.unproject(np.stack([columns, rows], -1)))
    assert 0.3 < seen.mean() < 0.98
    assert (prepared[seen].min(axis=-1) > 100).mean() > 0.99
    assert not prepared[~seen].any()


def test_a_changed_calibration_takes_effect():
    preparation = ImagePreparation(ImageSpec(160, 100))
    image = np.random.default_rng(0).integers(0, 255, (200, 320, 3), dtype=np.uint8)
    camera = CameraModel(320, 200, _intrinsics(320, 200, 0.6))
    first = preparation(image, camera)
    distorted = CameraModel(320, 200, camera.K, "plumb_bob", np.array([-0.2, 0.0, 0.0, 0.0]))
    second = preparation(image, distorted)
    again = preparation(image, camera)
    assert not np.array_equal(first[0], second[0])
    assert np.array_equal(first[0], again[0])


def test_changing_calibrations_do_not_fill_the_memory():
    preparation = ImagePreparation(ImageSpec(32, 20))
    image = np.zeros((40, 64, 3), np.uint8)
    for index in range(200):
        preparation(image, CameraModel(64, 40, np.array([[60.0 + index, 0, 32], [0, 60.0, 20], [0, 0, 1]])))
    assert len(preparation._plans) <= 64


def test_large_reductions_do_not_alias():
    stripes = np.zeros((270, 480, 3), np.uint8)
    stripes[:, ::2] = 255
    prepared, _ = ImagePreparation(ImageSpec(112, 63))(stripes, CAMERAS["pinhole"])
    assert prepared.astype(int).std() < 3 and abs(prepared.mean() - 127.5) < 3


def test_the_result_is_the_callers():
    image = np.full((100, 160, 3), 7, np.uint8)
    camera = CameraModel(160, 100, _intrinsics(160, 100, 0.5))
    prepared, _ = ImagePreparation(ImageSpec(160, 100))(image, camera)
    prepared[:] = 0
    assert (image == 7).all()


@settings(max_examples=60)
@given(st.integers(60, 2000), st.integers(40, 1500), st.integers(1, 8))
def test_decoded_camera_keeps_jpeg_scales_exact(width, height, eighths):
    camera = CameraModel(width, height, _intrinsics(width, height, 0.7))
    decoded = decoded_camera(camera, -(-width * eighths // 8), -(-height * eighths // 8))
    ray = camera.unproject(np.array([width / 3, height / 3]))
    expected = (np.array([width / 3, height / 3]) + 0.5) * eighths / 8 - 0.5
    np.testing.assert_allclose(decoded.project(ray)[0], expected, atol=1e-6)


@pytest.mark.parametrize("size", [(960, 540), (240, 175), (270, 480)])
def test_images_of_another_camera_are_refused(size):
    with pytest.raises(InputRejected, match="480x270 camera") as error:
        ImagePreparation(ImageSpec(448, 256))(np.zeros((size[1], size[0], 3), np.uint8), CAMERAS["pinhole"])
    assert error.value.reason == "image_size"


@pytest.mark.parametrize("values", [(0, 10, 0.0), (10, -1, 0.0), (10, 10, 1.0), (10, 10, -0.1)])
def test_specifications_that_do_not_fit(values):
    with pytest.raises(ConfigurationError):
        ImageSpec(*values)

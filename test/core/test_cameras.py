"""Projection against OpenCV, and the properties that OpenCV leaves to its caller: validity and inversion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected

K = np.array([[930.0, 0.0, 965.0], [0.0, 932.0, 463.0], [0.0, 0.0, 1.0]])
PINHOLE = CameraModel(1920, 1080, K)
PLUMB_BOB = CameraModel(1920, 1080, K, "plumb_bob", np.array([-0.1614, -0.0027, -0.0003, -0.0003, 0.0181]))
STRONG = CameraModel(
    1920,
    1080,
    np.array([[1970.0, 0, 970.0], [0, 1970.0, 483.3], [0, 0, 1]]),
    "plumb_bob",
    np.array([-0.5894, 0.66, 0.0011, -0.001, -1.0088]),
)
RATIONAL = CameraModel(
    1920, 1080, K, "rational_polynomial", np.array([0.4, 0.02, 0.0002, -0.0003, 0.001, 0.7, 0.06, 0.002])
)
THIN_PRISM = CameraModel(
    1920,
    1080,
    K,
    "rational_polynomial",
    np.array([0.4, 0.02, 0.0002, -0.0003, 0.001, 0.7, 0.06, 0.002, 0.001, -0.0005, 0.0007, 0.0002]),
)
FISHEYE = CameraModel(
    1280,
    800,
    np.array([[330.0, 0, 640.0], [0, 331.0, 400.0], [0, 0, 1]]),
    "equidistant",
    np.array([0.05, -0.01, 0.004, -0.001]),
)
CAMERAS = {
    "pinhole": PINHOLE,
    "plumb_bob": PLUMB_BOB,
    "strong": STRONG,
    "rational": RATIONAL,
    "thin_prism": THIN_PRISM,
    "fisheye": FISHEYE,
}
every_camera = pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS.keys())


def _opencv(camera: CameraModel, points: np.ndarray) -> np.ndarray:
    if camera.distortion_model == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), camera.K, camera.D)
    else:
        pixels, _ = cv2.projectPoints(points[:, None], np.zeros(3), np.zeros(3), camera.K, camera.D)
    return pixels[:, 0]


def _points(seed: int = 0, count: int = 5000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 60.0, count)
    return np.stack([rng.uniform(-2, 2, count) * depth, rng.uniform(-1, 1, count) * depth, depth], axis=-1)


@every_camera
def test_projects_as_opencv_does(camera):
    points = _points()
    pixels, valid = camera.project(points)
    assert valid.sum() > 100
    np.testing.assert_allclose(pixels[valid], _opencv(camera, points)[valid], atol=1e-6)


@every_camera
def test_valid_pixels_are_the_ones_inside(camera):
    points = _points(1)
    pixels, valid = camera.project(points)
    inside = np.all((pixels >= -0.5) & (pixels < np.array([camera.width, camera.height]) - 0.5), axis=-1)
    assert not np.any(valid & ~inside)


@every_camera
def test_valid_pixels_unproject_to_their_rays(camera):
    points = _points(2)
    pixels, valid = camera.project(points)
    rays = camera.unproject(pixels[valid])
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1.0)
    expected = points[valid] / np.linalg.norm(points[valid], axis=-1, keepdims=True)
    assert np.abs(rays - expected).max() < 1e-5


@every_camera
def test_nothing_behind_or_outside_folds_into_the_image(camera):
    """Along a ray direction that turns away from the axis, what leaves the image never comes back."""
    for azimuth in np.linspace(0, 2 * np.pi, 24, endpoint=False):
        theta = np.linspace(0.0, np.pi, 2000)
        points = np.stack([np.sin(theta) * np.cos(azimuth), np.sin(theta) * np.sin(azimuth), np.cos(theta)], axis=-1)
        _, valid = camera.project(5.0 * points)
        assert valid[0]
        assert np.count_nonzero(np.diff(valid.astype(int))) == 1 and not valid[-1]


def test_fisheye_sees_beyond_ninety_degrees():
    camera = CameraModel(1280, 1280, np.array([[330.0, 0, 640.0], [0, 330.0, 640.0], [0, 0, 1]]), "equidistant")
    theta = np.deg2rad(100)
    pixels, valid = camera.project(np.array([np.sin(theta), 0.0, np.cos(theta)]))
    assert valid and pixels[0] == pytest.approx(640 + 330 * theta)


@given(
    st.sampled_from(sorted(CAMERAS)),
    st.floats(0.1, 2.0),
    st.integers(-100, 300),
    st.integers(-100, 300),
)
def test_resized_and_cropped_cameras_move_pixels_as_images_do(name, scale, left, top):
    camera = CAMERAS[name]
    width, height = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    points = _points(3, 200)
    pixels, valid = camera.project(points)
    resized, _ = camera.resized(width, height).project(points)
    sx, sy = width / camera.width, height / camera.height
    np.testing.assert_allclose(resized[valid] + 0.5, (pixels[valid] + 0.5) * [sx, sy], atol=1e-6)
    cropped, _ = camera.cropped(left, top, 500, 400).project(points)
    np.testing.assert_allclose(cropped[valid], pixels[valid] - [left, top], atol=1e-6)


def test_resized_camera_agrees_with_opencv_resize():
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(image, (90, 50), 12, (255, 255, 255), -1, cv2.LINE_AA)
    small = cv2.resize(image, (40, 30), interpolation=cv2.INTER_AREA)[..., 0].astype(float)
    rows, columns = np.indices(small.shape)
    found = np.array([(columns * small).sum(), (rows * small).sum()]) / small.sum()
    camera = CameraModel(160, 120, np.array([[100.0, 0, 80.0], [0, 100.0, 60.0], [0, 0, 1]]))
    expected, _ = camera.resized(40, 30).project(camera.unproject(np.array([90.0, 50.0])))
    np.testing.assert_allclose(found, expected, atol=0.02)


@given(st.tuples(*[st.floats(-0.3, 0.3)] * 2), st.tuples(*[st.floats(-0.002, 0.002)] * 2))
def test_any_mild_lens_is_inverted(radial, tangential):
    K = np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])
    camera = CameraModel(640, 480, K, "plumb_bob", np.array([*radial, *tangential]))
    points = np.array([[0, 0, 1.0], [0.3, -0.3, 1], [-0.5, 0.2, 1], [0.55, 0.4, 1]])
    pixels, valid = camera.project(points)
    again, _ = camera.project(camera.unproject(pixels))
    np.testing.assert_allclose(again[valid], pixels[valid], atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -500.0])
@pytest.mark.parametrize("place", [(0, 0), (1, 1)])
def test_impossible_focal_lengths(place, value):
    bad = K.copy()
    bad[place] = value
    with pytest.raises(InputRejected, match="not an intrinsic matrix") as error:
        CameraModel(1920, 1080, bad)
    assert error.value.reason == "intrinsics"


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("thin_plate", []),
        ("plumb_bob", [0.1, 0.2]),
        ("equidistant", [np.nan, 0, 0, 0]),
        ("", [0.1]),
        ("rational_polynomial", [0.1] * 14),
    ],
)
def test_impossible_distortion(model, coefficients):
    with pytest.raises(InputRejected) as error:
        CameraModel(64, 48, K, model, np.array(coefficients))
    assert error.value.reason == "distortion"


@pytest.mark.parametrize("size", [(0, 48), (64, -1)])
def test_impossible_sizes(size):
    with pytest.raises(InputRejected, match="not positive"):
        CameraModel(*size, K)


def test_zero_coefficients_are_a_pinhole():
    assert CameraModel(64, 48, K, "plumb_bob", np.zeros(5)).is_pinhole
    assert not CameraModel(64, 48, K, "equidistant", np.zeros(4)).is_pinhole
    assert PLUMB_BOB.pinhole().is_pinhole


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial"])
@pytest.mark.parametrize("count", [4, 5, 8, 12])
def test_the_number_of_coefficients_decides_whatever_the_model_is_called(model, count):
    """As in OpenCV, to which both names are one formula."""
    given = CameraModel(1920, 1080, K, model, THIN_PRISM.D[:count])
    full = CameraModel(1920, 1080, K, "rational_polynomial", np.pad(THIN_PRISM.D[:count], (0, 12 - count)))
    points = np.random.default_rng(1).uniform((-5, -3, 8), (5, 3, 30), (20, 3))
    np.testing.assert_array_equal(given.project(points)[0], full.project(points)[0])

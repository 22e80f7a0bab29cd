"""Nothing that drives about is called implausible, however unusual."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.plausibility import check_intrinsics, check_mounting
from semlt3d_ros.simulation.rig import make_rig

OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def camera(width: int, height: int, fx: float, fy: float, cx: float, cy: float, model: str = "") -> CameraModel:
    return CameraModel(width, height, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), model)


def turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Optical axes of a camera that looks to ``yaw``, ``pitch`` degrees up, rolled about its axis (degrees)."""
    y, p, r = np.radians((yaw, pitch, roll))
    about_z = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(p), 0, -np.sin(p)], [0, 1, 0], [np.sin(p), 0, np.cos(p)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(r), -np.sin(r)], [0, np.sin(r), np.cos(r)]])
    return about_z @ about_y @ about_x @ OPTICAL


REAL = {
    "nuscenes front": camera(1600, 900, 1266.4, 1266.4, 816.3, 491.5),
    "nuscenes back": camera(1600, 900, 809.2, 809.2, 829.2, 481.8),
    "kitti": camera(1242, 375, 721.5, 721.5, 609.6, 172.9),
    "pandaset": camera(1920, 1080, 1970.0, 1970.0, 970.0, 483.3),
    "ddad": camera(1936, 1216, 2181.5, 2181.6, 928.0, 615.9),
    "telephoto": camera(1920, 1080, 8000.0, 8000.0, 960.0, 540.0),
    "wide simulated": camera(800, 600, 70.0, 70.0, 400.0, 300.0),
    "fisheye of 190 degrees": camera(1280, 960, 330.0, 331.0, 640.0, 480.0, "equidistant"),
    "lower half of a sensor": camera(1600, 450, 1000.0, 1000.0, 800.0, 0.0),
    "thermal": camera(320, 256, 380.0, 380.0, 160.0, 128.0),
    "non-square pixels": camera(720, 576, 700.0, 765.0, 360.0, 288.0),
}


@pytest.mark.parametrize("model", REAL.values(), ids=REAL.keys())
def test_real_intrinsics_are_plausible(model: CameraModel) -> None:
    assert check_intrinsics(model) == ""


@given(st.integers(0, 1000), st.floats(0, 1))
def test_simulated_rigs_are_plausible(seed: int, jitter: float) -> None:
    for one in make_rig((448, 256), 0.25, jitter, np.random.default_rng(seed)):
        assert check_intrinsics(one.camera) == check_mounting(one.T_ego_camera) == ""


@pytest.mark.parametrize(
    ("position", "yaw", "pitch", "roll"),
    [
        ((1.7, 0.0, 1.5), 0, 0, 0),
        ((0.0, 0.0, 1.6), 180, -2, 1),
        ((3.5, 0.0, 0.6), 0, -45, 0),  # a fisheye in the bumper
        ((0.0, 1.0, 1.0), 90, -55, 0),  # and one in the mirror
        ((4.0, 1.0, 5.0), 30, -30, 0),  # on a truck
        ((-9.0, 0.0, 3.0), 180, -10, 0),  # at the end of a bus
        ((1.08, -0.32, -0.08), 0, 0, 0),  # the base frame is the LiDAR on the roof
        ((0.4, 0.0, -1.8), 0, 0, 0),
        ((1.0, 0.0, 2.0), 0, 60, 0),  # traffic lights right above
        ((1.0, 0.0, 2.0), 0, 0, 45),
    ],
)
def test_real_mountings_are_plausible(position: tuple, yaw: float, pitch: float, roll: float) -> None:
    assert check_mounting(rigid.transform(position, turned(yaw, pitch, roll))) == ""


@given(st.floats(-180, 180))
def test_body_frames_are_refused_whatever_their_heading(yaw: float) -> None:
    with pytest.raises(InputRejected, match=r"\+90 degrees.*body frame.*REP-103") as caught:
        check_mounting(rigid.planar(1.0, 0.5, np.radians(yaw), 1.5))
    assert caught.value.reason == "mounting"


def test_metres_and_millimetres() -> None:
    with pytest.raises(InputRejected, match="1700 m from the base frame"):
        check_mounting(rigid.transform((1700.0, 0.0, 15.0), OPTICAL))


def test_a_circle_smaller_than_its_image_is_a_fisheye() -> None:
    """190 degrees in a circle of 900 pixels: the whole width of 1920 would be 405."""
    assert check_intrinsics(camera(1920, 1080, 271.0, 271.0, 960.0, 540.0, "equidistant")) == ""


@pytest.mark.parametrize(
    ("D", "words"),
    [([-2.5, 0.0, 0.0, 0.0, 0.0], "% of the image"), ([-3e5, 2e8, 0.0, 0.0, 0.0], ""), ([0.0, 0.0, 40.0, 0.0], "")],
)
def test_distortions_that_no_lens_has_are_told(D: list[float], words: str) -> None:
    """Refused where next to nothing of the image is left, which the words are empty for."""
    model = CameraModel(448, 256, np.array([[320.0, 0, 223.5], [0, 320.0, 127.5], [0, 0, 1.0]]), "plumb_bob", D)
    if words:
        assert words in check_intrinsics(model)
        return
    with pytest.raises(InputRejected, match="does not describe a lens") as caught:
        check_intrinsics(model)
    assert caught.value.reason == "distortion"


@pytest.mark.parametrize(
    "model",
    [
        CameraModel(1920, 1080, np.array([[933.5, 0, 965.0], [0, 934.6, 463.3], [0, 0, 1]]), "plumb_bob", D)
        for D in ([-0.1614, -0.0027, -0.0003, -0.0003, 0.0181], [-0.36, 0.16, 0.0, 0.0, -0.035])
    ]
    + [
        CameraModel(
            1280,
            720,
            np.array([[610.0, 0, 640.0], [0, 610.0, 360.0], [0, 0, 1]]),
            "rational_polynomial",
            [0.4, -2.6, 0.0007, -0.0003, 1.5, 0.28, -2.4, 1.43],
        )
    ],
)
def test_distortions_of_real_lenses_are_plausible(model: CameraModel) -> None:
    assert check_intrinsics(model) == ""

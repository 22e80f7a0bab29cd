"""Corruptions of images: any size, the same again, and the worse the stronger."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import CameraView, Frame
from semlt3d_ros.corruptions.benchmarks import CORRUPTIONS, ROBOBEV, Corruptor, corruption_named
from semlt3d_ros.corruptions.images import line_kernel, plasma

CAMERAS = tuple(f"CAM_{number}" for number in range(6))
OF_IMAGES = [each for each in CORRUPTIONS.values() if each.of_image is not None]


def street(height: int = 96, width: int = 160) -> np.ndarray:
    """Smooth regions with edges and texture."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(30, 220, (6, 8, 3)).astype(np.float64)
    image = np.kron(blocks, np.ones((-(-height // 6), -(-width // 8), 1)))[:height, :width]
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def frame(stamp: int = 10**18) -> Frame:
    camera = CameraModel(160, 96, np.array([[100.0, 0, 79.5], [0, 100.0, 47.5], [0, 0, 1]]))
    return Frame(stamp, tuple(CameraView(name, stamp, street(), camera, np.eye(4)) for name in CAMERAS))


@pytest.mark.parametrize(
    "corruption",
    [each for each in CORRUPTIONS.values() if each.kind not in ("moved", "late")],
    ids=lambda each: each.name,
)
def test_the_stronger_the_farther_from_clean_and_the_same_again(corruption) -> None:
    clean = frame()
    away = []
    for severity in range(1, len(corruption.strengths) + 1):
        # Many draws of what is left to chance.
        corruptors = [Corruptor(corruption, severity, CAMERAS, seed) for seed in range(12)]
        found = [corruptor(clean) for corruptor in corruptors]
        for result, corruptor in zip(found[:2], corruptors, strict=False):
            again = corruptor(clean)
            for view, other in zip(result.views, again.views, strict=True):
                assert view.image.shape == (96, 160, 3) and view.image.dtype == np.uint8
                assert np.array_equal(view.image, other.image)
        errors = [
            np.abs(view.image.astype(float) - before.image).mean()
            for result in found
            for view, before in zip(result.views, clean.views, strict=True)
        ]
        away.append(np.mean(errors))
    # Snow of ImageNet-C's third level has more flakes, but whitens the scene no more than that of the second.
    ordered = np.diff(away) > (-5.0 if corruption.name == "snow" else 0.0)
    assert away[0] > 0.5 and ordered.all() and min(away[1:]) > away[0]
    assert all(np.array_equal(view.image, street()) for view in clean.views)  # what goes in is left alone


@given(
    height=st.integers(1, 40), width=st.integers(1, 60), which=st.sampled_from(OF_IMAGES), strength=st.integers(1, 5)
)
def test_images_of_any_size(height, width, which, strength) -> None:
    image = np.full((height, width, 3), 90, np.uint8)
    result = which.of_image(image, strength, np.random.default_rng(1))
    assert result.shape == image.shape and result.dtype == np.uint8 and (image == 90).all()


def test_color_quant_by_hand() -> None:
    image = np.array([[[0, 77, 255]]], np.uint8)
    three = corruption_named("color_quant").of_image
    assert three(image, 1, None)[0, 0].tolist() == [0, 64, 240]  # four bits are left
    assert three(image, 3, None)[0, 0].tolist() == [0, 64, 192]  # two


def test_cameras_crash_for_a_drive_and_frames_are_lost_by_chance() -> None:
    crash = Corruptor(corruption_named("camera_crash"), 2, CAMERAS, seed=1)
    black = [{view.name for view in crash(frame(10**18 + k)).views if not view.image.any()} for k in range(5)]
    assert black[0] and all(each == black[0] for each in black) and len(black[0]) <= 4
    lost = Corruptor(corruption_named("frame_lost"), 1, CAMERAS)
    share = np.mean([not view.image.any() for k in range(200) for view in lost(frame(10**18 + k)).views])
    assert share == pytest.approx(2 / 6, abs=0.05)


def test_other_seeds_are_other_weather() -> None:
    fog = corruption_named("fog")
    one, other = (Corruptor(fog, 1, CAMERAS, seed)(frame()).views[0].image for seed in (0, 1))
    assert not np.array_equal(one, other)
    first, second = (view.image for view in Corruptor(fog, 1, CAMERAS)(frame()).views[:2])
    assert not np.array_equal(first, second)


def test_robobev_has_eight_of_three() -> None:
    assert len(ROBOBEV) == 8 and all(len(each.strengths) == 3 for each in ROBOBEV)


def test_what_there_is_not_is_named() -> None:
    with pytest.raises(ConfigurationError, match="corruption 'hail' is not known; use one of brightness, low_light"):
        corruption_named("hail")
    with pytest.raises(ConfigurationError, match="corruption 'fog' has severities 1 to 3, not 4"):
        Corruptor(corruption_named("fog"), 4, CAMERAS)


def test_kernels_and_clouds_are_normalised() -> None:
    for degrees in (0.0, 30.0, 90.0, -45.0):
        kernel = line_kernel(9, degrees)
        assert kernel.sum() == pytest.approx(1.0, abs=1e-5) and (kernel >= 0).all()
    assert line_kernel(9, 0.0)[4].sum() == pytest.approx(1.0, abs=1e-5)
    clouds = plasma(33, 2.0, np.random.default_rng(0))
    assert clouds.shape == (33, 33) and clouds.min() == 0.0 and clouds.max() == pytest.approx(1.0)


def test_cameras_sit_elsewhere_the_farther_the_stronger_and_stay_there() -> None:
    away = []
    for severity in range(1, 6):
        corruptors = [
            Corruptor(corruption_named("spatial_misalignment"), severity, CAMERAS, seed) for seed in range(40)
        ]
        found = [[view.T_ego_camera for view in corruptor(frame()).views] for corruptor in corruptors]
        assert np.array_equal(found[0], [view.T_ego_camera for view in corruptors[0](frame(10**18 + 1)).views])
        assert len({tuple(T[:3, 3]) for T in found[0]}) == len(CAMERAS)
        assert np.allclose(np.linalg.det(np.array(found)[..., :3, :3]), 1.0)
        away.append(np.std(np.array(found)[..., :3, 3]))
        turns = np.arccos((np.trace(np.array(found)[..., :3, :3], axis1=-2, axis2=-1) - 1) / 2)
        assert np.sqrt(np.mean(turns**2)) == pytest.approx(0.004 * severity * np.sqrt(3), rel=0.2)
    assert away == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2], rel=0.15)
    clean = frame()
    assert all(view.image is before.image for view, before in zip(corruptors[0](clean).views, clean.views, strict=True))


def test_late_images_are_those_of_before() -> None:
    late = Corruptor(corruption_named("temporal_misalignment"), 2, CAMERAS[:1])
    images = [np.full((4, 4, 3), number, np.uint8) for number in range(9)]
    seen = [int(late.image(image, 10**18 + number, CAMERAS[0])[0, 0, 0]) for number, image in enumerate(images)]
    assert seen == [0, 0, 0, 0, 0, 1, 2, 3, 4]

"""Image regions of boxes: the right view, the whole shown object, nothing where nothing can be seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.crops import crop_region, with_full_contrast
from semlt3d_ros.core.regions import best_regions

K = np.array([[300.0, 0, 199.5], [0, 300.0, 119.5], [0, 0, 1]])
CAMERA = CameraModel(400, 240, K)


def looking(azimuth: float) -> rigid.Matrix:
    forward = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    return rigid.transform((0.0, 0.0, 1.5), np.stack([right, [0.0, 0.0, -1.0], forward], axis=1))


FRONT, BACK = looking(0.0), looking(np.pi)


def box(
    x: float, y: float, z: float = 1.0, size: tuple[float, float, float] = (4.0, 2.0, 1.6), yaw: float = 0.0
) -> Boxes3D:
    return Boxes3D(np.array([[x, y, z]]), np.array([size]), np.array([yaw]), np.zeros((1, 2)))


def test_the_window_holds_the_projected_box_with_context() -> None:
    (region,) = best_regions(box(20.0, 1.0), [(CAMERA, BACK), (CAMERA, FRONT)], context=1.5)
    assert region is not None and region.view == 1 and region.shown == pytest.approx(1.0)
    corners = rigid.apply(rigid.inverse(FRONT), box(20.0, 1.0).corners()[0])
    pixels, valid = CAMERA.project(corners)
    assert valid.all()
    left, top, right, bottom = region.window
    low, high = pixels.min(0), pixels.max(0)
    assert right - left == pytest.approx(bottom - top) == pytest.approx(1.5 * (high - low).max())
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(tuple((low + high) / 2))


@settings(max_examples=60, deadline=None)
@given(azimuth=st.floats(-3.1, 3.1), distance=st.floats(4.0, 60.0), yaw=st.floats(-3.1, 3.1))
def test_in_a_ring_of_cameras_every_object_has_a_region_that_shows_most_of_it(
    azimuth: float, distance: float, yaw: float
) -> None:
    ring = [(CAMERA, looking(k * np.pi / 3)) for k in range(6)]
    place = box(distance * np.cos(azimuth), distance * np.sin(azimuth), yaw=yaw)
    (region,) = best_regions(place, ring)
    assert region is not None and 0 < region.shown <= 1.0
    left, top, right, bottom = region.window
    assert left < CAMERA.width and right > 0 and top < CAMERA.height and bottom > 0
    nearest = min(range(6), key=lambda k: abs(rigid.wrap_angle(azimuth - k * np.pi / 3)))
    if distance > 15:
        assert region.view == nearest or region.shown > 0.4


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "place",
    [
        box(-10.0, 0.0),  # behind
        box(400.0, 0.0, size=(0.3, 0.3, 0.3)),  # too small
        box(10.0, 8.1, size=(0.5, 0.5, 1.0)),  # beyond the border
        box(np.nan, 0.0),
        box(10.0, 0.0, size=(np.inf, 1.0, 1.0)),
        box(10.0, 0.0, yaw=np.nan),
        box(1e308, 1e308),
        box(10.0, 0.0, size=(1e308, 1.0, 1.0)),
    ],
)
def test_what_cannot_be_seen_has_no_region(place: Boxes3D) -> None:
    assert best_regions(place, [(CAMERA, FRONT)]) == [None]
    good = Boxes3D(
        *(np.concatenate([a, b]) for a, b in zip(vars(place).values(), vars(box(20.0, 0.0)).values(), strict=True))
    )
    first, second = best_regions(good, [(CAMERA, FRONT)])
    assert first is None and second is not None
    assert best_regions(place, []) == [None] and best_regions(Boxes3D.empty(), [(CAMERA, FRONT)]) == []


def test_a_sliver_at_the_border_is_refused_a_cut_object_is_shown_as_far_as_it_goes() -> None:
    lengthwise = [box(10.0, y, size=(0.1, 2.0, 1.6)) for y in np.linspace(5.0, 9.0, 60)]
    found = [best_regions(place, [(CAMERA, FRONT)], min_pixels=5.0)[0] for place in lengthwise]
    shown = [region.shown for region in found if region is not None]
    assert shown[0] > 0.95 and min(shown) < 0.2 and found[-1] is None
    for region in filter(None, found):
        assert region.side >= 1.3 * 5.0 - 1e-6


def test_a_box_around_the_camera_does_not_break() -> None:
    (region,) = best_regions(box(0.0, 0.0, size=(12.0, 12.0, 3.0)), [(CAMERA, FRONT)])
    assert region is not None and np.isfinite(region.window).all() and region.side < 2 * CAMERA.width


def test_crops_scale_and_repeat_the_border() -> None:
    u = np.arange(60, dtype=np.uint8)
    image = np.stack(
        [
            np.tile(u, (40, 1)) * 2,
            np.tile(np.arange(40, dtype=np.uint8)[:, None], (1, 60)) * 3,
            np.zeros((40, 60), np.uint8),
        ],
        -1,
    )
    same = crop_region(image, (9.5, 4.5, 25.5, 20.5), 16)
    assert np.array_equal(same, image[5:21, 10:26])
    half = crop_region(image, (9.5, 4.5, 25.5, 20.5), 8)
    assert np.abs(half.astype(int) - image[5:21, 10:26].reshape(8, 2, 8, 2, 3).mean((1, 3))).max() <= 1
    beyond = crop_region(image, (49.5, -10.5, 69.5, 9.5), 20)
    assert (beyond[:, 10:, 0] == 118).all() and (beyond[:10, :, 1] == 0).all()
    assert crop_region(image, (20.2, 20.2, 22.2, 22.2), 12).shape == (12, 12, 3)


@pytest.mark.parametrize("side", [20.0, 64.0, 100.0, 200.0])
def test_a_bound_on_samples_changes_little(side: float) -> None:
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (18, 16, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    window = (37.3, -5.6, 37.3 + side, -5.6 + side)
    difference = np.abs(crop_region(image, window, 64, 2).astype(int) - crop_region(image, window, 64).astype(int))
    assert difference.mean() < 3 and np.percentile(difference, 95) < 25
    assert difference.any() == (side > 128)


@pytest.mark.parametrize("most", [None, 2])
def test_large_windows_are_not_sampled_here_and_there(most: int | None) -> None:
    """A fine pattern becomes grey in a small crop, as averaging makes it."""
    image = np.indices((300, 300)).sum(axis=0)[..., None] % 2 * np.uint8(255) * np.ones(3, np.uint8)
    crop = crop_region(image.astype(np.uint8), (20.0, 20.0, 270.0, 270.0), 64, most)
    assert np.abs(crop.astype(int) - 128).mean() < (15 if most is None else 45)


def test_full_contrast_undoes_dusk_and_mist_and_keeps_colours() -> None:
    rng = np.random.default_rng(0)
    day = np.kron(rng.integers(10, 246, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    day[:8, :8], day[8:16, :8] = 10, 245
    dusk = np.rint(40 + day * 0.1).astype(np.uint8)
    restored = with_full_contrast(dusk).astype(int)
    assert np.abs(restored - day).max() <= 14, "as far as the digits go that are left"
    one = np.full((8, 8, 3), 90, np.uint8)
    assert np.array_equal(with_full_contrast(one), one)

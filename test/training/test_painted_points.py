"""A painted point of a box is found after every augmentation where the changed cameras and boxes say it is."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.geometry import project
from semlt3d_ros.training.augmentation import ClipChanges, augment, rotated, scaled
from semlt3d_ros.training.augmentation_settings import Augmentation
from semlt3d_ros.training.image_augmentation import hidden_behind_grids, out_of_sight, reframed

HEIGHT, WIDTH, VIEWS = 96, 224, 3
STILL = Augmentation(
    mirror=0.0, rotate=False, brightness=0.0, contrast=0.0, tint=0.0, blur=0.0, noise=0.0, drop_camera=0.0
)
UNCHANGED = ClipChanges(torch.tensor([False]), torch.ones(1))


def rig(seed: int) -> Batch:
    """One frame of three cameras of different lenses, heights and tilts, with black images."""
    rng = np.random.default_rng(seed)
    K, poses = torch.zeros(1, VIEWS, 3, 3), torch.eye(4).repeat(1, VIEWS, 1, 1)
    for v in range(VIEWS):
        azimuth, tilt, focal = 2.1 * v + rng.uniform(-0.3, 0.3), rng.uniform(-0.1, 0.1), rng.uniform(100, 240)
        K[0, v] = torch.tensor(
            [
                [focal, 0, 112 + rng.uniform(-9, 9)],
                [0, focal * rng.uniform(0.97, 1.03), 30 + rng.uniform(-9, 9)],
                [0, 0, 1],
            ]
        )
        forward = torch.tensor([math.cos(azimuth), math.sin(azimuth), math.sin(tilt)])
        forward = forward / forward.norm()
        right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]))
        right = right / right.norm()
        poses[0, v, :3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
        poses[0, v, :3, 3] = torch.from_numpy(rng.uniform([-1, -1, 1], [1, 1, 2]))
    world = torch.eye(4, dtype=torch.float64)[None].clone()
    world[0, :3, 3] = torch.from_numpy(rng.uniform(-1e5, 1e5, 3))
    images = torch.zeros(1, VIEWS, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    return Batch(images, K, poses, torch.ones(1, VIEWS, dtype=torch.bool), torch.zeros(1, dtype=torch.int64), world)


def painted(seed: int) -> tuple[Batch, Targets, int]:
    """A rig, one box that a camera sees well, and that camera, in whose image the centre of the box is painted."""
    rng = np.random.default_rng(seed + 1)
    batch = rig(seed)
    view = int(rng.integers(VIEWS))
    pixel = torch.from_numpy(rng.uniform([40, 25], [WIDTH - 40, HEIGHT - 25])).float()
    depth = float(rng.uniform(4, 40))
    ray = torch.linalg.inv(batch.intrinsics[0, view]) @ torch.cat([pixel, torch.ones(1)]) * depth
    center = batch.T_ego_camera[0, view, :3, :3] @ ray + batch.T_ego_camera[0, view, :3, 3]
    boxes = torch.from_numpy(rng.uniform(0.5, 4.0, (1, 1, 9))).float()
    boxes[0, 0, :3] = center
    v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    blob = 255 * (-((u - pixel[0]) ** 2 + (v - pixel[1]) ** 2) / (2 * 2.5**2)).exp()
    images = batch.images.clone()
    images[0, view] = blob.round().to(torch.uint8)
    targets = Targets(boxes, torch.zeros(1, 1, dtype=torch.int64), [center[None].clone()])
    return replace(batch, images=images), targets, view


def found(batch: Batch, view: int) -> torch.Tensor:
    """(2,) where the paint is, as the centre of its brightness."""
    image = batch.images[0, view].float().mean(0)
    v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return torch.stack([(u * image).sum(), (v * image).sum()]) / image.sum()


def expected(batch: Batch, points: torch.Tensor, view: int) -> torch.Tensor:
    """(2,) where the point is by the cameras."""
    pixels, depth = project(points[None], batch.intrinsics, batch.T_ego_camera)
    assert depth[0, view, 0] > 0
    return pixels[0, view, 0]


def agree(batch: Batch, targets: Targets, view: int, within: float = 0.3) -> None:
    """Box, LiDAR point and paint are at one place."""
    place = found(batch, view)
    assert torch.allclose(expected(batch, targets.boxes[0, :, :3], view), place, atol=within)
    assert torch.allclose(expected(batch, targets.points[0], view), place, atol=within)


seeds = st.integers(0, 10_000)
drawn = settings(max_examples=25, deadline=None)


def test_the_paint_is_found_where_nothing_is_augmented() -> None:
    for seed in range(20):
        agree(*painted(seed))


@drawn
@given(
    seed=seeds, zoom=st.floats(0.6, 1.5), roll=st.floats(-8, 8), across=st.floats(0.3, 0.7), down=st.floats(0.3, 0.7)
)
def test_a_crop_and_a_turn_of_the_image_take_intrinsics_and_pose_along(seed, zoom, roll, across, down) -> None:
    batch, targets, view = painted(seed)
    shape = (1, VIEWS)
    place = torch.tensor([across, down]).expand(*shape, 2)
    other = reframed(batch, torch.full(shape, zoom), place, torch.full(shape, math.radians(roll)))
    pixel = expected(other, targets.boxes[0, :, :3], view)
    if ((pixel > 9) & (pixel < torch.tensor([WIDTH - 10, HEIGHT - 10]))).all():  # whole, so that its centre tells
        agree(other, targets, view)
    assert torch.allclose(torch.linalg.det(other.T_ego_camera[..., :3, :3]), torch.ones(shape), atol=1e-4)
    assert torch.allclose(other.intrinsics[..., 0, 1], torch.zeros(shape), atol=1e-4)


@drawn
@given(seed=seeds, factor=st.floats(0.5, 2.0))
def test_a_world_that_grows_looks_the_same(seed: int, factor: float) -> None:
    batch, targets, view = painted(seed)
    other, moved = scaled(batch, targets, torch.tensor([factor]))
    agree(other, moved, view)
    assert torch.equal(other.images, batch.images) and torch.equal(other.intrinsics, batch.intrinsics)
    ratio = moved.boxes / targets.boxes
    assert torch.allclose(ratio[..., [0, 1, 2, 3, 4, 5, 7, 8]], torch.tensor(factor)) and ratio[0, 0, 6] == 1
    # A second frame of the clip: where the box is in the world does not depend on the frame it is seen from.
    drive = torch.eye(4, dtype=torch.float64)
    drive[0, 3] = 3.0
    later = replace(batch, T_world_ego=batch.T_world_ego @ drive)
    shifted = replace(targets, boxes=targets.boxes - torch.tensor([3.0, 0, 0, 0, 0, 0, 0, 0, 0]))
    worlds = [scaled(b, t, torch.tensor([factor])) for b, t in ((batch, targets), (later, shifted))]
    first, second = (
        (b.T_world_ego[0, :3, :3] @ t.boxes[0, 0, :3].double()) + b.T_world_ego[0, :3, 3] for b, t in worlds
    )
    assert torch.allclose(first, second, atol=1e-3)


@drawn
@given(seed=seeds, angle=st.floats(-math.pi, math.pi))
def test_turned_ego_axes_leave_the_paint_where_it_is(seed: int, angle: float) -> None:
    batch, targets, view = painted(seed)
    other, moved = rotated(batch, targets, torch.tensor([angle]))
    agree(other, moved, view)


@drawn
@given(seed=seeds, mirror=st.booleans(), factor=st.floats(0.8, 1.25))
def test_all_of_it_together(seed: int, mirror: bool, factor: float) -> None:
    batch, targets, view = painted(seed)
    torch.manual_seed(seed)
    everything = replace(STILL, mirror=1.0, rotate=30.0, scale=(0.8, 1.25), zoom=(0.8, 1.3), roll_deg=5.0)
    changes = ClipChanges(torch.tensor([mirror]), torch.tensor([factor]))
    other, moved = augment(batch, targets, everything, changes)
    pixel = expected(other, moved.boxes[0, :, :3], view)
    if ((pixel > 9) & (pixel < torch.tensor([WIDTH - 10, HEIGHT - 10]))).all():
        agree(other, moved, view)
        assert torch.equal(moved.classes, targets.classes)
    elif ((pixel < -9) | (pixel > torch.tensor([WIDTH + 9, HEIGHT + 9]))).any() and not _seen_elsewhere(other, moved):
        assert (moved.classes < 0).all()


def _seen_elsewhere(batch: Batch, targets: Targets) -> bool:
    pixels, depth = project(targets.boxes[..., :3], batch.intrinsics, batch.T_ego_camera)
    within = (pixels > -9).all(-1) & (pixels < torch.tensor([WIDTH + 9, HEIGHT + 9])).all(-1) & (depth > 0)
    return bool(within.any())


@drawn
@given(seed=seeds)
def test_a_grid_hides_about_a_quarter_of_an_image_and_leaves_the_rest(seed: int) -> None:
    torch.manual_seed(seed)
    images = torch.randint(0, 100, (2, VIEWS, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    masked = hidden_behind_grids(images, 1.0)
    changed = (masked != images).any(2, keepdim=True).expand_as(images)
    assert torch.equal(masked[~changed], images[~changed]) and (masked[changed] == masked[changed][0]).all()
    share = changed.float().mean(dim=(2, 3, 4))
    assert ((share > 0) & (share <= 0.45)).all()
    assert not torch.equal(changed[0, 0], changed[0, 1])


def test_grids_hide_as_many_images_as_asked_and_a_quarter_of_them() -> None:
    torch.manual_seed(0)
    images = torch.zeros(100, VIEWS, 3, 24, 56, dtype=torch.uint8)
    masked = hidden_behind_grids(images, 0.7)
    hidden = masked.flatten(2) > 0
    assert hidden.any(-1).float().mean() == pytest.approx(0.7, abs=0.09)
    assert hidden[hidden.any(-1)].float().mean() == pytest.approx(0.25, abs=0.03)
    assert hidden_behind_grids(images, 0.0) is images


def test_what_is_cut_out_of_every_image_is_no_target_and_what_another_shows_is() -> None:
    batch, targets, view = painted(3)
    pixel = expected(batch, targets.boxes[0, :, :3], view)
    left = bool(pixel[0] < WIDTH / 2)
    place = torch.tensor([1.0 if left else 0.0, 0.5]).expand(1, VIEWS, 2)
    far = reframed(batch, torch.full((1, VIEWS), 2.0), place, torch.zeros(1, VIEWS))
    assert out_of_sight(far, batch, targets.boxes[..., :3]).tolist() == [[True]]
    assert out_of_sight(batch, batch, targets.boxes[..., :3]).tolist() == [[False]]
    behind = -targets.boxes[..., :3]
    behind[..., 2] = -500.0  # in no image before: what nobody saw stays a target, as it was
    assert out_of_sight(far, batch, behind).tolist() == [[False]]


def test_where_a_lost_object_is_nothing_is_judged() -> None:
    batch, targets, _ = painted(3)
    found = 0
    for seed in range(40):
        torch.manual_seed(seed)
        other, moved = augment(batch, targets, replace(STILL, zoom=(1.8, 2.0)), UNCHANGED)
        assert moved.unjudged is not None
        lost = bool(out_of_sight(other, batch, targets.boxes[..., :3]).any())
        found += lost
        assert bool(moved.unjudged.at(targets.boxes[..., :3]).any()) == lost == bool((moved.classes < 0).all())
    assert 0 < found < 40


def test_images_of_a_rig_are_cut_differently_and_by_the_ranges_asked_for() -> None:
    torch.manual_seed(0)
    batch, targets, _ = painted(1)
    zoomed = replace(STILL, zoom=(1.1, 1.4), roll_deg=3.0)
    other, _ = augment(batch, targets, zoomed, UNCHANGED)
    factor = other.intrinsics[..., 0, 0] / batch.intrinsics[..., 0, 0]
    assert ((factor >= 1.1) & (factor <= 1.4)).all() and len(set(factor[0].tolist())) == VIEWS
    same, _ = augment(batch, targets, STILL, UNCHANGED)
    assert torch.equal(same.images, batch.images) and torch.equal(same.intrinsics, batch.intrinsics)

"""Augmented rigs still agree with their targets: what is projected before lands in the same place after."""

import math

import numpy as np
import torch

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.geometry import project
from semlt3d_ros.training.augmentation import ClipChanges, augment, clip_changes, mirrored, rotated
from semlt3d_ros.training.augmentation_settings import Augmentation


def scene() -> tuple[Batch, Targets]:
    rng = np.random.default_rng(0)
    pose = torch.eye(4).repeat(2, 3, 1, 1)
    for b in range(2):
        for v, azimuth in enumerate((0.0, 2.0, -2.2)):
            forward = torch.tensor([math.cos(azimuth), math.sin(azimuth), 0.0])
            right = torch.tensor([math.sin(azimuth), -math.cos(azimuth), 0.0])
            pose[b, v, :3, :3] = torch.stack([right, torch.tensor([0.0, 0.0, -1.0]), forward], dim=1)
            pose[b, v, :3, 3] = torch.tensor([0.5, 0.2 * v, 1.5])
    K = torch.tensor([[60.0, 0, 30.0], [0, 62.0, 20.0], [0, 0, 1]]).repeat(2, 3, 1, 1)
    images = torch.from_numpy(rng.integers(0, 255, (2, 3, 3, 40, 64), np.uint8))
    boxes = torch.from_numpy(rng.uniform(-20, 20, (2, 5, 9)).astype(np.float32))
    boxes[..., 3:6] = boxes[..., 3:6].abs() / 5 + 0.5
    points = [torch.from_numpy(rng.uniform(-20, 20, (30, 3)).astype(np.float32)) for _ in range(2)]
    classes = torch.randint(0, 18, (2, 5))
    world = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    world[:, :2, 3] = torch.tensor([4e5, -2e6])
    world[1, :2, :2] = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    batch = Batch(images, K, pose, torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, dtype=torch.int64), world)
    return batch, Targets(boxes, classes, points)


BOTH = torch.tensor([True, True])
MIRRORED, AS_THEY_ARE = ClipChanges(BOTH, torch.ones(2)), ClipChanges(~BOTH, torch.ones(2))


def pixels(batch: Batch, points: torch.Tensor) -> torch.Tensor:
    uv, depth = project(points, batch.intrinsics, batch.T_ego_camera)
    return torch.where((depth > 1.0)[..., None], uv, torch.nan)


def test_mirroring_mirrors_every_image_and_point() -> None:
    batch, targets = scene()
    other, moved = mirrored(batch, targets, BOTH)
    before, after = pixels(batch, targets.boxes[..., :3]), pixels(other, moved.boxes[..., :3])
    assert before.isfinite().any()
    assert torch.allclose(after[..., 0], 63 - before[..., 0], atol=1e-3, equal_nan=True)
    assert torch.allclose(after[..., 1], before[..., 1], atol=1e-3, equal_nan=True)
    assert torch.equal(other.images, batch.images.flip(-1)) and torch.equal(moved.boxes[..., 6], -targets.boxes[..., 6])
    back, again = mirrored(other, moved, BOTH)
    assert torch.allclose(back.T_ego_camera, batch.T_ego_camera) and torch.allclose(again.boxes, targets.boxes)
    assert torch.allclose(torch.linalg.det(other.T_ego_camera), torch.ones(2, 3))


def test_turning_the_ego_axes_leaves_every_image_point_where_it_was() -> None:
    batch, targets = scene()
    other, moved = rotated(batch, targets, torch.tensor([0.7, -2.0]))
    for before, after in ((targets.boxes[..., :3], moved.boxes[..., :3]), (targets.points, moved.points)):
        first = pixels(batch, before if isinstance(before, torch.Tensor) else torch.stack(before))
        second = pixels(other, after if isinstance(after, torch.Tensor) else torch.stack(after))
        assert torch.allclose(first, second, atol=1e-2, equal_nan=True)
    speed = targets.boxes[..., 7:].norm(dim=-1)
    assert torch.allclose(moved.boxes[..., 7:].norm(dim=-1), speed, atol=1e-5)
    heading = torch.stack([targets.boxes[..., 6].cos(), targets.boxes[..., 6].sin()], -1)
    turned = torch.stack([moved.boxes[..., 6].cos(), moved.boxes[..., 6].sin()], -1)
    angle = torch.tensor([0.7, -2.0])[:, None]
    expected = heading[..., 0] * angle.cos() - heading[..., 1] * angle.sin()
    assert torch.allclose(turned[..., 0], expected, atol=1e-5)


def test_everything_together_keeps_shapes_and_masks_dropped_cameras() -> None:
    torch.manual_seed(0)
    batch, targets = scene()
    other, moved = augment(batch, targets, Augmentation(drop_camera=1.0), MIRRORED)
    assert (other.valid.sum(1) == 2).all() and (other.images[~other.valid] == 0).all()
    assert other.images.dtype == torch.uint8 and other.images.shape == batch.images.shape
    assert torch.equal(moved.classes, targets.classes) and batch.valid.all()


def test_only_the_chosen_frames_are_mirrored() -> None:
    batch, targets = scene()
    other, moved = mirrored(batch, targets, torch.tensor([False, True]))
    assert torch.equal(other.images[0], batch.images[0]) and torch.equal(other.images[1], batch.images[1].flip(-1))
    assert torch.equal(moved.boxes[0], targets.boxes[0]) and torch.equal(moved.points[0], targets.points[0])
    assert torch.equal(other.T_world_ego[0], batch.T_world_ego[0])
    assert not torch.equal(moved.points[1], targets.points[1])


def world_points(batch: Batch, targets: Targets) -> torch.Tensor:
    centers = targets.boxes[..., :3].double()
    return centers @ batch.T_world_ego[:, :3, :3].transpose(1, 2) + batch.T_world_ego[:, None, :3, 3]


def test_objects_stay_where_they_are_in_the_world() -> None:
    """Turning the ego axes moves nothing in the world; mirroring mirrors the world, the ego pose with it."""
    batch, targets = scene()
    turned = rotated(batch, targets, torch.tensor([0.7, -2.0]))
    assert torch.allclose(world_points(*turned), world_points(batch, targets), atol=1e-4)
    reflected = world_points(*mirrored(batch, targets, BOTH)) * torch.tensor([1.0, -1.0, 1.0]).double()
    assert torch.allclose(reflected, world_points(batch, targets), atol=1e-4)


def test_without_photometric_changes_pixels_stay_exactly_as_they_are() -> None:
    batch, targets = scene()
    still = Augmentation(brightness=0, contrast=0, tint=0, blur=0, noise=0, drop_camera=0)
    other, _ = augment(batch, targets, still, AS_THEY_ARE)
    assert torch.equal(other.images, batch.images)
    assert not torch.equal(augment(batch, targets, Augmentation(), AS_THEY_ARE)[0].images, batch.images)


def test_a_clip_changes_as_a_whole_and_about_as_often_as_asked() -> None:
    settings = Augmentation(mirror=0.3, scale=(0.8, 1.25))
    chosen = clip_changes(range(400), 3, settings)
    again = clip_changes([7, 7, 8], 3, settings)
    assert torch.equal(again.mirror, chosen.mirror[[7, 7, 8]]) and torch.equal(again.scale, chosen.scale[[7, 7, 8]])
    assert (
        0.2 < chosen.mirror.float().mean() < 0.4
        and not clip_changes(range(50), 3, Augmentation(mirror=0.0)).mirror.any()
    )
    assert ((chosen.scale >= 0.8) & (chosen.scale <= 1.25)).all() and chosen.scale.log().mean().abs() < 0.02
    assert torch.equal(clip_changes(range(50), 3, Augmentation()).scale, torch.ones(50))


def test_targets_know_how_they_left_the_axes_of_the_recording():
    batch, targets = scene()
    recorded = targets.boxes[..., :3].clone()
    turned = rotated(*mirrored(batch, targets, torch.tensor([True, False])), torch.tensor([0.3, -2.0]))[1]
    assert turned.T_ego_recorded is not None
    back = torch.linalg.inv(turned.T_ego_recorded)
    points = turned.boxes[..., :3] @ back[:, :3, :3].transpose(1, 2) + back[:, None, :3, 3]
    assert torch.allclose(points, recorded, atol=1e-4)

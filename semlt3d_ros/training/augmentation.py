"""Augmentation of whole rigs, on batches: what happens to one view happens to the world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.training.augmentation_settings import Augmentation
from semlt3d_ros.training.image_augmentation import hidden_behind_grids, out_of_sight, reframed_at_random


@dataclass(frozen=True)
class ClipChanges:
    """What is the same for all frames of a clip, since the ego motion changes with the world.

    Attributes:
        mirror: (B,) bool, whether the world of each frame is mirrored.
        scale: (B,) by how much it grows.
    """

    mirror: Tensor
    scale: Tensor


def clip_changes(clips: Sequence[int], seed: int, settings: Augmentation) -> ClipChanges:
    """What becomes of the clips with these serial numbers: the same each time it is asked for."""
    mirror, scale = [], []
    for clip in clips:
        chance = np.random.default_rng([seed, clip])
        mirror.append(bool(chance.random() < settings.mirror))
        least, most = settings.scale
        scale.append(math.exp(chance.uniform(math.log(least), math.log(most))))
    return ClipChanges(torch.tensor(mirror), torch.tensor(scale))


def augment(batch: Batch, targets: Targets, settings: Augmentation, changes: ClipChanges) -> tuple[Batch, Targets]:
    """A changed copy of a batch and its targets; random by torch's global generator, and by ``changes`` of the clips.

    Objects that were seen and that no image shows any more, since it was cut, are no targets, and nothing is judged
    where they are: a memory may know them.
    """
    batch, targets = mirrored(batch, targets, changes.mirror)
    if settings.scale != (1.0, 1.0):
        batch, targets = scaled(batch, targets, changes.scale)
    whole, batch = batch, reframed_at_random(batch, settings)
    if batch is not whole:
        targets = targets.without(out_of_sight(batch, whole, targets.boxes[..., :3]))
    batch, targets = turned_and_blinded(batch, targets, settings)
    images = _photometric(hidden_behind_grids(batch.images, settings.grid_mask), settings)
    return replace(batch, images=images * batch.valid[..., None, None, None]), targets


def turned_and_blinded(batch: Batch, targets: Targets, settings: Augmentation) -> tuple[Batch, Targets]:
    """The part of augmentation that leaves images as they are: other ego axes, missing cameras."""
    if settings.rotate:
        share = torch.rand(len(batch.valid)) * 2
        angles = share * math.pi if settings.rotate is True else (share - 1) * math.radians(settings.rotate)
        batch, targets = rotated(batch, targets, angles)
    valid = batch.valid.clone()
    for frame in torch.nonzero(torch.rand(len(valid)) < settings.drop_camera)[:, 0]:
        valid[frame, torch.randint(valid.shape[1], ())] = False
    return replace(batch, valid=valid), targets


def mirrored(batch: Batch, targets: Targets, which: Tensor) -> tuple[Batch, Targets]:
    """The worlds of the frames ``which`` (B,) seen in a mirror on the xz plane: left and right change places."""
    ego = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0]))
    camera = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    intrinsics = batch.intrinsics.clone()
    intrinsics[..., 0, 2] = batch.images.shape[-1] - 1 - intrinsics[..., 0, 2]
    intrinsics[..., 0, 1] *= -1
    frames, whole = which[:, None, None], which[:, None, None, None]
    batch = replace(
        batch,
        images=torch.where(whole[..., None], batch.images.flip(-1), batch.images),
        intrinsics=torch.where(whole, intrinsics, batch.intrinsics),
        T_ego_camera=torch.where(whole, ego @ batch.T_ego_camera @ camera, batch.T_ego_camera),
        T_world_ego=torch.where(frames, ego.double() @ batch.T_world_ego @ ego.double(), batch.T_world_ego),
    )
    return batch, targets.transformed(torch.where(frames, ego, torch.eye(4)))


def scaled(batch: Batch, targets: Targets, factors: Tensor) -> tuple[Batch, Targets]:
    """The same images of worlds that are ``factors`` (B,) times as large, with all that moves in them."""
    growth = torch.diag_embed(torch.stack([factors, factors, factors, torch.ones_like(factors)], dim=1))

    def grown(pose: Tensor) -> Tensor:
        pose = pose.clone()
        pose[..., :3, 3] *= factors.to(pose).reshape(-1, *[1] * (pose.dim() - 2))
        return pose

    batch = replace(batch, T_ego_camera=grown(batch.T_ego_camera), T_world_ego=grown(batch.T_world_ego))
    return batch, targets.transformed(growth)


def rotated(batch: Batch, targets: Targets, angles: Tensor) -> tuple[Batch, Targets]:
    """The same world in ego axes turned by ``angles`` (B,) radians about the vertical."""
    cos, sin = angles.cos(), angles.sin()
    turn = torch.zeros(len(angles), 4, 4)
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = cos, -sin, sin, cos
    turn[:, 2, 2] = turn[:, 3, 3] = 1.0
    # The world stays where it is: the pose of the turned axes takes the turn back.
    T_world_ego = batch.T_world_ego @ turn.double().transpose(1, 2)
    batch = replace(batch, T_ego_camera=turn[:, None] @ batch.T_ego_camera, T_world_ego=T_world_ego)
    moved = targets.transformed(turn)
    # To the last digit: a turn changes no size, and adds its angle to every heading.
    moved.boxes[..., 3:6] = targets.boxes[..., 3:6]
    moved.boxes[..., 6] = targets.boxes[..., 6] + angles[:, None]
    return batch, moved


def _photometric(images: Tensor, settings: Augmentation) -> Tensor:
    if not any((settings.brightness, settings.contrast, settings.tint, settings.blur, settings.noise)):
        return images
    frames, views = images.shape[:2]

    def factor(strength: float, *shape: int) -> Tensor:
        return 1.0 + (torch.rand(frames, 1, *shape) * 2 - 1) * strength

    values = images.float()
    mean = values.mean(dim=(2, 3, 4), keepdim=True)
    values = (values - mean) * factor(settings.contrast, 1, 1, 1) + mean
    values = values * factor(settings.brightness, 1, 1, 1) * factor(settings.tint, 3, 1, 1)
    soft = torch.nonzero(torch.rand(frames, views) < settings.blur, as_tuple=True)
    if len(soft[0]):
        values[soft] = F.avg_pool2d(F.pad(values[soft], (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    grain = torch.empty_like(values).uniform_(-1.0, 1.0)
    values = values + grain * torch.rand(frames, 1, 1, 1, 1) * settings.noise
    return values.clamp(0, 255).to(torch.uint8)

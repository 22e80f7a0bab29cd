"""Augmentation of whole rigs, on batches: what happens to one view happens to the world."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.targets import Targets


@dataclass(frozen=True)
class Augmentation:
    """Chances and strengths.

    Attributes:
        mirror: chance to mirror the whole rig and its world left to right.
        rotate: turn the ego axes about the vertical by any angle, so that no direction is special.
        brightness, contrast, tint: largest relative change, per rig, per rig and per colour channel.
        blur: chance to soften an image, as scaled-down camera images are softer than rendered ones.
        noise: largest pixel noise in grey levels, uniform.
        drop_camera: chance that one camera of a frame goes missing.
    """

    mirror: float = 0.5
    rotate: bool = True
    brightness: float = 0.3
    contrast: float = 0.3
    tint: float = 0.08
    blur: float = 0.3
    noise: float = 10.0
    drop_camera: float = 0.05


def augment(batch: Batch, targets: Targets, settings: Augmentation) -> tuple[Batch, Targets]:
    """A changed copy of a batch and its targets; random by torch's global generator."""
    if torch.rand(()) < settings.mirror:
        batch, targets = mirrored(batch, targets)
    if settings.rotate:
        batch, targets = rotated(batch, targets, torch.rand(len(batch.valid)) * 2 * math.pi)
    images = _photometric(batch.images, settings)
    valid = batch.valid.clone()
    for frame in torch.nonzero(torch.rand(len(valid)) < settings.drop_camera)[:, 0]:
        valid[frame, torch.randint(valid.shape[1], ())] = False
    return replace(batch, images=images * valid[..., None, None, None], valid=valid), targets


def mirrored(batch: Batch, targets: Targets) -> tuple[Batch, Targets]:
    """The world seen in a mirror on the ego's xz plane: left and right change places."""
    ego = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0]))
    camera = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    intrinsics = batch.intrinsics.clone()
    intrinsics[..., 0, 2] = batch.images.shape[-1] - 1 - intrinsics[..., 0, 2]
    intrinsics[..., 0, 1] *= -1
    boxes = targets.boxes * torch.tensor([1.0, -1, 1, 1, 1, 1, -1, 1, -1])
    points = [p * torch.tensor([1.0, -1.0, 1.0]) for p in targets.points]
    poses = ego @ batch.T_ego_camera @ camera
    return replace(batch, images=batch.images.flip(-1), intrinsics=intrinsics, T_ego_camera=poses), replace(
        targets, boxes=boxes, points=points
    )


def rotated(batch: Batch, targets: Targets, angles: Tensor) -> tuple[Batch, Targets]:
    """The same world in ego axes turned by ``angles`` (B,) radians about the vertical."""
    cos, sin = angles.cos(), angles.sin()
    turn = torch.zeros(len(angles), 4, 4)
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = cos, -sin, sin, cos
    turn[:, 2, 2] = turn[:, 3, 3] = 1.0
    boxes = targets.boxes.clone()
    plane = turn[:, :2, :2].transpose(1, 2)
    boxes[..., :2] = targets.boxes[..., :2] @ plane
    boxes[..., 7:9] = targets.boxes[..., 7:9] @ plane
    boxes[..., 6] = targets.boxes[..., 6] + angles[:, None]
    points = [p @ turn[i, :3, :3].T for i, p in enumerate(targets.points)]
    return replace(batch, T_ego_camera=turn[:, None] @ batch.T_ego_camera), replace(targets, boxes=boxes, points=points)


def _photometric(images: Tensor, settings: Augmentation) -> Tensor:
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

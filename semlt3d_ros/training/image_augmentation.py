"""Augmentation of single images: other crops, small turns, hidden squares; cameras follow what happens to their pixels.

Nothing of the world changes here, so each view of each frame may be drawn for itself: a memory notices nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.geometry import MIN_DEPTH_M, project
from semlt3d_ros.training.augmentation_settings import Augmentation

_HIDDEN_SHARE = 0.5
"""Side of a hidden square relative to the period of the grid, as in StreamPETR: a quarter of the pixels is hidden."""
_LEAST_PERIOD_PX = 8
_GREY = 114
"""What hidden pixels are: near the mean that the features subtract."""


def reframed(batch: Batch, zoom: Tensor, place: Tensor, roll: Tensor) -> Batch:
    """Views enlarged, cut out anew and turned in their planes, with the intrinsics and poses that belong to them.

    What was not in an image is black. A turn in the image plane is one of the camera about its axis.

    Args:
        batch: the frames.
        zoom: (B, V) factor on sizes in the image; above 1 it shows less, below 1 it leaves a black border.
        place: (B, V, 2) in [0, 1] across and down, which part of the enlarged image is kept: 0 its left or top end.
        roll: (B, V) radians that the image turns by, clockwise as one looks at it.
    """
    height, width = batch.images.shape[-2:]
    size = torch.tensor([width, height], dtype=torch.float32)
    frame = torch.zeros(*zoom.shape, 3, 3)
    frame[..., 0, 0], frame[..., 1, 1], frame[..., 2, 2] = zoom, zoom, 1.0
    # Pixel centres are whole numbers: the left edge of the image is at -0.5.
    frame[..., :2, 2] = (zoom[..., None] - 1) * 0.5 - place * (zoom[..., None] - 1) * size
    turn = torch.zeros(*roll.shape, 4, 4)
    turn[..., 0, 0], turn[..., 0, 1], turn[..., 1, 0], turn[..., 1, 1] = roll.cos(), -roll.sin(), roll.sin(), roll.cos()
    turn[..., 2, 2] = turn[..., 3, 3] = 1.0
    intrinsics = frame @ batch.intrinsics
    # From a pixel of the new image to its place in the old one: affine, since turns about the axis leave depth alone.
    back = batch.intrinsics @ turn[..., :3, :3].transpose(-1, -2) @ torch.linalg.inv(intrinsics)
    images = _resampled(batch.images.flatten(0, 1), back.flatten(0, 1)).unflatten(0, zoom.shape)
    T_ego_camera = batch.T_ego_camera @ turn.transpose(-1, -2)
    return replace(batch, images=images, intrinsics=intrinsics, T_ego_camera=T_ego_camera)


def reframed_at_random(batch: Batch, settings: Augmentation) -> Batch:
    """Every view with a crop and a turn of its own; the batch itself where neither is asked for."""
    if settings.zoom == (1.0, 1.0) and not settings.roll_deg:
        return batch
    shape = batch.valid.shape
    zoom = torch.empty(shape).uniform_(*(math.log(end) for end in settings.zoom)).exp()
    roll = (torch.rand(shape) * 2 - 1) * math.radians(settings.roll_deg)
    return reframed(batch, zoom, torch.rand(*shape, 2), roll)


def hidden_behind_grids(images: Tensor, chance: float) -> Tensor:
    """Images (B, V, 3, H, W) uint8, some of them behind a grid of grey squares (GridMask, Chen et al., 2020).

    Args:
        images: the views.
        chance: of each view.
    """
    if not chance:
        return images
    images = images.clone()
    for frame, view in torch.nonzero(torch.rand(images.shape[:2]) < chance).tolist():
        images[frame, view].masked_fill_(_grid(*images.shape[-2:]), _GREY)
    return images


def out_of_sight(batch: Batch, before: Batch, centers: Tensor) -> Tensor:
    """(B, T) whether points (B, T, 3), in the ego frame, were in a valid view before and are in none now."""
    return _seen(before, centers) & ~_seen(batch, centers)


def _seen(batch: Batch, points: Tensor) -> Tensor:
    pixels, depth = project(points, batch.intrinsics, batch.T_ego_camera)
    limit = torch.tensor(batch.images.shape[-1:-3:-1]) - 0.5
    within = (depth > MIN_DEPTH_M) & (pixels > -0.5).all(-1) & (pixels < limit).all(-1)
    return (within & batch.valid[..., None]).any(1)


def _grid(height: int, width: int) -> Tensor:
    """(H, W) bool, where squares of a grid of random period and place lie."""
    period = int(torch.randint(min(_LEAST_PERIOD_PX, height), height + 1, ()))
    hidden = max(1, round(period * _HIDDEN_SHARE))
    rows, columns = ((torch.arange(size) + torch.randint(period, ())) % period < hidden for size in (height, width))
    return rows[:, None] & columns


def _resampled(images: Tensor, back: Tensor) -> Tensor:
    """Images (N, 3, H, W) uint8 whose pixel p shows what was at ``back`` (N, 3, 3) times p; black where nothing was."""
    height, width = images.shape[-2:]
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    target = torch.stack([u, v, torch.ones_like(u)], dim=-1).float()
    source = (back[:, None, None] @ target[..., None])[..., :2, 0]
    # grid_sample's own coordinates: -1 and 1 are the outer edges of the image.
    grid = (source + 0.5) * 2 / torch.tensor([width, height]) - 1
    sampled = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.round_().clamp_(0, 255).to(torch.uint8)

"""Images made of depth: a frame's LiDAR points as its cameras would see them, densified.

MonoSTL's teacher (Ding et al., IEEE TCSVT 2024) is the student's own architecture on such images. The holes between the
points are closed by morphology, as in IP-Basic (Ku et al., CRV 2018), where the nearest surface wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.geometry import MIN_DEPTH_M, project

FARTHEST_M = 80.0
"""Farther points are not shown; MonoSTL and CaDDN end there too."""
_LOWEST_M, _HIGHEST_M = -3.0, 6.0
"""Heights in the ego frame that are told apart."""


def seeing_depth(batch: Batch, points: Sequence[Tensor]) -> Batch:
    """The same frames with images of depth in place of those of light.

    The channels are depth, its logarithm and the height in the ego frame, each from 1 to 255; 0 is where nothing is
    known. A frame without points, and a view that is not there, shows nothing.

    Args:
        batch: B frames.
        points: of each (P, 3) in its ego frame.
    """
    depth = densified(nearest_depths(batch, points).flatten(0, 1)).unflatten(0, batch.valid.shape)
    return replace(batch, images=_images(depth, batch))


def nearest_depths(batch: Batch, points: Sequence[Tensor]) -> Tensor:
    """(B, V, H, W) depth along the optical axis of the nearest point in each pixel, 0 where there is none."""
    height, width = batch.images.shape[-2:]
    nearest = torch.full((*batch.valid.shape, height * width), torch.inf, device=batch.images.device)
    for b, found in enumerate(points):
        if len(found) == 0:
            continue
        pixels, depth = project(found[None], batch.intrinsics[b : b + 1], batch.T_ego_camera[b : b + 1])
        pixels, depth = pixels[0].round(), depth[0]
        inside = (depth > MIN_DEPTH_M) & (depth <= FARTHEST_M) & (pixels >= 0).all(-1)
        inside &= (pixels[..., 0] < width) & (pixels[..., 1] < height) & batch.valid[b][:, None]
        place = (pixels[..., 1] * width + pixels[..., 0]).nan_to_num().clamp(0, height * width - 1).long()
        nearest[b].scatter_reduce_(1, place, torch.where(inside, depth, torch.inf), "amin")
    return torch.where(nearest.isfinite(), nearest, 0.0).unflatten(2, (height, width))


def densified(depth: Tensor) -> Tensor:
    """Depth (N, H, W), 0 where unknown, without the holes between points, into which the nearer surfaces grow."""
    hit = torch.where(depth > 0, FARTHEST_M + 1.0 - depth, 0.0)[:, None]  # the nearer, the larger; nothing is 0
    # A diamond of 5 x 5, from the three windows that it consists of.
    near = torch.stack([_most(hit, 3, 3), _most(hit, 5, 1), _most(hit, 1, 5)]).amax(0)
    # What was measured stays: nearer surfaces would grow over the ground in front of a camera by metres.
    near = torch.where(hit > 0, hit, near)
    near = -_most(-_most(near, 5, 5), 5, 5)
    near = torch.where(near > 0, near, _most(near, 7, 7))[:, 0]
    return torch.where(near > 0, FARTHEST_M + 1.0 - near, 0.0)


def _most(values: Tensor, rows: int, columns: int) -> Tensor:
    down = F.max_pool2d(values, (rows, 1), stride=1, padding=(rows // 2, 0))
    return F.max_pool2d(down, (1, columns), stride=1, padding=(0, columns // 2))


def _images(depth: Tensor, batch: Batch) -> Tensor:
    """(B, V, 3, H, W) uint8 of depth (B, V, H, W)."""
    height, width = depth.shape[-2:]
    v, u = torch.meshgrid(
        torch.arange(height, device=depth.device), torch.arange(width, device=depth.device), indexing="ij"
    )
    up = (batch.T_ego_camera[..., None, 2, :3] @ torch.linalg.inv(batch.intrinsics))[..., 0, :]
    rise = up[..., 0, None, None] * u + up[..., 1, None, None] * v + up[..., 2, None, None]
    z = batch.T_ego_camera[..., 2, 3][..., None, None] + rise * depth
    linear = depth / FARTHEST_M
    logarithm = (depth.clamp_min(MIN_DEPTH_M) / MIN_DEPTH_M).log() / math.log(FARTHEST_M / MIN_DEPTH_M)
    raised = (z - _LOWEST_M) / (_HIGHEST_M - _LOWEST_M)
    values = 1.0 + 254.0 * torch.stack([linear, logarithm, raised], dim=2).clamp(0.0, 1.0)
    return torch.where(depth[:, :, None] > 0, values.round(), 0.0).to(torch.uint8)

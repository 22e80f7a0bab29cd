"""Maps looked up where something is seen: at cells between cells, at projected points, in regions of objects."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.gather import gather_sum
from semlt3d_ros.student.geometry import MIN_DEPTH_M, box_corners, project


def sampled(maps: Tensor, image: Tensor, pixels: Tensor, stride: int) -> Tensor:
    """(P, C) bilinear samples of maps (B, V, h, w, C) float32, the outermost cells going on for ever.

    Args:
        maps: one for each image.
        image: (P,) which of the B * V images.
        pixels: (P, 2) where in the image, u and v.
        stride: pixels per cell.
    """
    height, width, channels = maps.shape[-3:]
    last = pixels.new_tensor([width - 1, height - 1])
    cell = ((pixels + 0.5) / stride - 0.5).nan_to_num().clamp_min(0.0).minimum(last)
    low = cell.floor().minimum((last - 1).clamp_min(0.0))
    right, down = (cell - low).unbind(-1)
    column, row = low.long().unbind(-1)
    start = (image * height + row) * width + column
    # A map of a single row or column has no other one; its weight is 0.
    steps = [0, 1 if width > 1 else 0, width if height > 1 else 0]
    index = torch.stack([start, start + steps[1], start + steps[2], start + steps[1] + steps[2]], -1)
    weights = torch.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], -1)
    return gather_sum(maps.reshape(-1, channels), index, weights)


def mapped(homography: Tensor, pixels: Tensor) -> Tensor:
    """(..., 2) pixels (..., 2) taken along by (..., 3, 3)."""
    moved = (homography[..., :2] @ pixels[..., None])[..., 0] + homography[..., 2]
    return moved[..., :2] / moved[..., 2:]


def first_view(points: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The first view of each point that shows it.

    Args:
        points: (B, N, 3) in the ego frame.
        batch: the views.

    Returns:
        Whether there is one (B, N), which (B, N), and the pixel in it (B, N, 2); of points without one the last two
        mean nothing.
    """
    pixels, depth = project(points, batch.intrinsics, batch.T_ego_camera)
    size = torch.tensor(batch.images.shape[-1:-3:-1], device=pixels.device)
    shown = (depth > MIN_DEPTH_M) & (pixels > -0.5).all(-1) & (pixels < size - 0.5).all(-1) & batch.valid[..., None]
    view = shown.float().argmax(1)
    chosen = pixels.gather(1, view[:, None, :, None].expand(-1, 1, -1, 2))[:, 0]
    return shown.any(1), view, chosen


@dataclass
class Regions:
    """Where T objects are in V views.

    Attributes:
        bounds: (B, V, T, 4) left, top, right, bottom of what the image shows of the box's corners, in pixels.
        seen: (B, V, T) bool, whether it shows any of them.
        centered: (B, V, T) bool, whether it shows the centre.
    """

    bounds: Tensor
    seen: Tensor
    centered: Tensor


def regions_of(targets: Targets, batch: Batch, there: Tensor) -> Regions:
    """The objects in the views of the frames that are ``there`` (B,)."""
    boxes = targets.boxes
    # The centre is the ninth. What is behind the camera is taken for very near, so that the region reaches the border.
    points = torch.cat([box_corners(boxes), boxes[:, :, None, :3]], dim=2)
    pixels, depth = project(points.flatten(1, 2), batch.intrinsics, batch.T_ego_camera)
    pixels, front = pixels.unflatten(2, points.shape[1:3]), (depth > MIN_DEPTH_M).unflatten(2, points.shape[1:3])
    size = torch.tensor(batch.images.shape[-1:-3:-1], device=boxes.device)
    low, high = pixels.amin(3), pixels.amax(3)
    real = (targets.classes >= 0)[:, None] & batch.valid[..., None] & there[:, None, None] & front.any(-1)
    center = pixels[..., -1, :]
    centered = real & front[..., -1] & (center > -0.5).all(-1) & (center < size - 0.5).all(-1)
    seen = real & (high > -0.5).all(-1) & (low < size - 0.5).all(-1)
    bounds = torch.cat([low.clamp_min(-0.5), high.minimum(size - 0.5)], -1)
    return Regions(torch.where(seen[..., None], bounds, 0.0), seen, centered)


def spread(bounds: Tensor, cells: int) -> Tensor:
    """(K, cells * cells, 2) pixels spread evenly over regions (K, 4) left, top, right, bottom, row by row."""
    step = (torch.arange(cells, device=bounds.device) + 0.5) / cells
    share = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1).flatten(0, 1)
    low, high = bounds.chunk(2, -1)
    return low[:, None] + share * (high - low)[:, None]

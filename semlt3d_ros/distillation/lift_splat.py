"""Image features on the ground: lifted along their rays by a depth distribution, splat into a bird's-eye view.

Lift-splat (Philion and Fidler, ECCV 2020), as CMKD's student has it (papers: CaDDN's frustum features).
"""

from __future__ import annotations

import torch
from torch import Tensor

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.geometry import cell_centers


def splat(
    features: Tensor,
    depth: Tensor,
    depths_m: Tensor,
    batch: Batch,
    stride: int,
    T_map_ego: Tensor,
    grid: BevGrid,
    heights_m: tuple[float, float] = (-3.0, 5.0),
) -> tuple[Tensor, Tensor]:
    """Features of V views as a map.

    Args:
        features: (B, V, C, h, w).
        depth: (B, V, D, h, w) share of each depth, of sum 1 over D at the most.
        depths_m: (D,) the depths along the optical axis in metres.
        batch: the cameras; views that are not there give nothing.
        stride: pixels per cell of the features.
        T_map_ego: (B, 4, 4) from the ego frame of the batch to the frame of the map.
        grid: of the map.
        heights_m: what is lower or higher in the frame of the map is left out.

    Returns:
        The map (B, C, rows, columns), and how much of all distributions fell into each cell (B, rows, columns).
    """
    B, V, C, h, w = features.shape
    cells = B * grid.rows * grid.columns
    place = _places(depths_m, batch, (h, w), stride, T_map_ego, grid, heights_m)
    kept = torch.nonzero(place.flatten() < cells)[:, 0]
    target = place.flatten()[kept]
    bins = len(depths_m)
    # Of the flat (B, V, D, h, w) index, which pixel: the same without D.
    view, pixel = kept // (bins * h * w), kept % (h * w)
    weight = depth.float().reshape(-1)[kept]
    shown = features.float().permute(0, 1, 3, 4, 2).reshape(B * V * h * w, C)[view * (h * w) + pixel]
    summed = features.new_zeros(cells, C, dtype=torch.float32).index_add(0, target, shown * weight[:, None])
    mass = features.new_zeros(cells, dtype=torch.float32).index_add(0, target, weight)
    maps = summed.view(B, grid.rows, grid.columns, C).permute(0, 3, 1, 2)
    return maps, mass.view(B, grid.rows, grid.columns)


def _places(
    depths_m: Tensor,
    batch: Batch,
    size: tuple[int, int],
    stride: int,
    T_map_ego: Tensor,
    grid: BevGrid,
    heights_m: tuple[float, float],
) -> Tensor:
    """(B, V, D, h, w) place in flat maps (B, rows, columns); as many as there are cells for what falls beside them."""
    pixels = cell_centers(*size, stride, depths_m.device)
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)
    T_map_camera = T_map_ego[:, None].to(batch.T_ego_camera) @ batch.T_ego_camera
    rays = T_map_camera[..., :3, :3] @ torch.linalg.inv(batch.intrinsics)
    rays = torch.einsum("bvij,hwj->bvihw", rays, homogeneous)
    points = T_map_camera[..., :3, 3, None, None, None] + rays[:, :, :, None] * depths_m[:, None, None]
    column = ((points[:, :, 0] - grid.x0) / grid.cell_m).floor()
    row = ((points[:, :, 1] - grid.y0) / grid.cell_m).floor()
    inside = (column >= 0) & (column < grid.columns) & (row >= 0) & (row < grid.rows)
    inside &= (points[:, :, 2] >= heights_m[0]) & (points[:, :, 2] < heights_m[1])
    inside &= batch.valid[:, :, None, None, None]
    frame = torch.arange(len(batch.valid), device=column.device)[:, None, None, None, None]
    place = (frame * grid.rows + row) * grid.columns + column
    return torch.where(inside, place, len(batch.valid) * grid.rows * grid.columns).long()

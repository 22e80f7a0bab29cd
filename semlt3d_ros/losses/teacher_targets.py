"""What a teacher's head maps should be, from boxes (CenterPoint, Yin et al., CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.teacher.config import TeacherConfig

_LEAST_RADIUS = 2.0
"""Cells, as in CenterPoint."""
_LEAST_OVERLAP = 0.1
"""Of a box with one whose corners lie a radius away."""
_EYE_HEIGHT_M = 0.8
"""Height of the points by which it is told whether a cell lies where everything is labelled."""


@dataclass
class TaskTargets:
    """What one task's maps should be, for M objects of B clouds whose centres lie in a cell.

    Attributes:
        heat: (B, n, rows, columns) in [0, 1], 1 at the cells of centres.
        cloud, label, row, column: (M,) place of each centre: number of the cloud, class within the task, cell.
        values: (M, 10) offset in the cell (2), height, logarithms of the sizes (3), sine and cosine of the heading,
            velocity (2); NaN where unknown.
    """

    heat: Tensor
    cloud: Tensor
    label: Tensor
    row: Tensor
    column: Tensor
    values: Tensor


def center_targets(targets: Targets, config: TeacherConfig, grid: BevGrid) -> list[TaskTargets]:
    """Targets of every task.

    Args:
        targets: objects in the model's frame.
        config: of the teacher.
        grid: of its maps, which may be a part of the range.
    """
    found = []
    for task in config.tasks:
        table = torch.full((len(config.class_names) + 1,), -1, device=targets.classes.device)  # the last is padding's
        for label, name in enumerate(task):
            table[config.class_names.index(name)] = label
        found.append(_of_task(targets, table[targets.classes], len(task), grid))
    return found


def judged_cells(targets: Targets, grid: BevGrid) -> Tensor | None:
    """(B, rows, columns) cells in which everything is labelled; None where all are."""
    if targets.unjudged is None:
        return None
    centers = torch.from_numpy(grid.centers()).to(targets.boxes.device).flatten(0, 1)
    points = torch.cat([centers, centers.new_full((len(centers), 1), _EYE_HEIGHT_M)], 1)
    silent = targets.unjudged.at(points.expand(len(targets.boxes), -1, -1))
    return ~silent.unflatten(1, (grid.rows, grid.columns))


def _of_task(targets: Targets, labels: Tensor, classes: int, grid: BevGrid) -> TaskTargets:
    boxes = targets.boxes
    x = (boxes[..., 0] - grid.x0) / grid.cell_m
    y = (boxes[..., 1] - grid.y0) / grid.cell_m
    inside = (labels >= 0) & (x >= 0) & (x < grid.columns) & (y >= 0) & (y < grid.rows)
    cloud, place = torch.nonzero(inside, as_tuple=True)
    rows = boxes[cloud, place]
    label, x, y = labels[cloud, place], x[cloud, place], y[cloud, place]
    column, row = x.long(), y.long()
    yaw = rows[:, 6:7]
    values = torch.cat(
        [
            torch.stack([x - column, y - row], 1),
            rows[:, 2:3],
            rows[:, 3:6].clamp_min(0.01).log(),
            yaw.sin(),
            yaw.cos(),
            rows[:, 7:9],
        ],
        dim=1,
    )
    heat = boxes.new_zeros(len(boxes) * classes, grid.rows * grid.columns)
    if len(rows):
        radius = gaussian_radius(rows[:, 3] / grid.cell_m, rows[:, 4] / grid.cell_m).floor().clamp_min(_LEAST_RADIUS)
        bumps = _gaussians(column, row, radius, grid)
        heat.scatter_reduce_(0, (cloud * classes + label)[:, None].expand_as(bumps), bumps, "amax")
    heat = heat.view(len(boxes), classes, grid.rows, grid.columns)
    return TaskTargets(heat, cloud, label, row, column, values)


def _gaussians(column: Tensor, row: Tensor, radius: Tensor, grid: BevGrid) -> Tensor:
    """(M, rows * columns) bumps around cells, nothing beyond their radius."""
    spread = 2 * ((2 * radius + 1) / 6)[:, None] ** 2

    def along(place: Tensor, count: int) -> Tensor:
        away = torch.arange(count, device=place.device) - place[:, None]
        bump = (-(away**2) / spread).exp()
        return torch.where(away.abs() <= radius[:, None], bump, torch.zeros_like(bump))

    return (along(row, grid.rows)[:, :, None] * along(column, grid.columns)[:, None]).flatten(1)


def gaussian_radius(length: Tensor, width: Tensor, overlap: float = _LEAST_OVERLAP) -> Tensor:
    """How far the corners of a box may move so that it still overlaps the true one (CornerNet, Law, ECCV 2018).

    Args:
        length, width: (M,) of the boxes, in cells.
        overlap: least intersection over union.

    Returns:
        (M,) cells: the least of three cases, both corners moved together, inwards, outwards.
    """
    total, area = length + width, length * width
    together = (total - (total**2 - 4 * area * (1 - overlap) / (1 + overlap)).clamp_min(0).sqrt()) / 2
    inwards = (total - (total**2 - 4 * area * (1 - overlap)).clamp_min(0).sqrt()) / 4
    outwards = (-total * overlap + ((total * overlap) ** 2 + 4 * overlap * (1 - overlap) * area).sqrt()) / (4 * overlap)
    return torch.minimum(torch.minimum(together, inwards), outwards)

"""From head maps to boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semlt3d_ros.teacher.config import TeacherConfig


@dataclass
class TaskBoxes:
    """Boxes of one task and one cloud, best first, in the model's frame.

    Attributes:
        boxes: (K, 9) x y z l w h yaw vx vy, z of the middle; velocities NaN where none are predicted.
        scores: (K,) confidence in the label.
        labels: (K,) class within the task.
        cells: (K,) place in a flat (rows, columns) map.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    cells: Tensor

    def __getitem__(self, chosen: Tensor) -> TaskBoxes:
        return TaskBoxes(self.boxes[chosen], self.scores[chosen], self.labels[chosen], self.cells[chosen])


def cell_boxes(maps: dict[str, Tensor], config: TeacherConfig) -> Tensor:
    """(B, 9, rows, columns) the box at every cell of one task's maps: x y z l w h yaw vx vy in the model's frame."""
    maps = {name: values.float() for name, values in maps.items()}
    grid = config.grid
    offset = maps["offset"]
    columns = torch.arange(grid.columns, device=offset.device, dtype=torch.float32)
    rows = torch.arange(grid.rows, device=offset.device, dtype=torch.float32)[:, None]
    x = (columns + offset[:, 0]) * grid.cell_m + grid.x0
    y = (rows + offset[:, 1]) * grid.cell_m + grid.y0
    sizes = maps["size"].exp()
    sine, cosine = maps["heading"].unbind(1) if config.heading == "sin_cos" else maps["heading"].flip(1).unbind(1)
    yaw = torch.atan2(sine, cosine)
    if config.size_order == "wlh":
        sizes = sizes[:, [1, 0, 2]]
        yaw = -yaw - math.pi / 2
    velocity = maps["velocity"] if "velocity" in maps else torch.full_like(offset, torch.nan)
    parts = [torch.stack([x, y, maps["height"][:, 0]], 1), sizes, yaw[:, None], velocity]
    return torch.cat(parts, 1)


def best_cells(maps: dict[str, Tensor], config: TeacherConfig) -> list[TaskBoxes]:
    """The best pairs of cell and class of one task, by cloud: as many as the config detects, above its score, with
    centres in its range."""
    probability = maps["heat"].float().sigmoid()
    classes, cells = probability.shape[1], probability.shape[2] * probability.shape[3]
    scores, index = probability.flatten(1).topk(min(config.detections, classes * cells), dim=1)
    boxes = cell_boxes(maps, config).flatten(2)
    low, high = (boxes.new_tensor(each) for each in (config.center_range[:3], config.center_range[3:]))
    found = []
    for cloud in range(len(scores)):
        cell = index[cloud] % cells
        each = TaskBoxes(boxes[cloud, :, cell].T, scores[cloud], index[cloud] // cells, cell)
        middle = each.boxes[:, :3]
        inside = (middle >= low).all(1) & (middle <= high).all(1)
        found.append(each[(each.scores > config.score) & inside & torch.isfinite(each.boxes[:, :7]).all(1)])
    return found


def circle_suppressed(found: TaskBoxes, squared_distance: float) -> TaskBoxes:
    """The boxes without those that have a better one within a distance on the ground.

    Args:
        found: best first.
        squared_distance: what squared distances are compared with, as published models compare them.
    """
    kept = _kept(found.boxes[:, :2].cpu().numpy().astype(np.float64), squared_distance)
    return found[torch.as_tensor(kept, device=found.scores.device)]


def _kept(centers: NDArray[np.float64], squared_distance: float) -> NDArray[np.int64]:
    near = np.square(centers[:, None] - centers[None]).sum(-1) <= squared_distance
    gone = np.zeros(len(centers), np.bool_)
    for place in range(len(centers)):
        if not gone[place]:
            gone[place + 1 :] |= near[place, place + 1 :]
    return np.flatnonzero(~gone)

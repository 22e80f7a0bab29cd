"""The teacher network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.teacher.center_head import CenterHead
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.pillars import PillarEncoder, Pillars
from semlt3d_ros.teacher.point_head import PointHead
from semlt3d_ros.teacher.trunk import Trunk


@dataclass
class TeacherOutput:
    """What a teacher says of B clouds.

    Attributes:
        bev: (B, C, rows, columns) features of the trunk.
        tasks: for each task its maps by name (see ``CenterHead``).
        occupied: (B, rows, columns) bool, cells of these maps that hold points.
        pillars: of the points that are in range.
        point_features: (N, width) of those points; None without point classes.
        point_logits: (N, classes) of those points; None without point classes.
    """

    bev: Tensor
    tasks: list[dict[str, Tensor]]
    occupied: Tensor
    pillars: Pillars
    point_features: Tensor | None = None
    point_logits: Tensor | None = None


class Teacher(nn.Module):
    """LiDAR detector: CenterPoint on pillars, with classes of points where the config names some."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        self.pillars = PillarEncoder(config)
        self.trunk = Trunk(config)
        self.head = CenterHead(config)
        self.points = PointHead(config) if config.point_classes else None

    @property
    def grid(self) -> BevGrid:
        """Where the cells of its maps are, in the model's frame."""
        return self.config.grid

    def forward(self, clouds: list[Tensor], window: TeacherConfig | None = None) -> TeacherOutput:
        """Detect objects.

        Args:
            clouds: (N_i, 5) each: x, y, z in the model's frame in metres, intensity in [0, 1], seconds since the point
                was measured.
            window: the config with another ``point_range``: the part of the world to look at, where not all of it.
        """
        config = window or self.config
        canvas, pillars, point_features = self.pillars(clouds, config)
        bev = self.trunk(canvas)
        output = TeacherOutput(bev, self.head(bev), _occupied(pillars, len(clouds), config), pillars)
        if self.points is not None:
            output.point_features = self.points.features(pillars, point_features, bev, config.grid)
            output.point_logits = self.points.classify(output.point_features)
        return output


def _occupied(pillars: Pillars, clouds: int, config: TeacherConfig) -> Tensor:
    columns, rows = config.canvas
    canvas = torch.zeros(clouds * rows * columns, dtype=torch.bool, device=pillars.cells.device)
    canvas[pillars.cells] = True
    stride, grid = config.stride, config.grid
    return canvas.view(clouds, grid.rows, stride, grid.columns, stride).any(4).any(2)

"""What every point lies on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.pillars import Pillars

POINT_WIDTH = 48
"""Channels of the points' features."""


class PointHead(nn.Module):
    """Class logits of points, from what their pillar's layers say of them and from the map's feature around them.

    Attributes:
        width: channels of the points' features.
    """

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.width = POINT_WIDTH
        inputs = config.pillar_layers[-1] + sum(config.up_widths) + 2
        self.mix = nn.Sequential(nn.Linear(inputs, self.width), nn.BatchNorm1d(self.width), nn.ReLU(inplace=True))
        self.classify = nn.Linear(self.width, len(config.point_classes))

    def features(self, pillars: Pillars, points: Tensor, bev: Tensor, grid: BevGrid) -> Tensor:
        """(N, width) features of the points in range.

        Args:
            pillars: of them.
            points: (N, C) features of the last pillar layer.
            bev: (B, C, rows, columns) of the trunk.
            grid: where its cells are.
        """
        around = at_points(bev, pillars, grid)
        height = pillars.points[:, 2:3]
        inputs = torch.cat([points, around, height, height.abs().sqrt()], 1)
        if self.training and len(inputs) < 2:
            inputs = torch.cat([inputs, inputs.new_zeros(2, inputs.shape[1])])
        mixed: Tensor = self.mix(inputs)
        return mixed[: len(points)]


def at_points(bev: Tensor, pillars: Pillars, grid: BevGrid) -> Tensor:
    """(N, C) a map (B, C, rows, columns) of ``grid`` at the points of pillars."""
    place = (pillars.points[:, :2] - pillars.points.new_tensor([grid.x0, grid.y0])) / grid.cell_m
    column = place[:, 0].long().clamp(0, grid.columns - 1)
    row = place[:, 1].long().clamp(0, grid.rows - 1)
    return bev.permute(0, 2, 3, 1)[pillars.cloud, row, column]

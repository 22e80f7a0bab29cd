"""Points to a map of pillars (PointPillars, Lang et al., CVPR 2019), with no limit on points or pillars."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.teacher.config import TeacherConfig


@dataclass
class Pillars:
    """The points of B clouds that are in range, sorted into P pillars.

    Attributes:
        points: (N, 5) x, y, z, intensity, lag in the model's frame.
        cloud: (N,) number of the cloud.
        kept: (N,) places of the points in the clouds, one cloud after the other.
        pillar: (N,) number of the pillar.
        cells: (P,) place of each pillar in a flat (B, rows, columns) canvas; ascending.
        counts: (P,) points of each.
    """

    points: Tensor
    cloud: Tensor
    kept: Tensor
    pillar: Tensor
    cells: Tensor
    counts: Tensor


def sort_into_pillars(clouds: list[Tensor], config: TeacherConfig) -> Pillars:
    """Pillars of clouds (N_i, 5); points that are out of range, not finite or too many are left out."""
    points = torch.cat(clouds) if len(clouds) > 1 else clouds[0]
    sizes = torch.tensor([len(each) for each in clouds], device=points.device)
    cloud = torch.repeat_interleave(torch.arange(len(clouds), device=points.device), sizes)
    low, high = (points.new_tensor(each) for each in (config.point_range[:3], config.point_range[3:]))
    columns, rows = config.canvas
    place = torch.floor((points[:, :2] - low[:2]) / config.pillar_m)
    inside = (points[:, :3] >= low).all(1) & (points[:, :3] < high).all(1) & torch.isfinite(points).all(1)
    inside &= (place[:, 0] < columns) & (place[:, 1] < rows)
    kept = torch.nonzero(inside)[:, 0]
    points, cloud, place = points[kept], cloud[kept], place[kept].long()
    cell = (cloud * rows + place[:, 1]) * columns + place[:, 0]
    cells, pillar, counts = cell.unique(return_inverse=True, return_counts=True)
    if config.max_points:
        first = _rank_within(pillar, counts) < config.max_points
        points, cloud, kept, pillar = points[first], cloud[first], kept[first], pillar[first]
        counts = counts.clamp_max(config.max_points)
    return Pillars(points, cloud, kept, pillar, cells, counts)


def _rank_within(pillar: Tensor, counts: Tensor) -> Tensor:
    """(N,) how many points of the same pillar come before each, in the order of the input."""
    order = pillar.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(pillar)
    rank[order] = torch.arange(len(pillar), device=pillar.device) - starts[pillar[order]]
    return rank


class _PillarLayer(nn.Module):
    """Linear, normalisation, and the maximum of each pillar; unless it is the last, joined to the points again."""

    def __init__(self, inputs: int, width: int, last: bool, epsilon: float) -> None:
        super().__init__()
        self.last = last
        units = width if last else width // 2
        self.linear = nn.Linear(inputs, units, bias=False)
        self.norm = nn.BatchNorm1d(units, eps=epsilon, momentum=0.01)

    def forward(
        self, features: Tensor, pillars: Pillars, padding: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features of points (N, .), of pillars (P, width), and of the padding (P, .) of each pillar.

        ``padding`` is what stands in the places of a pillar that has fewer points than it may; NaN where it is full,
        None where pillars have no such places.
        """
        values = F.relu(self._normalised(self.linear(features)))
        most = values.new_zeros(len(pillars.cells), values.shape[1])
        index = pillars.pillar[:, None].expand_as(values)
        most = most.scatter_reduce(0, index, values, "amax", include_self=False)
        if padding is not None:
            padding = F.relu(self._normalised(self.linear(padding)))
            most = torch.where(padding.isnan(), most, torch.maximum(most, padding))
        if self.last:
            return values, most, padding
        joined = None if padding is None else torch.cat([padding, most], 1)
        return torch.cat([values, most[pillars.pillar]], 1), most, joined

    def _normalised(self, values: Tensor) -> Tensor:
        if self.training and len(values) < 2:  # statistics need two
            return F.batch_norm(
                values, self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias,
                eps=self.norm.eps,
            )  # fmt: skip
        normed: Tensor = self.norm(values)
        return normed


class PillarEncoder(nn.Module):
    """Points decorated with their offsets from the mean and from the middle of their pillar, layers, scatter."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        told = {"intensity_lag": 2, "intensity": 1, "lag": 1, "none": 0}[config.point_features]
        inputs = 3 + told + 3 + (3 if config.center_z else 2)
        layers = []
        for number, width in enumerate(config.pillar_layers):
            last = number + 1 == len(config.pillar_layers)
            layers.append(_PillarLayer(inputs, width, last, config.trunk_epsilon))
            inputs = width
        self.layers = nn.ModuleList(layers)

    def forward(self, clouds: list[Tensor], config: TeacherConfig) -> tuple[Tensor, Pillars, Tensor]:
        """The canvas (B, C, rows, columns) of clouds (N_i, 5), their pillars, and features (N, C) of the points."""
        pillars = sort_into_pillars(clouds, config)
        features = _decorated(pillars, config)
        most, padding = features, None
        if config.max_points and not self.training:  # statistics are of points, not of places without one
            full = pillars.counts >= config.max_points
            padding = features.new_zeros(len(full), features.shape[1]).masked_fill(full[:, None], torch.nan)
        for layer in self.layers:
            features, most, padding = layer(features, pillars, padding)
        columns, rows = config.canvas
        canvas = most.new_zeros(len(clouds) * rows * columns, most.shape[1])
        canvas = canvas.index_copy(0, pillars.cells, most)
        return canvas.view(len(clouds), rows, columns, -1).permute(0, 3, 1, 2), pillars, features


def _decorated(pillars: Pillars, config: TeacherConfig) -> Tensor:
    """(N, .) what a layer sees of each point."""
    points = pillars.points
    xyz = points[:, :3]
    sums = xyz.new_zeros(len(pillars.cells), 3).index_add_(0, pillars.pillar, xyz)
    mean = sums / pillars.counts[:, None]
    grid = config.pillar_grid
    cell = pillars.cells % (grid.rows * grid.columns)
    middle_z = (config.point_range[2] + config.point_range[5]) / 2
    middle = torch.stack(
        [
            grid.x0 + (cell % grid.columns + 0.5) * grid.cell_m,
            grid.y0 + (cell // grid.columns + 0.5) * grid.cell_m,
            torch.full_like(cell, 1, dtype=xyz.dtype) * middle_z,
        ],
        dim=1,
    ).to(xyz)
    offset = xyz - middle[pillars.pillar]
    told = [xyz]
    if "intensity" in config.point_features:
        told.append(points[:, 3:4] * config.intensity_scale)
    if "lag" in config.point_features:
        told.append(points[:, 4:5])
    told += [xyz - mean[pillars.pillar], offset if config.center_z else offset[:, :2]]
    return torch.cat(told, 1)

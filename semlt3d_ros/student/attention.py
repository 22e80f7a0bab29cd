"""Cross-attention of queries to image features sampled at projected key points (as in Far3D and Sparse4D)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.gather import gather_sum
from semlt3d_ros.student.geometry import MIN_DEPTH_M, from_ray_frame, project, ray_axes

_KEY_POINT_REACH_M = 4.0
_START_POINTS = torch.tensor(
    [[0, 0, 0], [0, 0, 0.8], [0, 0, -0.8], [0, 0.8, 0], [0, -0.8, 0], [0, 1.8, 0], [0, -1.8, 0], [0.8, 0, 0]],
    dtype=torch.float32,
)
"""Radial, tangential, vertical metres: mostly across the line of sight, where image features differ."""


@dataclass
class ImageContext:
    """What queries can look at.

    Attributes:
        features: maps (B, V, C, h, w), finest first.
        batch: for calibration and the validity of views.
        strides: pixels per cell of each map.
        token_level: the map whose cells are the tokens of global attention.
        token_position: (B, V * h * w, C) their 3D position embedding; None without global attention.
    """

    features: list[Tensor]
    batch: Batch
    strides: tuple[int, ...]
    token_level: int = 0
    token_position: Tensor | None = None

    def tokens(self) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens and their position embedding (B, N, C), and a mask (B, N) that is True where no image is."""
        assert self.token_position is not None
        feature = self.features[self.token_level]
        cells = feature.shape[-2] * feature.shape[-1]
        tokens = feature.permute(0, 1, 3, 4, 2).flatten(1, 3)
        return tokens, self.token_position, (~self.batch.valid).repeat_interleave(cells, dim=1)


@dataclass
class FeatureTable:
    """All features of a batch as rows, so that a bilinear sample is a weighted sum of four rows.

    Attributes:
        values: (rows, head width); a row is one head of one cell.
        level_shapes: (h, w) per level.
        level_starts: first row of each level.
        strides: pixels per cell of each level.
        heads: heads per cell.
    """

    values: Tensor
    level_shapes: list[tuple[int, int]]
    level_starts: list[int]
    strides: tuple[int, ...]
    heads: int


class SampledAttention(nn.Module):
    """Each query looks at key points around its reference, in the views that see it, on all feature levels.

    The weighted sum over views, levels, key points and bilinear neighbours is one ``gather_sum``: plain torch, no
    kernel to build, and no features of cameras that cannot see the query are touched.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.heads, self.key_points, self.view_limit = config.heads, config.key_points, config.view_limit
        self.levels = len(config.strides)
        self.offsets = nn.Linear(config.width, config.key_points * 3)
        self.weights = nn.Linear(config.width, config.heads * config.key_points * self.levels)
        self.value = nn.Linear(config.width, config.width)
        self.output = nn.Linear(config.width, config.width)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        start = _START_POINTS.repeat(-(-config.key_points // len(_START_POINTS)), 1)[: config.key_points]
        with torch.no_grad():
            self.offsets.bias.copy_(torch.atanh(start / _KEY_POINT_REACH_M).flatten())

    def table(self, features: list[Tensor], strides: tuple[int, ...]) -> FeatureTable:
        """Project feature maps (B, V, C, h, w) to values, once per layer."""
        rows, shapes, starts, total = [], [], [], 0
        for feature in features:
            values = self.value(feature.permute(0, 1, 3, 4, 2)).reshape(-1, feature.shape[2] // self.heads)
            rows.append(values)
            shapes.append((feature.shape[-2], feature.shape[-1]))
            starts.append(total)
            total += len(values)
        return FeatureTable(torch.cat(rows), shapes, starts, strides, self.heads)

    def forward(self, queries: Tensor, references: Tensor, context: ImageContext) -> Tensor:
        """Gather features for queries.

        Args:
            queries: (B, Q, C) including their position encoding.
            references: (B, Q, 3) metres in the ego frame.
            context: what to look at.

        Returns:
            (B, Q, C); zero (before the output projection) where no camera sees any key point.
        """
        B, Q, _ = queries.shape
        batch = context.batch
        points = self._key_points(queries, references)
        pixels, depth = project(points.flatten(1, 2), batch.intrinsics, batch.T_ego_camera)
        height, width = batch.images.shape[-2:]
        seen = (depth > MIN_DEPTH_M) & (pixels > -0.5).all(-1) & (pixels[..., 0] < width - 0.5)
        seen = seen & (pixels[..., 1] < height - 0.5) & batch.valid[:, :, None]
        pixels, seen = pixels.unflatten(2, (Q, -1)), seen.unflatten(2, (Q, -1))

        share = seen / seen.sum(dim=1, keepdim=True).clamp_min(1)  # several views of a point are averaged
        looks = seen.sum(-1)
        best = looks.topk(min(self.view_limit, looks.shape[1]), dim=1).indices
        chosen = torch.zeros_like(looks, dtype=torch.bool).scatter_(1, best, True) & (looks > 0)
        frame, view, query = torch.nonzero(chosen, as_tuple=True)  # P pairs of a query and a view that sees it

        logits = self.weights(queries).unflatten(-1, (self.heads, self.key_points * self.levels))
        importance = logits.softmax(-1).unflatten(-1, (self.key_points, self.levels))
        table = self.table(context.features, context.strides)
        image = frame * seen.shape[1] + view
        index, weight = self._bilinear(pixels[frame, view, query], image, table)
        # (P, K, L, 4) neighbours times (P, heads, K, L) importance: one bag per pair and head
        weight = (weight * share[frame, view, query][..., None, None])[:, None] * importance[frame, query][..., None]
        index = index[:, None] * self.heads + torch.arange(self.heads, device=index.device).view(1, -1, 1, 1, 1)
        gathered = gather_sum(
            table.values, index.flatten(0, 1).flatten(1), weight.flatten(0, 1).flatten(1).to(table.values.dtype)
        )
        total = gathered.new_zeros(B * Q, self.heads * gathered.shape[-1])
        total = total.index_add(0, frame * Q + query, gathered.reshape(len(frame), total.shape[1]))
        return self.output(total.unflatten(0, (B, Q)))

    def _key_points(self, queries: Tensor, references: Tensor) -> Tensor:
        offsets = self.offsets(queries).unflatten(-1, (self.key_points, 3)).tanh() * _KEY_POINT_REACH_M
        cos, sin = ray_axes(references)
        plane = from_ray_frame(offsets[..., :2], cos[..., None], sin[..., None])
        return references[:, :, None] + torch.cat([plane, offsets[..., 2:]], dim=-1)

    @staticmethod
    def _bilinear(pixels: Tensor, image: Tensor, table: FeatureTable) -> tuple[Tensor, Tensor]:
        """Cell numbers (P, K, L, 4) in the table (before heads) and bilinear weights, zero outside the map.

        Args:
            pixels: (P, K, 2) positions.
            image: (P,) number of the image, over all frames and views.
            table: where to look.
        """
        indices, weights = [], []
        image = image[:, None]
        for (height, width), start, stride in zip(table.level_shapes, table.level_starts, table.strides, strict=True):
            cell = (pixels + 0.5) / stride - 0.5
            # Far-off pixels of unseen points would overflow the integer conversion; their weight is zero anyway.
            cell = cell.clamp(-2.0, max(height, width) + 2.0)
            low = cell.floor()
            fraction = cell - low
            for du, dv in ((0, 0), (1, 0), (0, 1), (1, 1)):
                u, v = low[..., 0] + du, low[..., 1] + dv
                weight = (fraction[..., 0] if du else 1 - fraction[..., 0]) * (
                    fraction[..., 1] if dv else 1 - fraction[..., 1]
                )
                inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
                column, row = u.clamp(0, width - 1).long(), v.clamp(0, height - 1).long()
                indices.append(start // table.heads + (image * height + row) * width + column)
                weights.append(weight * inside)
        shape = (len(table.level_shapes), 4)
        return torch.stack(indices, -1).unflatten(-1, shape), torch.stack(weights, -1).unflatten(-1, shape)

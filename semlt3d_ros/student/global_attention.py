"""Cross-attention of queries to all image tokens, which know where they could be in 3D (as in PETR and StreamPETR)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semlt3d_ros.student.attention import ImageContext
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.geometry import MIN_DEPTH_M, cell_centers, unproject

_REACH = 1.2
"""The depth points end at this multiple of the range: objects at its edge have points on both sides."""


def linear_increasing_depths(points: int, nearest_m: float, farthest_m: float) -> Tensor:
    """(points,) depths whose spacing grows linearly (LID, CaDDN): fine near the camera, coarse far away."""
    index = torch.arange(points, dtype=torch.float32)
    return nearest_m + (farthest_m - nearest_m) * index * (index + 1) / max(points * (points - 1), 1)


class DepthPointEncoding(nn.Module):
    """3D position embedding of image tokens: the points along each token's ray, through a small network.

    With ``gated_tokens``, what a token shows scales the channels of its embedding (PETRv2, Liu et al., ICCV 2023).
    """

    depths: Tensor
    unit: Tensor

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        height_m = config.token_height_m or config.range_m
        self.clips_height = config.token_height_m > 0
        depths = linear_increasing_depths(config.depth_points, 2 * MIN_DEPTH_M, _REACH * config.range_m)
        self.register_buffer("depths", depths, persistent=False)
        self.register_buffer("unit", torch.tensor([config.range_m, config.range_m, height_m]), persistent=False)
        self.mix = nn.Sequential(
            nn.Linear(config.depth_points * 3, config.width * 2),
            nn.ReLU(inplace=True),
            nn.Linear(config.width * 2, config.width),
        )
        gate = nn.Sequential(
            nn.Linear(config.width, config.width),
            nn.ReLU(inplace=True),
            nn.Linear(config.width, config.width),
            nn.Sigmoid(),
        )
        self.gate = gate if config.gated_tokens else None

    def forward(self, context: ImageContext, level: int) -> Tensor:
        """(B, V * h * w, C) embeddings of the cells of a feature level."""
        embeddings = self.mix(self.coordinates(context, level).flatten(-2)).flatten(1, 2)
        if self.gate is not None:
            embeddings = embeddings * self.gate(context.features[level].permute(0, 1, 3, 4, 2).flatten(1, 3))
        return embeddings

    def coordinates(self, context: ImageContext, level: int) -> Tensor:
        """(B, V, h * w, depth_points, 3) points of the cells of a feature level, as shares of range and height."""
        batch, (h, w) = context.batch, context.features[level].shape[-2:]
        pixels = cell_centers(h, w, context.strides[level], batch.images.device).flatten(0, 1)
        points = unproject(
            pixels[None, None, :, None].expand(*batch.valid.shape, -1, len(self.depths), -1),
            self.depths.expand(*batch.valid.shape, h * w, -1),
            batch.intrinsics[:, :, None, None],
            batch.T_ego_camera[:, :, None, None],
        )
        shares = points / self.unit
        return torch.cat([shares[..., :2], shares[..., 2:].clamp(-1.0, 1.0)], -1) if self.clips_height else shares


class GlobalAttention(nn.Module):
    """Each query attends to every token of every valid view."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(config.width, config.heads, config.dropout, batch_first=True)

    def forward(self, queries: Tensor, references: Tensor, context: ImageContext) -> Tensor:
        """Gather features for queries (B, Q, C), which include their position encoding.

        Returns:
            (B, Q, C); zero for frames without any view.
        """
        tokens, position, hidden = context.tokens()
        blind = hidden.all(dim=1, keepdim=True)
        gathered, _ = self.attention(
            queries, tokens + position, tokens, key_padding_mask=hidden & ~blind, need_weights=False
        )
        return gathered * ~blind[..., None]

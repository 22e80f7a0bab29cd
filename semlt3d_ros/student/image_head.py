"""What each view says on its own: class heat maps with a centre depth, and a depth distribution supervised by LiDAR.

The depth branch is for training only. The heat maps also propose queries when the config asks for proposals, as
adaptive queries do in Far3D (papers.md 7.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.geometry import MIN_DEPTH_M, cell_centers, unproject

PRIOR_LOGIT = -4.0
"""Start of every class logit: nearly everything is background."""

_LOG_DEPTH_START = 2.5


@dataclass
class ImageOutput:
    """Predictions per cell of the finest feature level (h x w cells).

    Attributes:
        heat: (B, V, C, h, w) class logits of object centres.
        offset: (B, V, 2, h, w) from the cell's centre to the projected 3D centre, in cells.
        log_depth: (B, V, h, w) log of the 3D centre's depth along the optical axis in metres.
        depth_logits: (B, V, D, h, w) of the nearest surface in the cell, in training; None otherwise.
        stride: pixels per cell.
    """

    heat: Tensor
    offset: Tensor
    log_depth: Tensor
    depth_logits: Tensor | None
    stride: int


@dataclass
class Proposals:
    """K peaks of the heat maps.

    Attributes:
        points: (B, K, 3) metres in the ego frame.
        features: (B, K, C) image features at the peaks.
        scores: (B, K) peak heights in [0, 1].
    """

    points: Tensor
    features: Tensor
    scores: Tensor


class ImageHead(nn.Module):
    """2D class, centre and depth predictions on the finest feature level."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.stride = config.strides[0]
        width, classes = config.width, len(config.class_names)
        self.trunk = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.heat = nn.Conv2d(width, classes, 1)
        self.center = nn.Conv2d(width, 3, 1)
        self.depth = nn.Conv2d(width, config.depth_bins, 1)
        nn.init.constant_(self.heat.bias, PRIOR_LOGIT)  # type: ignore[arg-type]
        nn.init.normal_(self.heat.weight, std=0.01)
        nn.init.normal_(self.center.weight, std=0.01)
        with torch.no_grad():
            self.center.bias.copy_(torch.tensor([0.0, 0.0, _LOG_DEPTH_START]))  # type: ignore[union-attr]

    def forward(self, feature: Tensor) -> ImageOutput:
        """Predict from the finest feature level (B, V, C, h, w)."""
        views = feature.shape[:2]
        hidden = self.trunk(feature.flatten(0, 1))
        center = self.center(hidden).unflatten(0, views)
        depth = self.depth(hidden).unflatten(0, views) if self.training else None
        heat = self.heat(hidden).unflatten(0, views)
        return ImageOutput(heat, center[:, :, :2], center[:, :, 2], depth, self.stride)

    @staticmethod
    def propose(output: ImageOutput, feature: Tensor, batch: Batch, count: int) -> Proposals:
        """The ``count`` highest local peaks over all valid views, lifted to the ego frame by their depth."""
        B, V, _, h, w = output.heat.shape
        best = output.heat.detach().amax(dim=2)
        peak = best == F.max_pool2d(best.flatten(0, 1)[:, None], 3, stride=1, padding=1)[:, 0].unflatten(0, (B, V))
        best = best.masked_fill(~peak, -math.inf).masked_fill(~batch.valid[:, :, None, None], -math.inf)
        count = min(count, V * h * w)
        logits, index = best.flatten(1).topk(count, dim=1)
        view, cell = index // (h * w), index % (h * w)
        rows = torch.arange(B, device=index.device)[:, None]
        centers = cell_centers(h, w, output.stride, index.device).flatten(0, 1)[cell]
        offset = output.offset.detach().flatten(3)[rows, view, :, cell]
        depth = output.log_depth.detach().flatten(2)[rows, view, cell].clamp(math.log(MIN_DEPTH_M), 5.0).exp()
        points = unproject(
            centers + offset * output.stride, depth, batch.intrinsics[rows, view], batch.T_ego_camera[rows, view]
        )
        features = feature.flatten(3)[rows, view, :, cell]
        return Proposals(points, features, logits.sigmoid())


def depth_bin_edges(bins: int, range_m: float, device: torch.device) -> Tensor:
    """(bins - 1,) inner edges of the depth bins in metres, even in log depth from 1 m to 1.5 ``range_m``."""
    return torch.logspace(0.0, math.log10(1.5 * range_m), bins + 1, device=device)[1:-1]

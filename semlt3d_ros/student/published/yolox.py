"""Far3D's 2D head: boxes of YOLOX on every level, and a depth distribution on the finest one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STACKED = 2


@dataclass(frozen=True)
class DepthBins:
    """Depth bins that grow linearly (LID, as in CaDDN).

    Attributes:
        number: how many; there is one class more, for what lies outside.
        nearest_m, farthest_m: where the first begins and the last ends, in metres.
    """

    number: int
    nearest_m: float
    farthest_m: float

    def edges(self, bins: Tensor) -> Tensor:
        """Depth in metres at which the bins (...) begin; Far3D places objects there."""
        unit = 2 * (self.farthest_m - self.nearest_m) / (self.number * (1 + self.number))
        return self.nearest_m + unit / 8 * ((bins / 0.5 + 1).square() - 1)


@dataclass
class Boxes2D:
    """M boxes found in the views of one frame, view after view and level after level.

    Attributes:
        views: (M,) int64 number of the view.
        cells: (M,) int64 number of the cell among all of a view: levels finest first, each row by row.
        boxes: (M, 4) centre u, v, width and height in pixels, where pixel 0 reaches from 0 to 1.
        scores: (M, 1) class times objectness of the best class, in (threshold, 1].
    """

    views: Tensor
    cells: Tensor
    boxes: Tensor
    scores: Tensor


@dataclass
class LevelOutput:
    """What the 2D head says about one level of N views with h x w cells.

    Attributes:
        logits: (N, C, h, w) of the classes.
        boxes: (N, 4, h, w) offset of the centre from the cell's corner and log size, in cells.
        objectness: (N, 1, h, w) logits.
        centers: (N, 2, h, w) offset of the projected 3D centre; the published detector trains but does not use it.
    """

    logits: Tensor
    boxes: Tensor
    objectness: Tensor
    centers: Tensor


class YOLOXHead(nn.Module):
    """2D boxes (Ge et al., arXiv 2107.08430) with weights of their own per level, and depth (Far3D, AAAI 2024)."""

    def __init__(self, width: int, classes: int, strides: Sequence[int], bins: DepthBins) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.multi_level_cls_convs = nn.ModuleList(_stacked(width) for _ in strides)
        self.multi_level_reg_convs = nn.ModuleList(_stacked(width) for _ in strides)
        self.multi_level_conv_cls = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in strides)
        self.multi_level_conv_reg = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in strides)
        self.multi_level_conv_obj = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in strides)
        self.multi_level_conv_centers2d = nn.ModuleList(nn.Conv2d(width, 2, 1) for _ in strides)
        self.depthnet = DepthNet(width, bins.number + 1)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[LevelOutput], Tensor]:
        """Levels (N, C, h, w) to boxes on each, and depth logits (N, bins + 1, h, w) on the finest."""
        levels = []
        for level, feature in enumerate(features):
            of_class = self.multi_level_cls_convs[level](feature)
            of_box = self.multi_level_reg_convs[level](feature)
            levels.append(
                LevelOutput(
                    self.multi_level_conv_cls[level](of_class),
                    self.multi_level_conv_reg[level](of_box),
                    self.multi_level_conv_obj[level](of_box),
                    self.multi_level_conv_centers2d[level](of_box),
                )
            )
        return levels, self.depthnet(features[0])

    def found(self, levels: Sequence[LevelOutput], threshold: float, valid: Tensor, most: int) -> Boxes2D:
        """Cells whose score lies above ``threshold`` and below that of none of their eight neighbours.

        There is no further suppression: neither between levels nor between boxes.

        Args:
            levels: the outputs for N views.
            threshold: of the score.
            valid: (N,) bool, which views there are.
            most: where there are more boxes, only the best are given out. The released code has no such limit, but
                costs grow with the square of the number, and no picture shall stop a vehicle.
        """
        scores, boxes = [], []
        for stride, level in zip(self.strides, levels, strict=True):
            score = level.objectness.float().sigmoid() * level.logits.float().amax(1, keepdim=True).sigmoid()
            peak = score == F.max_pool2d(score, 3, stride=1, padding=1)
            scores.append((score * peak).flatten(1))
            boxes.append(_decoded(level.boxes.float(), stride))
        score, box = torch.cat(scores, 1), torch.cat(boxes, 1)
        views, cells = torch.nonzero((score > threshold) & valid[:, None], as_tuple=True)
        if len(views) > most:
            kept = score[views, cells].topk(most).indices.sort().values
            views, cells = views[kept], cells[kept]
        return Boxes2D(views, cells, box[views, cells], score[views, cells][:, None])


class DepthNet(nn.Module):
    """Logits of the depth bins at every cell."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.depth_head = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(32, width), nn.ReLU())
                for _ in range(_STACKED)
            )
        )
        self.depth_classifier = nn.Conv2d(width, classes, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """A level (N, C, h, w) to logits (N, classes, h, w)."""
        logits: Tensor = self.depth_classifier(self.depth_head(feature))
        return logits


def _stacked(width: int) -> nn.Sequential:
    def block() -> nn.Sequential:
        return nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(width, width, 3, padding=1, bias=False),
                bn=nn.BatchNorm2d(width, eps=1e-3, momentum=0.03),
                activate=nn.SiLU(),
            )
        )

    return nn.Sequential(*(block() for _ in range(_STACKED)))


def _decoded(codes: Tensor, stride: int) -> Tensor:
    """Boxes (N, h * w, 4) in pixels of codes (N, 4, h, w)."""
    height, width = codes.shape[-2:]
    v, u = torch.meshgrid(
        torch.arange(height, device=codes.device), torch.arange(width, device=codes.device), indexing="ij"
    )
    corners = torch.stack([u, v]).to(codes.dtype) * stride
    boxes = torch.cat([codes[:, :2] * stride + corners, codes[:, 2:].exp() * stride], dim=1)
    return boxes.flatten(2).transpose(1, 2)

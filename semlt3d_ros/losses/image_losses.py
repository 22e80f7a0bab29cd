"""Losses of what each view says on its own: heat maps, centres, and LiDAR-supervised depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.term import LossTerm, StepView, counted_over_all
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.geometry import MIN_DEPTH_M, project
from semlt3d_ros.student.image_head import ImageOutput, depth_bin_edges


@dataclass
class SeenCenters:
    """Where the centres of T objects are in V views.

    Attributes:
        cell: (B, V, T, 2) column and row of the projected centre, in cells.
        nearest: (B, V, T, 2) the same, rounded.
        depth: (B, V, T) metres along the optical axis.
        seen: (B, V, T) whether the centre lies in the image.
    """

    cell: Tensor
    nearest: Tensor
    depth: Tensor
    seen: Tensor

    @classmethod
    def of(cls, image: ImageOutput, targets: Targets, batch: Batch) -> SeenCenters:
        """Every object whose 3D centre projects into a view that is there is seen in it."""
        height, width = image.heat.shape[-2:]
        pixels, depth = project(targets.boxes[..., :3], batch.intrinsics, batch.T_ego_camera)
        cell = (pixels + 0.5) / image.stride - 0.5
        column, row = cell[..., 0].round(), cell[..., 1].round()
        seen = (depth > MIN_DEPTH_M) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        seen = seen & (targets.classes >= 0)[:, None] & batch.valid[..., None]
        return cls(cell, torch.stack([column, row], -1), depth, seen)


class HeatLoss(LossTerm):
    """Penalty-reduced focal loss of the heat maps (CenterNet), per seen centre.

    The radius of an object's Gaussian follows its apparent size. Cells where ground truth is silent do not count,
    unless they hold a centre.
    """

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``heat``; nothing without a 2D head."""
        image, targets, batch = view.output.image, view.targets.told_alone(), view.batch
        if image is None:
            return {}
        centers = SeenCenters.of(image, targets, batch)
        wanted = _gaussians(targets, batch, image, centers)
        logits = image.heat.float()
        probability = logits.sigmoid()
        positive = wanted > 0.999
        entropy = F.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
        pull = torch.where(positive, (1 - probability) ** 2, probability**2 * (1 - wanted) ** 4)
        valid = batch.valid[:, :, None, None, None]
        if targets.unjudged is not None:
            valid = valid & (~targets.unjudged.cells(image, batch)[:, :, None] | positive.any(2, keepdim=True))
        count = counted_over_all(centers.seen.sum(), view.total, logits.device)
        return {"heat": self.weight * ((entropy * pull * valid).sum() / count)}


class CenterLoss(LossTerm):
    """L1 loss of the 2D offset and the log depth of seen centres."""

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``centers``; nothing without a 2D head."""
        image = view.output.image
        if image is None:
            return {}
        centers = SeenCenters.of(image, view.targets, view.batch)
        seen = centers.seen
        count = counted_over_all(seen.sum(), view.total, seen.device)
        frame, camera, _ = torch.nonzero(seen, as_tuple=True)
        u, v = centers.nearest[seen].long().unbind(-1)
        offset = image.offset[frame, camera, :, v, u].float() - (centers.cell[seen] - torch.stack([u, v], -1))
        log_depth = image.log_depth[frame, camera, v, u].float() - centers.depth[seen].log()
        return {"centers": self.weight * ((0.5 * offset.abs().sum() + 2.0 * log_depth.abs().sum()) / count)}


class DepthLoss(LossTerm):
    """Cross-entropy of the depth bins at cells that hold LiDAR points, with the nearest point as the truth.

    Args:
        weight: how much it counts.
        range_m: of the student; bins end beyond it.
    """

    def __init__(self, weight: float, range_m: float) -> None:
        super().__init__(weight)
        self.range_m = range_m

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``depth``; nothing without a depth branch."""
        image = view.output.image
        if image is None or image.depth_logits is None:
            return {}
        bins = image.depth_logits.shape[2]
        nearest = _nearest_points(image, view.targets, view.batch)
        hit = nearest.isfinite()
        count = counted_over_all(hit.sum(), view.total, hit.device)
        logits = image.depth_logits.flatten(3).transpose(2, 3)[hit].float()
        if len(logits) == 0:
            return {"depth": image.depth_logits.sum() * 0.0}
        truth = torch.bucketize(nearest[hit], depth_bin_edges(bins, self.range_m, hit.device))
        return {"depth": self.weight * (F.cross_entropy(logits, truth, reduction="sum") / count)}


def _nearest_points(image: ImageOutput, targets: Targets, batch: Batch) -> Tensor:
    """(B, V, h * w) depth of the nearest LiDAR point in each cell, infinite where there is none."""
    height, width = image.heat.shape[-2:]
    nearest = torch.full((*batch.valid.shape, height * width), torch.inf, device=image.heat.device)
    for b, points in enumerate(targets.points):
        if len(points) == 0:
            continue
        pixels, depth = project(points[None], batch.intrinsics[b : b + 1], batch.T_ego_camera[b : b + 1])
        cell = ((pixels[0] + 0.5) / image.stride - 0.5).round()
        inside = (depth[0] > MIN_DEPTH_M) & (cell >= 0).all(-1) & (cell[..., 0] < width) & (cell[..., 1] < height)
        index = (cell[..., 1] * width + cell[..., 0]).clamp(0, height * width - 1).nan_to_num().long()
        distance = torch.where(inside & batch.valid[b][:, None], depth[0], torch.inf)
        nearest[b].scatter_reduce_(1, index, distance, "amin")
    return nearest


def _gaussians(targets: Targets, batch: Batch, image: ImageOutput, centers: SeenCenters) -> Tensor:
    """(B, V, C, h, w) class heat maps, 1 at the cells of projected centres."""
    B, V, classes, height, width = image.heat.shape
    depth, peaks = centers.depth, centers.nearest
    focal = batch.intrinsics[..., 0, 0][..., None]
    extent = targets.boxes[..., 3:6].amax(-1)[:, None] * focal / depth.clamp_min(MIN_DEPTH_M) / image.stride
    sigma = (extent / 8.0).clamp(0.5, 3.0)
    columns = torch.arange(width, device=depth.device)
    rows = torch.arange(height, device=depth.device)
    across = (-((columns - peaks[..., :1]) ** 2) / (2 * sigma**2)[..., None]).exp()
    down = (-((rows - peaks[..., 1:]) ** 2) / (2 * sigma**2)[..., None]).exp()
    bumps = down[..., :, None] * across[..., None, :] * centers.seen[..., None, None]
    index = targets.classes.clamp_min(0)[:, None, :, None, None].expand_as(bumps)
    heat = torch.zeros((B, V, classes, height, width), device=depth.device)
    return heat.scatter_reduce_(2, index, bumps, "amax")

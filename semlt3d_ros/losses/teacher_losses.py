"""What a LiDAR teacher's training minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.teacher_targets import TaskTargets, center_targets, judged_cells
from semlt3d_ros.losses.teacher_weights import TeacherLossWeights
from semlt3d_ros.losses.term import Total, alone, counted_over_all
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import TeacherOutput

_CODE_WEIGHTS = (1.0,) * 8 + (0.5, 0.5)
"""Of the entries of ``TaskTargets.values``; CenterPoint's but for velocities, of which it has 0.2."""
_MOVING_MPS, _MOVING_WEIGHT = 0.5, 4.0
"""Most objects stand. Where they count no less than those that move, standing is the best guess for all of them."""
_BALANCE_LIMIT = 5.0
"""Rare classes of points count at most so many times as much as common ones."""


def teacher_losses(
    output: TeacherOutput,
    targets: Targets,
    point_classes: Sequence[Tensor],
    config: TeacherConfig,
    grid: BevGrid,
    weights: TeacherLossWeights,
    total: Total = alone,
) -> dict[str, Tensor]:
    """Weighted losses by name: ``heat``, ``boxes`` and, of a teacher with point classes, ``points``.

    Args:
        output: of the teacher.
        targets: objects in the model's frame.
        point_classes: (N_i,) of each cloud that went in, -1 where unknown.
        config: of the teacher.
        grid: of the maps.
        weights: how much each counts.
        total: sums over the processes that share a step.
    """
    judged = judged_cells(targets, grid)
    heat, boxes = [], []
    for maps, wanted in zip(output.tasks, center_targets(targets, config, grid), strict=True):
        count = counted_over_all(len(wanted.cloud), total, wanted.heat.device)
        heat.append(heat_loss(maps["heat"], wanted, judged) / count)
        boxes.append(box_loss(maps, wanted, config) / count)
    losses = {
        "heat": weights.heat * torch.stack(heat).sum(),
        "boxes": weights.boxes * torch.stack(boxes).sum(),
    }
    if output.point_logits is not None:
        classes = torch.cat(list(point_classes)).to(output.point_logits.device)[output.pillars.kept]
        losses["points"] = weights.points * point_loss(output.point_logits, classes, total)
    return losses


def heat_loss(logits: Tensor, wanted: TaskTargets, judged: Tensor | None = None) -> Tensor:
    """() summed penalty-reduced focal loss of heat maps (CenterNet).

    Args:
        logits: (B, n, rows, columns).
        wanted: of the task.
        judged: (B, rows, columns) cells that count besides those of centres; None for all.
    """
    logits = logits.float()
    probability = logits.sigmoid()
    positive = torch.zeros_like(logits, dtype=torch.bool)
    positive[wanted.cloud, wanted.label, wanted.row, wanted.column] = True
    entropy = F.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
    pull = torch.where(positive, (1 - probability) ** 2, probability**2 * (1 - wanted.heat) ** 4)
    if judged is not None:
        pull = pull * (judged[:, None] | positive.any(1, keepdim=True))
    return (entropy * pull).sum()


def box_loss(maps: dict[str, Tensor], wanted: TaskTargets, config: TeacherConfig) -> Tensor:
    """() summed weighted L1 loss of the boxes at the cells of centres; what is not known costs nothing."""
    order = ["offset", "height", "size", "heading"] + (["velocity"] if config.velocity else [])
    said = torch.cat([maps[name][wanted.cloud, :, wanted.row, wanted.column].float() for name in order], 1)
    values = wanted.values[:, : said.shape[1]]
    known = values.isfinite()
    error = (said - torch.where(known, values, 0.0)).abs() * known
    weights = error.new_tensor(_CODE_WEIGHTS[: said.shape[1]]).repeat(len(error), 1)
    weights[:, 8:] *= torch.where(values[:, 8:].norm(dim=1, keepdim=True) > _MOVING_MPS, _MOVING_WEIGHT, 1.0)
    return (error * weights).sum()


def point_loss(logits: Tensor, classes: Tensor, total: Total = alone) -> Tensor:
    """() cross entropy of points, of which rare classes count more: by the root of how rare they are in this step.

    Args:
        logits: (N, classes).
        classes: (N,), -1 where unknown, which costs nothing.
        total: sums over processes.
    """
    known = classes >= 0
    counts = total(torch.bincount(classes[known], minlength=logits.shape[1]).float())
    weights = (counts.sum() / counts.clamp_min(1.0)).sqrt()
    weights = (weights / weights[counts > 0].min() if counts.any() else weights).clamp_max(_BALANCE_LIMIT)
    whole = counted_over_all((counts * weights).sum() / total(torch.ones_like(counts[:1]))[0], total, logits.device)
    each = F.cross_entropy(logits.float(), classes, weights, ignore_index=-1, reduction="sum")
    return each / whole

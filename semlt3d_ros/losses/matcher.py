"""Bipartite matching of queries to ground truth (DETR), on focal class cost and range-scaled box distance."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import range_scale, ray_axes

CLASS_COST, POSITION_COST, SHAPE_COST = 2.0, 1.0, 0.25
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
"""Of the focal class loss, here and in ``query_losses``."""

Matches = list[tuple[Tensor, Tensor]]
"""For each frame, the matched queries and the targets that they are matched to."""


@torch.no_grad()
def match(output: LayerOutput, targets: Targets) -> Matches:
    """For each frame, indices of queries and of the targets they are matched to, both (T_b,) int64.

    Every real target gets exactly one query as long as there are at least as many queries as targets. One whose class
    is not told is any class's. Costs that are not finite count as very high, so that a diverging network trains on
    instead of stopping.
    """
    matches = []
    probability = output.logits.float().sigmoid()
    negative = -(1 - probability + 1e-8).log() * (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA
    positive = -(probability + 1e-8).log() * FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA
    class_cost = positive - negative
    for b in range(len(targets.classes)):
        real = torch.nonzero(targets.classes[b] >= 0)[:, 0]
        boxes = targets.boxes[b, real].nan_to_num()
        position, shape = _distances(output.codes[b].float(), output.references[b], boxes)
        kind = class_cost[b][:, targets.classes[b, real]]
        if targets.told is not None:
            kind = torch.where(targets.told[b, real], kind, class_cost[b].amin(-1, keepdim=True))
        cost = CLASS_COST * kind + POSITION_COST * position + SHAPE_COST * shape
        rows, columns = linear_sum_assignment(cost.nan_to_num(1e6, 1e6, 1e6).cpu().numpy())
        device = real.device
        matches.append((torch.as_tensor(rows, device=device), real[torch.as_tensor(columns, device=device)]))
    return matches


def _distances(codes: Tensor, references: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """L1 distances (Q, T) of codes (Q, 10) from those of boxes (T, 9): of the first three numbers and of the next five.

    In the code of each query's own reference (Q, 3), so that radial distance is in units of its range scale: what
    ``encode_boxes`` gives for every pair, without asking for the sines of all of them.
    """
    cos, sin = (values[:, None] for values in ray_axes(references))
    x, y, z = (boxes[:, axis] - references[:, axis, None] for axis in range(3))
    radial = (cos * x + sin * y) / range_scale(references)[:, None] - codes[:, 0, None]
    tangential = cos * y - sin * x - codes[:, 1, None]
    position = radial.abs() + tangential.abs() + (z - codes[:, 2, None]).abs()
    turned, along = boxes[:, 6].sin(), boxes[:, 6].cos()
    heading = (turned * cos - along * sin - codes[:, 6, None]).abs() + (
        along * cos + turned * sin - codes[:, 7, None]
    ).abs()
    return position, torch.cdist(codes[:, 3:6], boxes[:, 3:6].clamp_min(0.05).log(), p=1) + heading

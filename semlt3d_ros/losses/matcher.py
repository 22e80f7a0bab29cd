"""Bipartite matching of queries to ground truth (DETR), on focal class cost and range-scaled box distance."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import encode_boxes

CLASS_COST, POSITION_COST, SHAPE_COST = 2.0, 1.0, 0.25
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
"""Of the focal class loss, here and in ``query_losses``."""

Matches = list[tuple[Tensor, Tensor]]
"""For each frame, the matched queries and the targets that they are matched to."""


@torch.no_grad()
def match(output: LayerOutput, targets: Targets) -> Matches:
    """For each frame, indices of queries and of the targets they are matched to, both (T_b,) int64.

    Every real target gets exactly one query as long as there are at least as many queries as targets. Costs that are
    not finite count as very high, so that a diverging network trains on instead of stopping.
    """
    matches = []
    probability = output.logits.float().sigmoid()
    negative = -(1 - probability + 1e-8).log() * (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA
    positive = -(probability + 1e-8).log() * FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA
    class_cost = positive - negative
    for b in range(len(targets.classes)):
        real = torch.nonzero(targets.classes[b] >= 0)[:, 0]
        boxes = targets.boxes[b, real].nan_to_num()
        references = output.references[b][:, None].expand(-1, len(real), -1)
        # In the code of each query's own reference, so that radial distance is in units of its range scale.
        wanted = encode_boxes(boxes[None].expand(len(references), -1, -1), references)
        distance = (output.codes[b].float()[:, None] - wanted).abs()
        cost = CLASS_COST * class_cost[b][:, targets.classes[b, real]]
        cost = cost + POSITION_COST * distance[..., :3].sum(-1) + SHAPE_COST * distance[..., 3:8].sum(-1)
        rows, columns = linear_sum_assignment(cost.nan_to_num(1e6, 1e6, 1e6).cpu().numpy())
        device = real.device
        matches.append((torch.as_tensor(rows, device=device), real[torch.as_tensor(columns, device=device)]))
    return matches

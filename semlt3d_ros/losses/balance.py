"""Load balance of routed experts."""

from __future__ import annotations

import torch
from torch import Tensor

from semlt3d_ros.losses.term import LossTerm, StepView, Total, alone, over_layers
from semlt3d_ros.student.experts import Routing


class BalanceLoss(LossTerm):
    """Keeps one expert from taking all queries (SemLT3D's L_bal)."""

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``balance``; nothing without experts."""
        routings = [layer.routing for layer in view.layers if layer.routing is not None]
        losses = [self.weight * balance_loss(routing, view.total) for routing in routings]
        return {"balance": over_layers(losses)} if losses else {}


def balance_loss(routing: Routing, total: Total = alone) -> Tensor:
    """Switch-style balance of routed experts: M times the sum over experts of load share times mean probability.

    It is 1 when all experts are used alike, and grows towards M when one takes all.
    """
    probabilities = routing.probabilities.flatten(0, -2)
    used = (routing.weights.detach() > 0).float().flatten(0, -2).sum(dim=0)
    *_, queries = counts = total(torch.cat([used, used.new_tensor([len(probabilities)])]))
    load = counts[:-1] / queries
    load = load / load.sum().clamp_min(1e-6)
    return len(used) * (load * (probabilities.sum(dim=0) / queries)).sum()

"""Load balance of routed experts."""

from __future__ import annotations

import torch
from torch import Tensor

from semlt3d_ros.losses.matcher import Matches
from semlt3d_ros.losses.term import LossTerm, StepView, Total, alone, indices, over_layers
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.experts import Routing

SURE = 0.1
"""Confidence from which on a query is taken for one that sees something."""


class BalanceLoss(LossTerm):
    """Keeps one expert from taking all queries (SemLT3D's L_bal).

    Args:
        weight: how much it counts.
        of_objects: spread the queries that answer to objects, or are sure of something, instead of all.
    """

    def __init__(self, weight: float, of_objects: bool = False) -> None:
        super().__init__(weight)
        self.of_objects = of_objects

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``balance``; nothing without experts."""
        losses = [
            self.weight * balance_loss(layer.routing, view.total, self._counted(layer, matches))
            for layer, matches in zip(view.layers, view.matches, strict=True)
            if layer.routing is not None
        ]
        return {"balance": over_layers(losses)} if losses else {}

    def _counted(self, layer: LayerOutput, matches: Matches) -> Tensor | None:
        if not self.of_objects:
            return None
        counted = layer.logits.detach().amax(-1).sigmoid() > SURE
        frame, query, _ = indices(matches)
        counted[frame, query] = True
        return counted


def balance_loss(routing: Routing, total: Total = alone, counted: Tensor | None = None) -> Tensor:
    """Switch-style balance of routed experts: M times the sum over experts of load share times mean probability.

    It is 1 when all experts are used alike, and grows towards M when one takes all.

    Args:
        routing: of B frames with Q queries.
        total: sums over processes.
        counted: (B, Q) bool, queries that are to be spread; None for all. Where there are none it is 0.
    """
    probabilities, weights = routing.probabilities.flatten(0, -2), routing.weights.detach().flatten(0, -2)
    if counted is not None:
        probabilities, weights = probabilities[counted.flatten()], weights[counted.flatten()]
    used = (weights > 0).float().sum(dim=0)
    *_, queries = counts = total(torch.cat([used, used.new_tensor([len(probabilities)])])).clamp_min(1e-6)
    load = counts[:-1] / queries
    load = load / load.sum().clamp_min(1e-6)
    return len(used) * (load * (probabilities.sum(dim=0) / queries)).sum()

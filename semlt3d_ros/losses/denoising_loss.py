"""Losses of the denoising queries: those of the student's own queries, without any matching."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from semlt3d_ros.losses.matcher import Matches
from semlt3d_ros.losses.term import LossTerm, StepView, counted_over_all, judged
from semlt3d_ros.student.denoising_queries import NOTHING


class DenoisingLoss(LossTerm):
    """Further terms, on denoising queries: each belongs to the object that it was made of.

    Args:
        weight: of all of them together.
        terms: the terms, each with its own weight.
    """

    def __init__(self, weight: float, terms: Iterable[LossTerm]) -> None:
        super().__init__(weight)
        self.terms = nn.ModuleList(terms)

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """The losses of the terms, ``denoising_`` before their names; nothing without denoising queries."""
        denoised = view.output.denoised
        number = 0 if denoised is None else (denoised.objects >= 0).sum()
        count = counted_over_all(number, view.total, view.targets.boxes.device)
        if denoised is None:
            return {}
        layers = view.output.denoising
        matches: Matches = []
        for objects in denoised.objects:
            rows = torch.nonzero(objects >= 0)[:, 0]
            matches.append((rows, objects[rows]))
        real, targets = denoised.objects != NOTHING, view.targets.told_alone()
        inner = replace(
            view,
            targets=targets,
            layers=layers,
            matches=[matches] * len(layers),
            counted=[real & judged(layer, targets, matches) for layer in layers],
            count=count,
        )
        losses = (term(inner) for term in self.terms)
        return {f"denoising_{name}": self.weight * value for found in losses for name, value in found.items()}

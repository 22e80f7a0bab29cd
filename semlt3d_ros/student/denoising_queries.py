"""Denoising queries, which only training adds to the student's own; ``losses.denoising`` makes them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class DenoisingQueries:
    """G groups of one query per ground truth.

    Attributes:
        queries: (B, G * T, C).
        references: (B, G * T, 3) metres.
        groups: G.
    """

    queries: Tensor
    references: Tensor
    groups: int

    def attention_mask(self, matched: int) -> Tensor:
        """(Q, Q) True where attention is barred: no query sees another group, matched queries see no ground truth."""
        per_group = self.queries.shape[1] // self.groups
        group = torch.arange(self.groups, device=self.queries.device).repeat_interleave(per_group)
        group = torch.cat([torch.full((matched,), -1, device=group.device), group])
        return (group[None] != group[:, None]) & (group[None] != -1)

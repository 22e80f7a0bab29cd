"""Denoising queries, which only training adds to the student's own; ``losses.denoising`` makes them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BACKGROUND, NOTHING = -1, -2
"""In place of an object: the query is to find none; the query is padding, and no loss counts it."""


@dataclass
class DenoisingQueries:
    """G groups of queries made of the ground truth.

    Attributes:
        queries: (B, G * N, C).
        references: (B, G * N, 3) metres.
        groups: G.
        objects: (B, G * N) int64 number of the target that each is to restore, or ``BACKGROUND``, or ``NOTHING``.
    """

    queries: Tensor
    references: Tensor
    groups: int
    objects: Tensor

    def attention_mask(self, matched: int) -> Tensor:
        """(Q, Q) True where attention is barred: no query sees another group, matched queries see no ground truth."""
        per_group = self.queries.shape[1] // self.groups
        group = torch.arange(self.groups, device=self.queries.device).repeat_interleave(per_group)
        group = torch.cat([torch.full((matched,), -1, device=group.device), group])
        return (group[None] != group[:, None]) & (group[None] != -1)

"""How alike the objects of a frame are, as one network has it and as another one does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.losses.term import Total, alone


def relation_loss(said: Tensor, taught: Tensor, frame: Tensor, weight: Tensor, total: Total = alone) -> Tensor:
    """() half of the mean error of the cosines between K objects, of pairs of one frame.

    Args:
        said, taught: (K, F) and (K, G) features; numbers of the one need not mean what those of the other do.
        frame: (K,) which frame each object is in.
        weight: (K, K) how much each pair counts.
        total: sums over processes.
    """
    paired = (frame[:, None] == frame) & ~torch.eye(len(frame), dtype=torch.bool, device=frame.device)
    weight = weight * paired
    error = (cosines(said) - cosines(taught)).abs() * weight
    return 0.5 * error.sum() / total(weight.sum()).clamp_min(1e-6)


def cosines(features: Tensor) -> Tensor:
    """(K, K) cosines between rows (K, F)."""
    unit = F.normalize(features.float(), dim=-1)
    return unit @ unit.T

"""How much an object counts by how often its class occurs (Cui et al., Class-Balanced Loss, CVPR 2019)."""

from __future__ import annotations

from torch import Tensor


def effective_weights(counts: Tensor, overlap: float) -> Tensor:
    """(n,) float32 weights of classes, as many in all as there are classes.

    Objects of a class are the more alike the more there are: n of them count as ``(1 - overlap^n) / (1 - overlap)``,
    and every class weighs as the inverse of that.

    Args:
        counts: (n,) objects of each class; one that nobody has seen weighs as one that was seen once.
        overlap: the paper's beta, in [0, 1): at 0 all classes weigh alike, near 1 as the inverse of their counts.
    """
    effective = (1 - overlap ** counts.double().clamp_min(1)) / (1 - overlap)
    weights = 1 / effective
    return (weights * (len(weights) / weights.sum())).float()

"""Fitting how much a CLIP's opinion counts, on boxes of drives with ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from semlt3d_ros.semantics.fusion import Fusion, logit

_BALANCE = 0.5
"""Classes with n right pairs weigh as n to the power of 1 less this together: the rare ones are not drowned."""
_FEW_HITS = 5.0
_LOG_SPREAD, _CLASS_LOG_SPREAD, _OFFSET_SPREAD = 1.0, 0.3, 0.5
"""Standard deviations of the Gaussian priors: of temperature and pooled weight about the start, on a logarithmic scale;
of a class's weight about the pooled one; of its offset about the mean."""
_UNTOLD = 0.025
"""Share of the gain that may lie below the band, and as much above it."""


@dataclass(frozen=True)
class Looked:
    """(box, class) pairs of boxes that a CLIP has looked at.

    Attributes:
        confidences: (P,) the classifier's, above 0.
        cosines: (P, K) of the box's crop with all names.
        columns: (P,) which of the names the pair is about.
        hits: (P,) whether a true object of that class is there.
        boxes: (P,) number of the box.
        best: (P,) confidence of the box's best class.
    """

    confidences: NDArray[np.float32]
    cosines: NDArray[np.float32]
    columns: NDArray[np.int64]
    hits: NDArray[np.bool_]
    boxes: NDArray[np.int64]
    best: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.confidences)


def fit_fusion(pairs: Looked, names: Sequence[str], logit_scale: float, start: Fusion | None = None) -> Fusion:
    """Maximum a posteriori: what makes the fused confidences say best which pairs are right.

    Args:
        pairs: of held-out drives.
        names: of the K classes.
        logit_scale: the CLIP's own.
        start: what few pairs leave as it is.

    Returns:
        Fitted for each of the names; where there are no pairs, the start.
    """
    start = start or Fusion()
    if not len(pairs):
        return start
    count = len(names)
    own, cosines, hits = (torch.from_numpy(np.asarray(each, np.float32)) for each in _facts(pairs))
    columns = torch.from_numpy(pairs.columns)
    weights = torch.from_numpy(_pair_weights(pairs, count))
    at_start = torch.tensor([np.log(start.temperature), start.own, np.log(max(start.weight, 1e-3))]).float()
    pooled = at_start.clone().requires_grad_()
    spread = torch.zeros(count, requires_grad=True)  # of each class's weight, on a logarithmic scale
    offsets = torch.full((count,), start.offset, requires_grad=True)
    optimizer = torch.optim.LBFGS([pooled, spread, offsets], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logs = F.log_softmax(logit_scale * torch.exp(-pooled[0]) * cosines, dim=1)
        sure = 1.0 + (logs.exp() * logs).sum(dim=1) / np.log(max(count, 2))
        said = logs.gather(1, columns[:, None])[:, 0]
        weight = torch.exp(pooled[2] + spread)[columns]
        fused = own + sure * ((pooled[1] - 1.0) * own + weight * said + offsets[columns])
        surprise = (weights * (F.softplus(fused) - hits * fused)).sum()
        away = ((pooled - at_start) / _LOG_SPREAD).square().sum() + (spread / _CLASS_LOG_SPREAD).square().sum()
        away = away + ((offsets - offsets.mean()) / _OFFSET_SPREAD).square().sum()
        total = surprise + 0.5 * away
        total.backward()
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    temperature, own_exponent, weight = pooled.detach().tolist()
    each = torch.exp(pooled[2] + spread).tolist()
    return Fusion(
        round(float(np.exp(temperature)), 4),
        round(max(own_exponent, 0.05), 4),
        round(float(np.exp(weight)), 4),
        round(float(offsets.mean()), 4),
        {name: round(value, 4) for name, value in zip(names, each, strict=True)},
        {name: round(value, 4) for name, value in zip(names, offsets.tolist(), strict=True)},
    )


def fit_band(pairs: Looked, names: Sequence[str], logit_scale: float, fusion: Fusion) -> tuple[float, float]:
    """Confidences of a box's best class between which asking is worth it.

    Below and above lies at most one fortieth each of the log likelihood that a fusion gains over all boxes.
    """
    if not len(pairs):
        return 0.0, 1.0
    order = np.argsort(pairs.best, kind="stable")
    gained = (_pair_weights(pairs, len(names)) * _gain(pairs, names, logit_scale, fusion))[order]
    below = np.cumsum(gained)
    total, best = below[-1], pairs.best[order]
    if total <= 0:
        return 0.0, 1.0
    low = int(np.flatnonzero(below <= _UNTOLD * total).max(initial=-1)) + 1
    high = int(np.flatnonzero(total - below <= _UNTOLD * total).min(initial=len(best) - 1))
    if high <= low:
        return 0.0, 1.0
    upper = 1.0 if high == len(best) - 1 else float(np.ceil(best[high] * 1e3) / 1e3)
    return float(np.floor(best[low] * 1e3) / 1e3), upper


def _gain(pairs: Looked, names: Sequence[str], logit_scale: float, fusion: Fusion) -> NDArray[np.float64]:
    rows = np.arange(len(pairs))
    table = np.zeros(pairs.cosines.shape, np.float32)
    table[rows, pairs.columns] = pairs.confidences
    fused = fusion(table, fusion.shares(pairs.cosines, logit_scale), names)[rows, pairs.columns]
    before, after = logit(pairs.confidences), logit(fused)
    return (np.logaddexp(0, before) - pairs.hits * before) - (np.logaddexp(0, after) - pairs.hits * after)


def _facts(pairs: Looked) -> tuple[NDArray, NDArray, NDArray]:
    return logit(pairs.confidences), pairs.cosines, pairs.hits


def _pair_weights(pairs: Looked, count: int) -> NDArray[np.float32]:
    """(P,) 1 on average over the right pairs."""
    hits = np.bincount(pairs.columns[pairs.hits], minlength=count)
    weights = ((hits + _FEW_HITS) ** -_BALANCE)[pairs.columns]
    return (weights / (weights[pairs.hits].mean() if pairs.hits.any() else weights.mean())).astype(np.float32)

"""Fitting how much a CLIP's opinion counts, and whom to ask, on boxes of drives with ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from semlt3d_ros.semantics.fusion import Fusion, ambiguity, logit

_BALANCE = 0.5
"""What is told about a class with n right pairs is worth n to the power of -``_BALANCE``: all n together weigh as the
square root of n, so that the frequent classes do not decide for the rare ones."""
_FEW_HITS = 5.0
_POOLED_SPREAD, _CLASS_SPREAD, _OFFSET_SPREAD = 0.3, 0.3, 0.5
"""Standard deviations of the Gaussian priors: of temperature, own exponent and pooled weight about the start, of a
class's weight about the pooled one (on a logarithmic scale), of its offset about the mean."""
_UNTOLD = 0.025
"""Share of the gain that the least ambiguous boxes may hold, which are not asked about."""


@dataclass(frozen=True)
class Looked:
    """Boxes that a CLIP has looked at, and what they are.

    Attributes:
        confidences: (M, K) the classifier's, of the K names.
        cosines: (M, K) of the boxes' crops with the names.
        hits: (M, K) bool, whether a true object of the class is there.
        counted: (M, K) bool, which pairs of a box and a class count: not those without confidence, nor those on what
            is not judged.
    """

    confidences: NDArray[np.float32]
    cosines: NDArray[np.float32]
    hits: NDArray[np.bool_]
    counted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.confidences)


def fit_values(looked: Looked) -> NDArray[np.float64]:
    """(K,) what it is worth to know a class, 1 on average."""
    values = ((looked.hits & looked.counted).sum(axis=0) + _FEW_HITS) ** -_BALANCE
    return values / values.mean()


def fit_fusion(looked: Looked, names: Sequence[str], logit_scale: float, start: Fusion | None = None) -> Fusion:
    """Maximum a posteriori: what makes the fused confidences say best which pairs are right.

    Args:
        looked: boxes of held-out drives.
        names: of the K classes.
        logit_scale: the CLIP's own.
        start: what few boxes leave as it is.

    Returns:
        Fitted for each of the names; where there are no pairs, the start.
    """
    start = start or Fusion()
    boxes, columns = np.nonzero(looked.counted)
    if not len(boxes):
        return start
    own, cosines, hits, worth = (
        torch.from_numpy(np.asarray(each, np.float32))
        for each in (
            logit(looked.confidences[boxes, columns]),
            looked.cosines[boxes],
            looked.hits[boxes, columns],
            fit_values(looked)[columns],
        )
    )
    which = torch.from_numpy(columns)
    at_start = torch.tensor([np.log(start.temperature), start.own, np.log(max(start.weight, 1e-3))]).float()
    pooled = at_start.clone().requires_grad_()
    spread = torch.zeros(len(names), requires_grad=True)
    offsets = torch.full((len(names),), float(start.offset), requires_grad=True)
    optimizer = torch.optim.LBFGS([pooled, spread, offsets], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logs = F.log_softmax(logit_scale * torch.exp(-pooled[0]) * cosines, dim=1)
        sure = 1.0 + (logs.exp() * logs).sum(dim=1) / np.log(max(len(names), 2))
        said = logs.gather(1, which[:, None])[:, 0]
        weight = torch.exp(pooled[2] + spread)[which]
        fused = own + sure * ((pooled[1] - 1.0) * own + weight * said + offsets[which])
        surprise = (worth * (F.softplus(fused) - hits * fused)).sum()
        away = ((pooled - at_start) / _POOLED_SPREAD).square().sum() + (spread / _CLASS_SPREAD).square().sum()
        away = away + ((offsets - offsets.mean()) / _OFFSET_SPREAD).square().sum()
        total = surprise + 0.5 * away
        total.backward()
        return total

    optimizer.step(loss)
    temperature, exponent, weight = pooled.detach().tolist()
    each, added = torch.exp(pooled[2] + spread).tolist(), offsets.tolist()
    return Fusion(
        round(float(np.exp(temperature)), 4),
        round(max(exponent, 0.05), 4),
        round(float(np.exp(weight)), 4),
        round(float(np.mean(added)), 4),
        {name: round(value, 4) for name, value in zip(names, each, strict=True)},
        {name: round(value, 4) for name, value in zip(names, added, strict=True)},
    )


def fit_least_ambiguity(looked: Looked, names: Sequence[str], logit_scale: float, fusion: Fusion) -> float:
    """The ambiguity from which on asking is worth it: less ambiguous boxes hold a fortieth of what is gained.

    What is gained is the log likelihood of what is right, weighed by what it is worth to know a class.
    """
    values = fit_values(looked)
    fused = fusion(looked.confidences, fusion.shares(looked.cosines, logit_scale), names)
    gained = np.where(looked.counted, _surprise(looked.confidences, looked.hits) - _surprise(fused, looked.hits), 0.0)
    doubt = ambiguity(looked.confidences, values)
    order = np.argsort(doubt, kind="stable")
    below = np.cumsum((gained @ values)[order])
    if not len(below) or below[-1] <= 0:
        return 0.0
    first = int(np.flatnonzero(below <= _UNTOLD * below[-1]).max(initial=-1)) + 1
    return float(np.floor(doubt[order][min(first, len(order) - 1)] * 1e3) / 1e3)


def _surprise(confidences: NDArray, hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Negative log likelihood of each pair."""
    said = logit(confidences)
    return np.logaddexp(0.0, said) - hits * said

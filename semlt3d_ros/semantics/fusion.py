"""What a classifier and a CLIP say of the same box, made into one: a weighted geometric mean, on the scale of logits.

A class that the classifier gave confidence c and the CLIP share p comes out with

    logit(c) + u * ((own - 1) * logit(c) + weight * log(p) + offset)

u in [0, 1] is how sure the CLIP is: 1 less its entropy over the most it can be. A sure CLIP (u = 1) is taken into a
geometric mean with exponents ``own`` and ``weight``; one that finds all names equally fitting changes nothing, exactly.
Temperature, exponents and offsets are fitted (``fusion_fit``); ``offset`` is what a prior over the classes comes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule

Floats = NDArray[np.float64]

_LEAST = 1e-7


@dataclass(frozen=True)
class Fusion(Checked):
    """How much a CLIP's opinion counts.

    Attributes:
        temperature: of the CLIP's distribution over names, relative to its own: the same number means the same for a
            CLIP with a scale of 15 and for one with 100.
        own: exponent of the classifier's confidence beside a CLIP that is sure.
        weight, offset: exponent of the CLIP's share, and what is added; of classes that are not listed, as those that
            language adds.
        weights, offsets: the same for single classes, by name.
    """

    TITLE: ClassVar[str] = "fusion"
    CHECKS: ClassVar[Checks] = (
        *positive("temperature", "own"),
        *not_negative("weight"),
        rule(lambda f: f.weights.keys() == f.offsets.keys(), "weights and offsets must be of the same classes"),
        rule(lambda f: all(value >= 0 for value in f.weights.values()), "weights must not be negative"),
    )

    temperature: float = 1.0
    own: float = 0.7
    weight: float = 0.7
    offset: float = 1.0
    weights: dict[str, float] = field(default_factory=dict)
    offsets: dict[str, float] = field(default_factory=dict)

    def shares(self, cosines: NDArray, logit_scale: float) -> Floats:
        """The CLIP's log shares (N, K) of K names, from cosines (N, K) and its own scale."""
        logits = logit_scale / self.temperature * np.asarray(cosines, np.float64)
        logits = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def __call__(self, confidences: NDArray, log_shares: Floats, names: Sequence[str]) -> NDArray[np.float32]:
        """Both in one.

        Args:
            confidences: (N, K) the classifier's, in [0, 1]; 0 stays 0, for it marks what was suppressed.
            log_shares: (N, K) of ``shares``.
            names: of the K classes.
        """
        weight = np.array([self.weights.get(name, self.weight) for name in names])
        offset = np.array([self.offsets.get(name, self.offset) for name in names])
        own = logit(confidences)
        fused = own + sureness(log_shares) * ((self.own - 1.0) * own + weight * log_shares + offset)
        from scipy.special import expit  # not before it is needed: commands read settings first

        return np.where(np.asarray(confidences) > 0, expit(fused), 0.0).astype(np.float32)


def sureness(log_shares: Floats) -> Floats:
    """(N, 1) in [0, 1]: 0 where all of the K names have the same share, 1 where one has all; of log shares (N, K)."""
    names = log_shares.shape[1]
    if names < 2:
        return np.zeros((len(log_shares), 1))
    shares = np.exp(log_shares)
    entropy = -np.where(shares > 0, shares * np.maximum(log_shares, -1e3), 0.0).sum(axis=1, keepdims=True)
    return np.clip(1.0 - entropy / np.log(names), 0.0, 1.0)


def ambiguity(confidences: NDArray, values: Floats) -> Floats:
    """(N,) how much is left to be told about boxes with calibrated confidences (N, K).

    The variance of what each class turns out to be, 1 or 0, summed with the values (K,) of knowing it: boxes that are
    surely something, or hardly anything, are not ambiguous.
    """
    given = np.asarray(confidences, np.float64)
    return (given * (1.0 - given)) @ values


def logit(confidences: NDArray) -> Floats:
    """Of confidences of any shape, kept away from 0 and 1."""
    clipped = np.clip(np.asarray(confidences, np.float64), _LEAST, 1 - _LEAST)
    return np.log(clipped) - np.log1p(-clipped)

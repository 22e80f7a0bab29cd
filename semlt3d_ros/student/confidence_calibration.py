"""Calibration of confidences: a published c shall mean that about a share c of such boxes is right.

Each class has a temperature and an offset on the logit of its confidence (Platt scaling; Guo et al., ICML 2017),
fitted on validation boxes. Rare classes have too few of them to be fitted alone: they are drawn towards the fit of all
classes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from semlt3d_ros.core.errors import ConfigurationError

Floats = NDArray[np.float64]

_SCALE_LIMITS = (0.1, 10.0)
_POOLED_SPREAD = (1.0, 5.0)
_CLASS_SPREAD = (0.2, 0.6)
"""Standard deviations of the Gaussian priors on scale and offset: of all classes together about the identity, of one
class about the fit of all. A class moves away from the others as its boxes, not their scarcity, call for it."""
_LEAST = 1e-7


@dataclass(frozen=True)
class Scaling:
    """Maps confidences c to ``sigmoid(scale * logit(c) + offset)``; ``scale`` > 0, so no two change places."""

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, confidences: NDArray) -> NDArray[np.float32]:
        """Confidences of any shape, mapped; 0 stays 0, for it marks what was suppressed."""
        return _scaled(np.asarray(confidences), np.asarray(self.scale), np.asarray(self.offset))


@dataclass(frozen=True)
class Calibration:
    """Calibration of a checkpoint's classes.

    Attributes:
        scale, offset: (C,) of each class.
        boxes, hits: (C,) validation boxes each class was fitted on, and how many of them were right.
        added: for classes that are added by their language anchors alone, fitted on the language-aligned confidences of
            all trained classes together; the identity for a student without language.

    Raises:
        ConfigurationError: lengths differ, a value is not finite, or a scale is not positive.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    boxes: tuple[int, ...]
    hits: tuple[int, ...]
    added: Scaling = Scaling()

    def __post_init__(self) -> None:
        lengths = {len(self.scale), len(self.offset), len(self.boxes), len(self.hits)}
        values = np.array([*self.scale, *self.offset, self.added.scale, self.added.offset], dtype=np.float64)
        if len(lengths) != 1 or not np.isfinite(values).all() or min([*self.scale, self.added.scale]) <= 0:
            raise ConfigurationError(
                "calibration: needs one finite offset and one finite scale above 0 for each class; make it anew with "
                "'semlt3d calibrate'"
            )

    def __call__(self, confidences: NDArray) -> NDArray[np.float32]:
        """Confidences (..., C), mapped class by class; 0 stays 0."""
        return _scaled(np.asarray(confidences), np.asarray(self.scale), np.asarray(self.offset))

    def with_added(self, columns: Sequence[int]) -> Calibration:
        """The calibration of classes of which those in ``columns``, old or new ones, are scored by language alone."""
        rows = range(max([len(self.scale) - 1, *columns]) + 1)
        return Calibration(
            tuple(self.added.scale if row in columns else self.scale[row] for row in rows),
            tuple(self.added.offset if row in columns else self.offset[row] for row in rows),
            tuple(0 if row in columns else self.boxes[row] for row in rows),
            tuple(0 if row in columns else self.hits[row] for row in rows),
            self.added,
        )

    @classmethod
    def from_json(cls, values: Any, classes: int) -> Calibration:
        """What ``to_json`` gave, of a checkpoint with so many classes.

        Raises:
            ConfigurationError: it is not that.
        """
        try:
            added = Scaling(**{name: float(value) for name, value in values["added"].items()})
            scale, offset = (tuple(float(value) for value in values[name]) for name in ("scale", "offset"))
            boxes, hits = (tuple(int(value) for value in values[name]) for name in ("boxes", "hits"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"calibration cannot be read: {error!r}; make it anew") from error
        if len(scale) != classes:
            raise ConfigurationError(f"calibration is of {len(scale)} classes, there are {classes}; make it anew")
        return cls(scale, offset, boxes, hits, added)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {**vars(self), "added": vars(self.added)}


def fit(scores: Sequence[Floats], hits: Sequence[NDArray[np.bool_]]) -> Calibration:
    """Fit a calibration by maximum a posteriori.

    Args:
        scores: for each class the confidences (P,) of its validation boxes, above 0.
        hits: for each class whether each of these boxes is right (P,).

    Returns:
        The calibration; a class without boxes gets the fit of all classes together.
    """
    together = fit_scaling(np.concatenate([np.zeros(0), *scores]), np.concatenate([np.zeros(0, np.bool_), *hits]))
    fits = [_fit(each, right, together, _CLASS_SPREAD) for each, right in zip(scores, hits, strict=True)]
    return Calibration(
        tuple(each.scale for each in fits),
        tuple(each.offset for each in fits),
        tuple(len(each) for each in scores),
        tuple(int(np.sum(right)) for right in hits),
    )


def fit_scaling(scores: Floats, hits: NDArray[np.bool_]) -> Scaling:
    """One scaling for all of the given boxes; the identity, almost, where they are few."""
    return _fit(scores, hits, Scaling(), _POOLED_SPREAD)


def _fit(scores: Floats, hits: NDArray[np.bool_], prior: Scaling, spread: tuple[float, float]) -> Scaling:
    # With the prior's square the negative log posterior is strictly convex: there is one minimum, and it is finite even
    # where all boxes are right, or none is.
    logits, target = _logit(scores), np.asarray(hits, np.float64)
    center = np.array([prior.scale, prior.offset])
    width = np.array(spread)

    def loss(values: Floats) -> tuple[float, Floats]:
        mapped = values[0] * logits + values[1]
        away = (values - center) / width
        surprise = np.logaddexp(0.0, mapped) - target * mapped
        error = expit(mapped) - target
        return float(surprise.sum() + 0.5 * away @ away), np.array([error @ logits, error.sum()]) + away / width

    limits = (_SCALE_LIMITS, (None, None))
    found = minimize(loss, center, jac=True, method="L-BFGS-B", bounds=limits, options={"ftol": 1e-12, "gtol": 1e-9})
    return Scaling(float(found.x[0]), float(found.x[1]))


def _scaled(confidences: NDArray, scale: Floats, offset: Floats) -> NDArray[np.float32]:
    mapped = expit(scale * _logit(confidences) + offset)
    return np.where(confidences > 0, mapped, 0.0).astype(np.float32)


def _logit(confidences: NDArray) -> Floats:
    clipped = np.clip(np.asarray(confidences, np.float64), _LEAST, 1 - _LEAST)
    return np.log(clipped / (1 - clipped))

"""Whether confidences are what they say: of predictions with confidence 0.7, 70 % should be right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Confidence and precision of predictions, bin by bin; empty bins are left out.

    Attributes:
        confidence: (B,) mean confidence in each bin.
        precision: (B,) share of right predictions in each bin.
        count: (B,) number of predictions in each bin.
    """

    confidence: NDArray[np.float64]
    precision: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def error(self) -> float | None:
        """Expected calibration error in [0, 1] (Naeini et al., AAAI 2015): mean gap between confidence and precision.

        None without predictions.
        """
        if len(self.count) == 0:
            return None
        return float(np.average(np.abs(self.confidence - self.precision), weights=self.count))

    def to_json(self) -> dict[str, Any]:
        """The bins and the error as plain values."""
        bins = {name: getattr(self, name).tolist() for name in ("confidence", "precision", "count")}
        return {"expected_calibration_error": self.error, **bins}


def reliability(scores: ArrayLike, hits: ArrayLike, bins: int = BINS, equal_mass: bool = False) -> Reliability:
    """Compare confidence with precision.

    Args:
        scores: (N,) confidences in [0, 1].
        hits: (N,) whether each prediction was right.
        bins: number of bins.
        equal_mass: bins of equal numbers of predictions instead of equal width in confidence. Equal scores may then
            fall into two bins.

    Raises:
        ValueError: sizes differ, a score is not in [0, 1], or there are no bins.
    """
    scores, hits = np.asarray(scores, np.float64), np.asarray(hits, np.bool_)
    if scores.shape != hits.shape or scores.ndim != 1:
        raise ValueError(f"scores have shape {scores.shape} and hits {hits.shape}; both must be (N,)")
    if not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError("scores must be in [0, 1]; apply the sigmoid first")
    if bins < 1:
        raise ValueError(f"bins is {bins}; there must be one at least")
    if equal_mass:
        place = np.empty(len(scores), dtype=np.int64)
        place[np.argsort(scores, kind="stable")] = np.arange(len(scores)) * bins // max(1, len(scores))
    else:
        place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    confidence = np.bincount(place, scores, minlength=bins)[used] / count[used]
    precision = np.bincount(place, hits, minlength=bins)[used] / count[used]
    return Reliability(confidence, precision, count[used])


def expected_calibration_error(
    scores: ArrayLike, hits: ArrayLike, bins: int = BINS, equal_mass: bool = False
) -> float | None:
    """Expected calibration error in [0, 1], None without predictions; arguments and errors as of ``reliability``."""
    return reliability(scores, hits, bins, equal_mass).error

"""How well it is told what points lie on: intersection over union (Everingham et al., IJCV 2015, section 4.2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.point_classes import UNKNOWN


@dataclass(frozen=True)
class Segmentation:
    """Figures of the classes of points.

    Attributes:
        class_names: the n classes.
        counts: (n, n + 1) int64 points by true class (row) and predicted class (column); the last column is of points
            of which nothing was said.
    """

    class_names: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def iou(self) -> dict[str, float | None]:
        """Class to intersection over union; None for classes on which no true point lies.

        A point of which nothing was said counts as missed. Of points whose true class is not known nothing counts.
        """
        hits, truth = np.diagonal(self.counts), self.counts.sum(axis=1)
        union = truth + self.counts[:, :-1].sum(axis=0) - hits
        return {
            name: float(hits[row] / union[row]) if truth[row] else None for row, name in enumerate(self.class_names)
        }

    @property
    def miou(self) -> float | None:
        """Mean over the classes on which true points lie; None where there are none."""
        known = [value for value in self.iou.values() if value is not None]
        return float(np.mean(known)) if known else None

    @property
    def accuracy(self) -> float | None:
        """Share of the points whose class was told right; None without points."""
        whole = self.counts.sum()
        return float(np.trace(self.counts) / whole) if whole else None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        truth = self.counts.sum(axis=1)
        return {
            "miou": self.miou,
            "accuracy": self.accuracy,
            "iou": self.iou,
            "points": {name: int(truth[row]) for row, name in enumerate(self.class_names)},
        }


def count_points(truth: NDArray, predicted: NDArray, classes: int) -> NDArray[np.int64]:
    """(n, n + 1) points by true and predicted class, as ``Segmentation`` takes them.

    Args:
        truth: (N,) indices of classes; points whose class is ``UNKNOWN`` are not judged.
        predicted: (N,) indices of classes, ``UNKNOWN`` where nothing was said.
        classes: their number n.

    Raises:
        ValueError: there are not as many of one as of the other, or an index is none.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"{len(predicted)} predictions for {len(truth)} points")
    known = truth != UNKNOWN
    rows = truth[known].astype(np.int64)
    columns = np.where(predicted[known] == UNKNOWN, classes, predicted[known]).astype(np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= classes or columns.min() < 0 or columns.max() > classes):
        raise ValueError(f"classes of points must be 0 to {classes - 1}, or {UNKNOWN}")
    flat = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return flat.reshape(classes, classes + 1)


def segmentation_of(counts: Iterable[NDArray[np.int64]], class_names: Sequence[str]) -> Segmentation | None:
    """Figures of clouds of each of which points were counted; None where no point was judged."""
    empty = np.zeros((len(class_names), len(class_names) + 1), np.int64)
    whole = sum(counts, start=empty)
    return Segmentation(tuple(class_names), whole) if whole.any() else None

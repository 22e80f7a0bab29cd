"""From frames to the predictions and the true boxes that count, as tables over a batch of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.evaluation.protocols import Protocol
from semlt3d_ros.evaluation.settings import EvaluationSettings

NOT_EVALUATED = -2
"""Stands for the class of a column or a label that the protocol does not evaluate. (``ABSENT`` is of no class.)"""


@dataclass(frozen=True)
class BoxTable:
    """Boxes of several frames.

    Attributes:
        boxes: N boxes, each in its frame's ego frame.
        frames: (N,) number of each box's frame, ascending.
        attributes: N attribute names, ``""`` where unknown; empty where nobody knows any.
    """

    boxes: Boxes3D
    frames: NDArray[np.int64]
    attributes: Sequence[str]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Predictions:
    """(box, class) pairs that count: row ``i`` says that box ``rows[i]`` is a ``class_ids[i]`` with ``scores[i]``.

    Pairs are in the order of their boxes.
    """

    rows: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Truth:
    """True boxes that count, with the protocol's index of each one's class; and boxes of none, to be ignored."""

    table: BoxTable
    class_ids: NDArray[np.int64]
    ignored: BoxTable


@lru_cache(maxsize=64)
def columns_of(class_names: tuple[str, ...], protocol: Protocol) -> tuple[int, ...]:
    """The protocol's class of each column of confidences; ``NOT_EVALUATED`` where there is none."""
    found = (protocol.class_of(name) for name in class_names)
    return tuple(NOT_EVALUATED if index is None else index for index in found)


@lru_cache(maxsize=64)
def unknown_names(class_names: tuple[str, ...], protocol: Protocol) -> tuple[str, ...]:
    """Names that mean nothing to the protocol."""
    return tuple(name for name in class_names if name not in protocol.known)


def protocol_confidences(detections: Detections, protocol: Protocol) -> NDArray[np.float32]:
    """Confidences (N, K) in the K classes of the protocol.

    Where several classes count as one, a box is as much of it as of the most confident of them: taken singly they would
    be duplicates of each other.
    """
    columns = columns_of(detections.class_names, protocol)
    count = len(protocol.classes)
    if columns == tuple(range(count)):
        return detections.confidences
    merged = np.zeros((len(detections), count), np.float32)
    for column, index in enumerate(columns):
        if index != NOT_EVALUATED:
            merged[:, index] = np.fmax(merged[:, index], detections.confidences[:, column])
    return merged


def select_predictions(
    frames: Sequence[Detections], attributes: Sequence[tuple[str, ...]], settings: EvaluationSettings
) -> tuple[BoxTable, Predictions]:
    """The predictions that count: the ``max_boxes`` most confident pairs of each frame, less those out of range.

    Pairs without confidence (zero or NaN), boxes that are not physical, and classes that the protocol does not
    have, are no predictions.

    Args:
        frames: detections of one or more frames.
        attributes: names for the boxes of each frame; none where they are not known.
        settings: what counts.
    """
    table = _table([each.boxes for each in frames], attributes)
    boxes = table.boxes
    confidences = np.concatenate([protocol_confidences(each, settings.protocol) for each in frames])
    counts = (confidences > 0) & boxes.physical()[:, None]
    if settings.predictions == "best" and confidences.size:
        best = np.where(counts, confidences, -1.0).argmax(axis=1)
        counts &= np.arange(confidences.shape[1])[None] == best[:, None]
    rows, class_ids = np.nonzero(counts)
    scores = confidences[rows, class_ids]
    keep = _most_confident(table.frames[rows], scores, settings.protocol.max_boxes)
    keep &= _within_range(boxes.centers[rows], class_ids, settings)
    return table, Predictions(rows[keep], class_ids[keep], scores[keep])


def select_truth(
    labels: Sequence[Labels], attributes: Sequence[tuple[str, ...]], settings: EvaluationSettings
) -> Truth:
    """The truth that counts: of the protocol's classes, within range, and visible enough where that is known.

    Boxes that are not physical are no truth, nor are they ignored. Arguments as of ``select_predictions``.
    """
    table = _table([each.boxes for each in labels], attributes)
    class_ids = np.concatenate([_protocol_ids(each, settings.protocol) for each in labels])
    physical = table.boxes.physical()
    keep = (class_ids >= 0) & _within_range(table.boxes.centers, class_ids, settings) & physical
    ignored = (class_ids == ABSENT) & physical & (settings.of_no_class == "ignored")
    for known, least in (
        (np.concatenate([each.visible_pixels for each in labels]), settings.min_visible_pixels),
        (np.concatenate([each.lidar_points for each in labels]), settings.min_lidar_points),
    ):
        keep &= (known < 0) | (known >= least)
    names = [name for name, kept in zip(table.attributes, keep, strict=True) if kept] if table.attributes else []
    kept = BoxTable(table.boxes[keep], table.frames[keep], names)
    return Truth(kept, class_ids[keep], BoxTable(table.boxes[ignored], table.frames[ignored], []))


def _protocol_ids(labels: Labels, protocol: Protocol) -> NDArray[np.int64]:
    """(N,) the protocol's class of each label, ``NOT_EVALUATED`` or ``ABSENT``."""
    return np.array([*columns_of(labels.class_names, protocol), ABSENT], np.int64)[labels.class_ids]


def _table(boxes: Sequence[Boxes3D], attributes: Sequence[tuple[str, ...]]) -> BoxTable:
    counts = [len(each) for each in boxes]
    joined = Boxes3D(
        np.concatenate([each.centers for each in boxes]),
        np.concatenate([each.sizes for each in boxes]),
        np.concatenate([each.yaw for each in boxes]),
        np.concatenate([each.velocity for each in boxes]),
    )
    names: list[str] = []
    if any(attributes):
        for given, count in zip(attributes, counts, strict=True):
            names.extend(given or ("",) * count)
    return BoxTable(joined, np.repeat(np.arange(len(boxes)), counts), names)


def _most_confident(frames: NDArray[np.int64], scores: NDArray[np.float32], most: int) -> NDArray[np.bool_]:
    """Which rows are among the ``most`` most confident of their frame; of equal ones the earlier."""
    counts = np.bincount(frames)
    if counts.max(initial=0) <= most:
        return np.ones(len(scores), np.bool_)
    order = np.lexsort((-scores, frames))
    place = np.arange(len(scores)) - np.repeat(np.cumsum(counts) - counts, counts)
    keep = np.zeros(len(scores), np.bool_)
    keep[order[place < most]] = True
    return keep


def _within_range(
    centers: NDArray[np.float64], class_ids: NDArray[np.int64], settings: EvaluationSettings
) -> NDArray[np.bool_]:
    x, y = centers[:, 0], centers[:, 1]
    with np.errstate(over="ignore"):
        return x * x + y * y < np.square(settings.ranges_m)[class_ids]

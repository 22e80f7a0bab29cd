"""What became of each prediction: right, wrong, or wrong in a way that a coarser look forgives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.evaluation.matching import NOBODY, Pairs, as_wishes, match, near_pairs
from semlt3d_ros.evaluation.protocols import Protocol
from semlt3d_ros.evaluation.selection import BoxTable, Predictions, Truth

ERRORS: tuple[str, ...] = ("ate", "ase", "aoe", "ave", "aae")
"""Translation (m), scale (1 - IoU of the aligned boxes), orientation (rad), velocity (m/s) and attribute error."""

LEVELS: tuple[int, ...] = (0, 1, 2)
"""How far up the hierarchy the least common ancestor of a confusion may lie to be forgiven: nowhere, at the
super-class, at "object" (LT3D section 4)."""

IGNORED, TRUE_POSITIVE, ALWAYS_WRONG = -1, 0, 3
"""Codes of ``Outcomes.codes``; those between are the level from which a false positive is forgiven."""


@dataclass(frozen=True)
class Outcomes:
    """What became of P predictions.

    Attributes:
        class_ids: (P,) the protocol's class of each.
        scores: (P,) confidences.
        codes: (P, T) int8, for each distance ``TRUE_POSITIVE``, ``ALWAYS_WRONG``, ``IGNORED`` where it is on an object
            of none of the classes, or the level from which it does not count: 1 where a true box of another class of
            the same super-class is near, 2 where one of any class is.
        hits: (H,) the predictions that are true positives at the protocol's ``tp_distance``.
        errors: (H, 5) their errors in the order of ``ERRORS``; NaN where unknown.
    """

    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    codes: NDArray[np.int8]
    hits: NDArray[np.int64]
    errors: NDArray[np.float64]


def find_pairs(table: BoxTable, predictions: Predictions, truth: Truth, protocol: Protocol) -> Pairs:
    """Predictions and the true boxes of any class within the protocol's largest distance."""
    return near_pairs(
        table.boxes.centers[predictions.rows, :2],
        table.frames[predictions.rows],
        truth.table.boxes.centers[:, :2],
        truth.table.frames,
        max(protocol.distances),
    )


def on_ignored(table: BoxTable, predictions: Predictions, truth: Truth, protocol: Protocol) -> NDArray[np.bool_]:
    """(P,) which predictions are within the protocol's largest distance of an ignored object, or in its outline."""
    ignored = truth.ignored
    found = np.zeros(len(predictions), np.bool_)
    if len(ignored):
        reach = max(protocol.distances)
        places = table.boxes.centers[predictions.rows, :2]
        outreach = max(reach, np.hypot(ignored.boxes.sizes[:, 0], ignored.boxes.sizes[:, 1]).max())
        pairs = near_pairs(
            places, table.frames[predictions.rows], ignored.boxes.centers[:, :2], ignored.frames, outreach
        )
        offset, yaw = places[pairs.predictions] - ignored.boxes.centers[pairs.truth, :2], ignored.boxes.yaw[pairs.truth]
        along = offset[:, 0] * np.cos(yaw) + offset[:, 1] * np.sin(yaw)
        across = offset[:, 1] * np.cos(yaw) - offset[:, 0] * np.sin(yaw)
        half = np.abs(ignored.boxes.sizes[pairs.truth, :2]) / 2
        inside = (np.abs(along) <= half[:, 0]) & (np.abs(across) <= half[:, 1])
        found[pairs.predictions[inside | (pairs.distance < reach)]] = True
    return found


def judge(table: BoxTable, predictions: Predictions, truth: Truth, pairs: Pairs, protocol: Protocol) -> Outcomes:
    """Match every class for itself, at every distance, and measure the errors of what matched.

    A false positive near a true box of another class is forgiven from the level of their common ancestor on; whether
    that box was found by a prediction of its own class does not matter, as in the LT3D development kit. One on an
    ignored object is no false positive at all.
    """
    superclass = np.unique([info.family for info in protocol.classes], return_inverse=True)[1]
    predicted_class, true_class = predictions.class_ids[pairs.predictions], truth.class_ids[pairs.truth]
    same = predicted_class == true_class
    cousins = ~same & (superclass[predicted_class] == superclass[true_class])
    own = as_wishes(pairs.where(same), predictions.scores)
    codes = np.full((len(predictions), len(protocol.distances)), ALWAYS_WRONG, dtype=np.int8)
    taken = np.full(len(predictions), NOBODY)
    ignored = on_ignored(table, predictions, truth, protocol)
    for column, distance in enumerate(protocol.distances):
        near = pairs.distance < distance
        codes[pairs.predictions[near & ~same], column] = 2
        codes[pairs.predictions[near & cousins], column] = 1
        codes[ignored, column] = IGNORED
        found = match(own.where(own.distance < distance), len(predictions), len(truth.class_ids))
        codes[found != NOBODY, column] = TRUE_POSITIVE
        if distance == protocol.tp_distance:
            taken = found
    hits = np.flatnonzero(taken != NOBODY)
    errors = _errors(table, predictions.rows[hits], truth.table, taken[hits], predictions.class_ids[hits], protocol)
    return Outcomes(predictions.class_ids, predictions.scores, codes, hits, errors)


def _errors(
    predicted: BoxTable,
    rows: NDArray[np.int64],
    truth: BoxTable,
    true_rows: NDArray[np.int64],
    class_ids: NDArray[np.int64],
    protocol: Protocol,
) -> NDArray[np.float64]:
    turns_half = np.array([name in protocol.half_turn for name in protocol.class_names])[class_ids]
    period = np.where(turns_half, np.pi, 2 * np.pi)
    geometric = true_positive_errors(predicted.boxes[rows], truth.boxes[true_rows], period)
    attribute = np.full(len(rows), np.nan)
    if truth.attributes:
        for hit, (row, true_row) in enumerate(zip(rows.tolist(), true_rows.tolist(), strict=True)):
            if known := truth.attributes[true_row]:
                attribute[hit] = not predicted.attributes or predicted.attributes[row] != known
    return np.append(geometric, attribute[:, None], axis=1)


def true_positive_errors(predicted: Boxes3D, truth: Boxes3D, period: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors (N, 4) of predictions against the truth they matched, in the order of ``ERRORS``; NaN where unknown.

    Args:
        predicted: N boxes.
        truth: N boxes.
        period: (N,) radians after which a heading means the same again.
    """
    translation = np.linalg.norm(predicted.centers[:, :2] - truth.centers[:, :2], axis=1)
    intersection = np.minimum(predicted.sizes, truth.sizes).prod(axis=1)
    union = predicted.sizes.prod(axis=1) + truth.sizes.prod(axis=1) - intersection
    overlap = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    turn = np.abs((truth.yaw - predicted.yaw + period / 2) % period - period / 2)
    with np.errstate(invalid="ignore", over="ignore"):
        velocity = np.linalg.norm(predicted.velocity - truth.velocity, axis=1)
    velocity[~np.isfinite(velocity)] = np.nan
    return np.stack([translation, 1.0 - overlap, turn, velocity], axis=1)

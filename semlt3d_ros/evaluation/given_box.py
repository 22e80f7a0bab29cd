"""How well classes are told apart where there is a box: average precision among the objects that were found.

Ordinary average precision of a rare class is mostly about what else is taken for it, anywhere in the frame, and its few
objects make it vary. Here nothing is asked but which class an object has that some box lies on, and all classes weigh
alike, however frequent they are: by chance alone one comes to 1 / K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.evaluation.bootstrap import Answer
from semlt3d_ros.evaluation.matching import near_pairs
from semlt3d_ros.evaluation.selection import select_predictions, select_truth
from semlt3d_ros.evaluation.settings import EvaluationSettings


@dataclass(frozen=True)
class Named:
    """What is said of N true objects that have a box.

    Attributes:
        class_ids: (N,) the protocol's class of each.
        scores: (N, K) the confidence in each class, of the boxes that lie on the object the highest.
        drives: (N,) the drive of each.
    """

    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    drives: NDArray[np.int64]


def named(answers: Sequence[Answer], settings: EvaluationSettings) -> Named:
    """The objects with a box within the protocol's ``tp_distance``; a box speaks of the object nearest to it.

    Args:
        answers: at least one; what a detector found in labelled frames.
        settings: what counts.
    """
    numbers, found, labels = zip(*answers, strict=True)
    protocol, no_attributes = settings.protocol, [()] * len(answers)
    table, predictions = select_predictions(found, no_attributes, settings)
    truth = select_truth(labels, no_attributes, settings)
    pairs = near_pairs(
        table.boxes.centers[predictions.rows, :2],
        table.frames[predictions.rows],
        truth.table.boxes.centers[:, :2],
        truth.table.frames,
        protocol.tp_distance,
    )
    order = np.lexsort((pairs.distance, pairs.predictions))
    said, first = np.unique(pairs.predictions[order], return_index=True)
    about = pairs.truth[order][first]
    scores = np.zeros((len(truth.class_ids), len(protocol.classes)), np.float32)
    np.maximum.at(scores, (about, predictions.class_ids[said]), predictions.scores[said])
    there = np.unique(about)
    drives = np.array(numbers, np.int64)[truth.table.frames]
    return Named(truth.class_ids[there], scores[there], drives[there])


def naming_precisions(objects: Named, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(B, K) average precision of each class among the objects; NaN where none of the class has a box.

    Objects are ranked by their confidence in the class; those of each class weigh as much as those of any other.

    Args:
        objects: what is said of them.
        counts: (B, D) how often each drive counts.
    """
    classes = objects.scores.shape[1]
    result = np.full((len(counts), classes), np.nan)
    if not len(objects.class_ids):
        return result
    times = counts[:, objects.drives].astype(np.float64)
    of_class = times @ (objects.class_ids[:, None] == np.arange(classes))
    weights = times / np.maximum(of_class, 1.0)[:, objects.class_ids]
    for class_id in range(classes):
        scores = objects.scores[:, class_id]
        order = np.argsort(-scores, kind="stable")
        right = objects.class_ids[order] == class_id
        # Of equal scores none comes before the other: precision is that behind them all.
        behind = np.searchsorted(-scores[order], -scores[order][right], side="right") - 1
        said = scores[order][right] > 0
        mine = weights[:, order]
        hits, all_of_them = (part.cumsum(axis=1)[:, behind] for part in (np.where(right, mine, 0.0), mine))
        precision = np.divide(hits, all_of_them, out=np.zeros_like(hits), where=all_of_them > 0)
        there = of_class[:, class_id] > 0
        result[there, class_id] = (mine[:, right] * precision * said).sum(axis=1)[there]
    return result

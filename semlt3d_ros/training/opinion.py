"""``semlt3d opinion``: whom to ask for a second opinion, and how much it counts, from drives with ground truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.evaluation.outcomes import IGNORED, TRUE_POSITIVE, find_pairs, judge
from semlt3d_ros.evaluation.selection import select_predictions, select_truth
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.semantics.fusion_fit import Looked, fit_fusion, fit_least_ambiguity, fit_values
from semlt3d_ros.semantics.opinion_settings import Fitted, OpinionSettings
from semlt3d_ros.semantics.second_opinion import SecondOpinion
from semlt3d_ros.training.validation import judged

LOOKED_AT = 64
"""Boxes of a frame that are looked at for the fit: the most ambiguous, and more than are asked about later."""


@dataclass
class _Seen:
    found: Detections
    labels: Labels
    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


def fit_opinion(
    opinion: SecondOpinion,
    logit_scale: float,
    answers: Iterable[tuple[Frame, Detections]],
    settings: EvaluationSettings,
    version: str,
) -> OpinionSettings:
    """Settings fitted on labelled frames and what a detector found in them.

    A box is right as in calibration: when evaluation matches it to a true box of its class within the protocol's
    ``tp_distance``; what is on an object of none of the classes takes no part.

    Args:
        opinion: with the CLIP, and settings whose fusion is the start.
        logit_scale: the CLIP's own.
        answers: frames with labels and images, and the detector's own detections.
        settings: of the evaluation.
        version: of the detector.

    Raises:
        ConfigurationError: no frame has labels, or nothing was found.
    """
    seen = []
    for frame, detections in answers:
        if frame.labels is None:
            continue
        found, labels = judged(detections, frame.labels, frame)
        look = opinion.look(frame, found, opinion.ambiguous(found))
        seen.append(_Seen(found, labels, look.rows, look.cosines))
    if not any(len(each.rows) for each in seen):
        raise ConfigurationError("a second opinion is fitted on labelled frames in which something is found; none were")
    looked, names = _looked(seen, settings), seen[0].found.class_names
    fusion = fit_fusion(looked, names, logit_scale, opinion.settings.fusion)
    values = fit_values(looked)
    return replace(
        opinion.settings,
        values={name: round(float(value), 4) for name, value in zip(names, values, strict=True)},
        least_ambiguity=fit_least_ambiguity(looked, names, logit_scale, fusion),
        fusion=fusion,
        fitted=Fitted(version, opinion.identity, len(looked), int((looked.hits & looked.counted).sum())),
    )


def _looked(seen: list[_Seen], settings: EvaluationSettings) -> Looked:
    protocol, nothing = settings.protocol, [()] * len(seen)
    table, predictions = select_predictions([each.found for each in seen], nothing, settings)
    truth = select_truth([each.labels for each in seen], nothing, settings)
    outcomes = judge(table, predictions, truth, find_pairs(table, predictions, truth, protocol), protocol)
    codes = outcomes.codes[:, protocol.distances.index(protocol.tp_distance)]
    confidences = np.concatenate([each.found.confidences for each in seen])
    hits, counted = np.zeros(confidences.shape, np.bool_), np.zeros(confidences.shape, np.bool_)
    hits[predictions.rows, predictions.class_ids] = codes == TRUE_POSITIVE
    counted[predictions.rows, predictions.class_ids] = codes != IGNORED
    starts = np.cumsum([0, *(len(each.found) for each in seen)])
    rows = np.concatenate([start + each.rows for start, each in zip(starts, seen, strict=False)])
    cosines = np.concatenate([each.cosines for each in seen])
    return Looked(confidences[rows], cosines, hits[rows], counted[rows])

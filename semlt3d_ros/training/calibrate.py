"""``semlt3d calibrate`` and the end of ``semlt3d train``: confidences that say how often they are right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.outputs import require_place
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.evaluation.confidence_calibration import expected_calibration_error
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.evaluation.outcomes import IGNORED, TRUE_POSITIVE, find_pairs, judge
from semlt3d_ros.evaluation.protocols import protocol_of
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.evaluation.selection import select_predictions, select_truth
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.postprocess import postprocess
from semlt3d_ros.student.confidence_calibration import Calibration, fit, fit_scaling
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.recipe import load_recipe, settings_of, unfit_images
from semlt3d_ros.training.validation import judged

LANGUAGE_SHARES: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the language-aligned logits that are tried on validation frames."""

Answer = tuple[int, Detections, Labels]
"""Number of the drive, what was found in a frame of it, what was there."""


@dataclass(frozen=True)
class Judged:
    """Published (box, class) pairs of validation frames: drive, class, confidence, whether it is right (P,) each."""

    drives: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]

    def where(self, mask: NDArray[np.bool_]) -> Judged:
        """The pairs chosen by a boolean mask (P,)."""
        return Judged(self.drives[mask], self.class_ids[mask], self.scores[mask], self.hits[mask])


@dataclass(frozen=True)
class Fitted:
    """A student's calibration and what it was chosen by.

    Attributes:
        config: the student's, with the best share of language.
        calibration: fitted on all validation drives.
        report: figures of the calibrated student on validation. Its calibration errors are on the drives that the
            calibration was fitted on; ``error_after`` is not.
        error_before, error_after: expected calibration error as evaluation measures it, without calibration and with
            each half of the drives calibrated by the other half.
        language_shares: share of language to validation mAP; empty for a student without language.
    """

    config: StudentConfig
    calibration: Calibration
    report: Report
    error_before: float | None
    error_after: float | None
    language_shares: dict[float, float | None]

    def summary(self) -> dict[str, Any]:
        """For people and for JSON."""
        return {
            "calibration_error_before": self.error_before,
            "calibration_error_after": self.error_after,
            "language_share": self.config.language_share,
            "map_by_language_share": {f"{share:g}": value for share, value in self.language_shares.items()},
        }


def calibrate(student: Student, frames: Frames, settings: EvaluationSettings, device: str = "cpu") -> Fitted:
    """Choose the share of language and fit the calibration of a student on validation frames.

    A box is right when evaluation matches it to a true box of its class within the protocol's ``tp_distance`` (2 m);
    what is on an object of none of the classes takes no part.

    Raises:
        ConfigurationError: there is no labelled frame.
    """
    shares = LANGUAGE_SHARES if student.config.language_width else (0.0,)
    answers = _answers(student, frames, shares, device)
    if not answers[shares[0]]:
        raise ConfigurationError("calibration needs validation frames with labels; there are none")
    reports = {share: evaluate(_pairs(found), settings) for share, found in answers.items()}
    # Of equally good shares the one nearest to the classifier's own logits.
    best = max(shares, key=lambda share: (reports[share].map or 0.0, -share))
    judged = _judged(answers[best], settings)
    calibration = _fit(judged, len(student.config.class_names))
    if student.config.language_width:
        aligned = _judged(answers[1.0], settings)
        calibration = replace(calibration, added=fit_scaling(aligned.scores, aligned.hits))
    calibrated = (
        (replace(found, confidences=calibration(found.confidences)), truth) for found, truth in _pairs(answers[best])
    )
    before, after = calibration_errors(judged, len(student.config.class_names), settings.min_confidence)
    return Fitted(
        replace(student.config, language_share=best),
        calibration,
        evaluate(calibrated, settings),
        before,
        after,
        {share: reports[share].map for share in shares} if student.config.language_width else {},
    )


def calibration_errors(judged: Judged, classes: int, min_confidence: float) -> tuple[float | None, float | None]:
    """Expected calibration error without and with calibration, of the pairs that reach ``min_confidence`` each time.

    Drives with even numbers are calibrated by those with odd ones, and the other way round.
    """
    odd = judged.drives % 2 == 1
    mapped = np.zeros(len(judged.scores))
    for half in (odd, ~odd):
        calibration = _fit(judged.where(~half), classes)
        table = np.repeat(judged.scores[half, None], classes, axis=1)
        mapped[half] = calibration(table)[np.arange(len(table)), judged.class_ids[half]]
    before, after = (
        expected_calibration_error(scores[scores >= min_confidence], judged.hits[scores >= min_confidence])
        for scores in (judged.scores, mapped)
    )
    return before, after


def calibrate_checkpoint(checkpoint: Path, recipe_path: Path, out: Path) -> dict[str, Any]:
    """Write a checkpoint anew with the calibration of its confidences on a recipe's validation frames.

    Args:
        checkpoint: any student of this package.
        recipe_path: says which frames, and which objects in them count.
        out: the checkpoint to write; it may be the same file.

    Returns:
        ``checkpoint``, ``map`` and ``Fitted.summary``.

    Raises:
        ConfigurationError: the checkpoint or the recipe cannot be used, or the recipe's images are not the student's.
    """
    require_place(out)
    recipe, origin = load_recipe(recipe_path), read_checkpoint(checkpoint)
    student = origin.student()
    for fault in (fault for spec in recipe.validation for fault in unfit_images(spec, origin.config)):
        raise ConfigurationError(f"recipe '{recipe_path}' is not for checkpoint '{checkpoint}': {fault}")
    with open_frames(recipe.validation, recipe.data_folder, origin.config) as frames:
        fitted = calibrate(student, frames, replace(settings_of(recipe), protocol=protocol_of(origin.classes)))
    student.config = fitted.config
    provenance = {**origin.header["provenance"], "calibrated_on": recipe_path.name}
    language = origin.header.get("language")
    save_checkpoint(out, student, origin.name, provenance, language, fitted.calibration, origin.classes)
    return {"checkpoint": str(out), "map": fitted.report.map, **fitted.summary()}


def _answers(student: Student, frames: Frames, shares: Sequence[float], device: str) -> dict[float, list[Answer]]:
    """What the student finds in each drive, by share of language: all from the same look at the images."""
    detector = Detector(student, "", device)
    configs = {share: replace(student.config, language_share=share) for share in shares}
    answers: dict[float, list[Answer]] = {share: [] for share in shares}
    for drive, clip in enumerate(frames.drives()):
        detector.reset()
        for index in clip:
            frame = frames.frame(index)
            layer = detector.look(frame)
            if frame.labels is None:
                continue
            for share, config in configs.items():
                (found,) = postprocess(layer, [frame.stamp], config)
                answers[share].append((drive, *judged(found, frame.labels, frame)))
    return answers


def _pairs(answers: Sequence[Answer]) -> Iterator[tuple[Detections, Labels]]:
    return ((found, truth) for _, found, truth in answers)


def _judged(answers: Sequence[Answer], settings: EvaluationSettings) -> Judged:
    drives, found, labels = zip(*answers, strict=True)
    protocol, no_attributes = settings.protocol, [()] * len(answers)
    table, predictions = select_predictions(found, no_attributes, settings)
    truth = select_truth(labels, no_attributes, settings)
    outcomes = judge(table, predictions, truth, find_pairs(table, predictions, truth, protocol), protocol)
    codes = outcomes.codes[:, protocol.distances.index(protocol.tp_distance)]
    judged = Judged(
        np.array(drives)[table.frames[predictions.rows]],
        outcomes.class_ids,
        outcomes.scores.astype(np.float64),
        codes == TRUE_POSITIVE,
    )
    return judged.where(codes != IGNORED)


def _fit(judged: Judged, classes: int) -> Calibration:
    of_class = [judged.class_ids == index for index in range(classes)]
    return fit([judged.scores[rows] for rows in of_class], [judged.hits[rows] for rows in of_class])

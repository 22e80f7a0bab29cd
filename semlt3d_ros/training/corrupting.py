"""Corrupted images, to learn from and to be judged on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.corruptions.benchmarks import Corruption, Corruptor, corruptions_named
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.evaluation.robustness import Robustness, figures_of
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.training.recipe import Recipe
from semlt3d_ros.training.validation import judged


def corrupted(frame: Frame, clip: int, recipe: Recipe) -> Frame:
    """A frame of a clip as it is learnt from: all frames of the clip are corrupted alike, or none is."""
    settings = recipe.augmentation
    if not settings.corrupt:
        return frame
    chance = np.random.default_rng([recipe.seed, clip, 1])
    if chance.random() >= settings.corrupt:
        return frame
    known = corruptions_named(settings.corruptions)
    drawn = known[chance.integers(len(known))]
    severity = int(chance.integers(len(drawn.strengths))) + 1
    cameras = [view.name for view in frame.views]
    return Corruptor(drawn, severity, cameras, int(chance.integers(2**31)))(frame)


def robustness_of(
    detector: Detector, frames: Frames, settings: EvaluationSettings, names: Sequence[str], clean: Report
) -> Robustness:
    """Figures on the same frames under every severity of corruptions.

    Args:
        detector: what detects.
        frames: labelled frames, with images of the size that the student takes.
        settings: of the evaluation.
        names: of corruptions.
        clean: the figures without.
    """
    found = {}
    for corruption in corruptions_named(names):
        severities = range(1, len(corruption.strengths) + 1)
        found[corruption.name] = [
            figures_of(evaluate(_detected(detector, frames, corruption, severity), settings)) for severity in severities
        ]
    return Robustness(figures_of(clean), found)


def _detected(
    detector: Detector, frames: Frames, corruption: Corruption, severity: int
) -> Iterator[tuple[Detections, Labels]]:
    """Detections and truth; in each drive other cameras crash."""
    for number, drive in enumerate(frames.drives()):
        detector.reset()
        cameras = [view.name for view in frames.frame(drive[0]).views]
        corruptor = Corruptor(corruption, severity, cameras, number)
        for frame in map(frames.frame, drive):
            found = detector.detect(corruptor(frame))
            if frame.labels is not None:
                yield judged(found, frame.labels, frame)

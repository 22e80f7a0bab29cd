"""A detector on labelled frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.evaluation.complete import LeftOut, where_labelled
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.training.ranks import Ranks


def evaluated(
    detector: Detector, frames: Frames, settings: EvaluationSettings, limit: int | None, ranks: Ranks
) -> Report | None:
    """Figures of a detector on labelled frames, the first ``limit`` of them.

    Several processes divide the drives among themselves; the first one has the answer, the others None.
    """
    drives = first_frames(frames.drives(), limit)
    found = detected(detector, frames, drives[ranks.own(len(drives))])
    if ranks.size == 1:
        return evaluate(found, settings)
    parts = ranks.gathered(list(found))
    return evaluate(itertools.chain.from_iterable(parts), settings) if ranks.leads else None


def first_frames(drives: Sequence[range], limit: int | None) -> list[range]:
    """The first ``limit`` frames of drives, drive by drive."""
    if limit is None:
        return list(drives)
    starts = itertools.accumulate(map(len, drives), initial=0)
    return [drive[: max(0, limit - start)] for drive, start in zip(drives, starts, strict=False) if start < limit]


def detected(detector: Detector, frames: Frames, drives: Sequence[range]) -> Iterator[tuple[Detections, Labels]]:
    """Detections and truth of labelled frames; each drive begins without memory.

    What lies where a frame's ground truth is not complete is left out of both.
    """
    for drive in drives:
        detector.reset()
        for index in drive:
            frame = frames.frame(index)
            found = detector.detect(frame)
            if frame.labels is not None:
                yield judged(found, frame.labels, frame)


def judged(found: Detections, labels: Labels, frame: Frame) -> tuple[Detections, Labels]:
    """Detections and truth that count in an evaluation: where a frame's ground truth is complete."""
    [(found, labels, *_)] = where_labelled([(found, labels, frame.region)], LeftOut())
    return found, labels

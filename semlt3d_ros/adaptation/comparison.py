"""Two detectors on the same frames, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.datasets.opening import Frames, Progress
from semlt3d_ros.evaluation.bootstrap import Answer
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.training.validation import judged

_WARM_UP = 2
"""First frames whose times do not count."""


@dataclass
class Side:
    """One of the two detectors: its answers, in the order of the frames.

    Attributes:
        answers: to labelled frames, with the number of the drive or clip that each belongs to.
        milliseconds: of every frame.
        failures: why there was no answer to a frame.
    """

    answers: list[Answer] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass
class Compared:
    """The answers of both.

    Attributes:
        running, candidate: what each said.
        frames: number of the labelled frame of each answer.
        drawn: how many drives, or clips of drives, have labelled frames; the answers are numbered by them.
        units: which of the two: ``"drives"`` or ``"clips"``.
    """

    running: Side
    candidate: Side
    frames: list[int]
    drawn: int
    units: str


def times(compared: Iterable[Compared]) -> tuple[float, float, float]:
    """Median milliseconds of the running and of the candidate, and the median of their ratio frame by frame, over all
    frames of several comparisons: a few frames alone are timed by chance."""
    before, after = list[float](), list[float]()
    for each in compared:
        first = _WARM_UP if len(each.running.milliseconds) > _WARM_UP else 0
        before += each.running.milliseconds[first:]
        after += each.candidate.milliseconds[first:]
    ratios = [second / max(first, 1e-6) for first, second in zip(before, after, strict=True)]
    return statistics.median(before), statistics.median(after), statistics.median(ratios)


def compare(
    running: FrameDetector,
    candidate: FrameDetector,
    frames: Frames,
    least_drives: int,
    clip_frames: int,
    progress: Progress,
) -> Compared:
    """Have both look at every frame, one right after the other, each in turn first, so that what else the machine does
    hits both alike.

    Args:
        running, candidate: both begin each drive without memory.
        frames: of one or more sources.
        least_drives: where there are fewer drives, clips of them are drawn instead.
        clip_frames: longest clip.
        progress: told of it; what it raises ends the comparison.
    """
    drives = frames.drives()
    units = _units(drives, least_drives, clip_frames)
    numbers: dict[int, int] = {}
    found = Compared(Side(), Side(), [], 0, "drives" if len(drives) >= least_drives else "clips")
    done, total = 0, sum(map(len, drives))
    for drive in drives:
        running.reset()
        candidate.reset()
        for index in drive:
            frame = frames.frame(index)
            sides = [(running, found.running), (candidate, found.candidate)]
            unit = None if frame.labels is None else numbers.setdefault(units[index], len(numbers))
            for detector, side in sides if index % 2 else sides[::-1]:
                _look(detector, side, frame, unit)
            if unit is not None:
                found.frames.append(index)
            done += 1
            progress("comparing models", done, total)
    found.drawn = len(numbers)
    return found


def _units(drives: Sequence[range], least_drives: int, clip_frames: int) -> dict[int, int]:
    """The drive of each frame; where there are few drives, its clip."""
    longest = max(map(len, drives), default=1) if len(drives) >= least_drives else clip_frames
    units: dict[int, int] = {}
    number = 0
    for drive in drives:
        pieces = -(-len(drive) // longest)
        for place, index in enumerate(drive):
            units[index] = number + place * pieces // len(drive)
        number += pieces
    return units


def _look(detector: FrameDetector, side: Side, frame: Frame, unit: int | None) -> None:
    start = time.perf_counter()
    try:
        answer = detector.detect(frame)
    except InputRejected as error:
        side.failures.append(str(error))
        answer = Detections(frame.stamp, Boxes3D.empty(), np.zeros((0, 0), np.float32), detector.class_names)
    side.milliseconds.append((time.perf_counter() - start) * 1e3)
    if unit is not None and frame.labels is not None:
        side.answers.append((unit, *judged(answer, frame.labels, frame)))

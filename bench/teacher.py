"""The LiDAR teacher beside the student: ``python -m bench.teacher [--json] [--checkpoint FILE] [--drives 40]``.

Both look at the same frames of simulated drives that neither has seen, with a LiDAR that is another one in every drive,
in two class mixes. Then both are timed in turns: the teacher on clouds of 35,000 points, the student on six images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.accuracy import FIRST_SEED, MIXES, load, prepared
from semlt3d_ros.checkpoints.shipped import shipped_teacher
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame, Labels, PointCloud
from semlt3d_ros.core.sweeps import Sweep, accumulated
from semlt3d_ros.evaluation import evaluate
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.sensing.preparation import ImagePreparation
from semlt3d_ros.simulation.drive import Drive, DriveConfig
from semlt3d_ros.simulation.lidar_models import lidar_of

TARGETS = {"mAP over the student's": 1.5, "clouds a second": 2.0}
POINTS = 35_000
FAR_SEED = FIRST_SEED + 500_000
"""Drives of this bench; those of ``bench.accuracy`` have images alone."""


def frames_of(drives: int, frames: int, exponent: float) -> Iterator[tuple[bool, Frame]]:
    """Frames, and whether each begins a drive."""
    for seed in range(FAR_SEED, FAR_SEED + drives):
        config = DriveConfig(
            seed, frames=frames, interval_s=0.25, class_exponent=exponent, lidar=lidar_of("varied", seed), rough=True
        )
        drive = Drive(config)
        for index in range(frames):
            yield index == 0, drive.frame(index)
        print(".", end="", file=sys.stderr, flush=True)


Pairs = list[tuple[Detections, Labels]]


def looked_at(
    teacher: TeacherDetector, student: Detector, drives: int, frames: int, exponent: float
) -> dict[str, Pairs]:
    """Detections and truth of both."""
    preparation, past = ImagePreparation(student.image_spec), deque[Sweep](maxlen=teacher.config.sweeps - 1)
    found: dict[str, Pairs] = {"teacher": [], "student": []}
    for first, frame in frames_of(drives, frames, exponent):
        if first:
            student.reset()
            past.clear()
        assert frame.points is not None and frame.labels is not None
        now = Sweep(frame.points, frame.T_world_ego, frame.stamp)
        found["teacher"].append((teacher.look(accumulated(now, past), frame.stamp).detections, frame.labels))
        found["student"].append((student.detect(prepared(frame, preparation)), frame.labels))
        past.append(now)
    return found


def seconds(teacher: TeacherDetector, student: Detector, repeats: int) -> dict[str, float]:
    """Median time of a look of each, in turns."""
    _, frame = next(frames_of(1, 1, 1.0))
    frame = prepared(frame, ImagePreparation(student.image_spec))
    assert frame.points is not None
    cloud = frame.points[np.resize(np.arange(len(frame.points)), POINTS)]
    cloud = PointCloud(cloud.xyz, cloud.intensity, cloud.time)
    times: dict[str, list[float]] = {"teacher": [], "student": []}
    for _ in range(repeats + 2):
        for name, look in (("teacher", lambda: teacher.look(cloud)), ("student", lambda: student.detect(frame))):
            start = time.perf_counter()
            look()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def measure(checkpoint: Path | None, drives: int, frames: int, repeats: int) -> dict[str, Any]:
    """All figures."""
    teacher = TeacherDetector.load(checkpoint or shipped_teacher())
    student, settings = load(None)
    figures: dict[str, Any] = {"targets": TARGETS, "teacher": teacher.model_version, "student": student.model_version}
    figures["seconds"] = seconds(teacher, student, repeats)
    figures["mixes"] = {}
    for mix, exponent in MIXES.items():
        found = looked_at(teacher, student, drives, frames, exponent)
        reports = {name: evaluate(iter(pairs), settings) for name, pairs in found.items()}
        figures["mixes"][mix] = {name: {"map": report.map, **report.groups} for name, report in reports.items()}
    print(file=sys.stderr)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.teacher", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a teacher's; default: the one that comes with the package")
    parser.add_argument("--drives", type=int, default=40, help="drives of each mix (default 40)")
    parser.add_argument("--frames", type=int, default=3, help="frames of a drive (default 3)")
    parser.add_argument("--repeats", type=int, default=7, help="looks that are timed (default 7)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    figures = measure(given.checkpoint, given.drives, given.frames, given.repeats)
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    table = Table("", "mAP", "Many", "Medium", "Few", title=f"{figures['teacher']} and {figures['student']}")
    for mix, found in figures["mixes"].items():
        for name, values in found.items():
            shown = (values.get(key) for key in ("map", "many", "medium", "few"))
            table.add_row(f"{name}, {mix}", *("-" if value is None else f"{100 * value:.1f}" for value in shown))
    Console().print(table)
    for name, value in figures["seconds"].items():
        print(f"{name}: {1 / value:.1f} looks a second")


if __name__ == "__main__":
    main()

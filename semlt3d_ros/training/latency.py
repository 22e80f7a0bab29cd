"""Latency of trained detectors, measured side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from semlt3d_ros.core.frame import Frame
from semlt3d_ros.inference.detector import Detector


def measure_latency(checkpoints: Sequence[Path], frames: Sequence[Frame], rounds: int = 5) -> list[float]:
    """Median milliseconds of a detection for each checkpoint.

    All take turns frame by frame, so that whatever else the machine does hits all alike; the first does not count.
    """
    detectors = [Detector.load(path) for path in checkpoints]
    spent: list[list[float]] = [[] for _ in detectors]
    for count in range(rounds + 1):
        for frame in frames:
            for detector, times in zip(detectors, spent, strict=True):
                start = time.perf_counter()
                detector.detect(frame)
                if count:
                    times.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(times) for times in spent]

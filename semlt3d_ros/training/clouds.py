"""The clouds of training frames."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from semlt3d_ros.core.frame import Frame, PointCloud
from semlt3d_ros.core.sweeps import Sweep, accumulated
from semlt3d_ros.datasets.object_bank import ObjectBank, collected
from semlt3d_ros.datasets.opening import Frames

_EMPTY = PointCloud(np.zeros((0, 3), np.float32))


class CloudFrames:
    """Labelled clouds with those before them.

    Args:
        frames: of the recipe's sources.
    """

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self._starts = sorted(drive.start for drive in frames.drives())

    def before(self, index: int) -> int | None:
        """The frame before frame ``index`` in the same drive; None for its first one."""
        return None if index in self._starts else index - 1

    def cloud(self, index: int, sweeps: int) -> tuple[Frame, PointCloud]:
        """Frame ``index``, and its cloud with those of the ``sweeps - 1`` frames before it in the same drive."""
        frame = self.frames.frame(index)
        return frame, accumulated(_sweep(frame), self._past(index, sweeps))

    def sweeps(self, index: int, sweeps: int) -> list[Sweep]:
        """The sweep of frame ``index``, and then those of the frames before it, the oldest of them first."""
        return [_sweep(self.frames.frame(index)), *self._past(index, sweeps)]

    def _past(self, index: int, sweeps: int) -> list[Sweep]:
        start = self._starts[bisect.bisect_right(self._starts, index) - 1]
        return [_sweep(self.frames.frame(number)) for number in range(max(start, index - sweeps + 1), index)]

    def objects(self, folder: Path, drives: int, sweeps: int, class_names: Sequence[str]) -> ObjectBank:
        """The objects at the end of the first drives, collected below ``folder`` and found there again.

        Args:
            folder: where frames are stored.
            drives: at most so many.
            sweeps: clouds of each that are looked at together.
            class_names: those of the labels.

        Raises:
            ConfigurationError: rendering ended before, or a file of the bank cannot be read.
        """
        ends = [drive[-sweeps:] for drive in self.frames.drives()[:drives]]
        decided = [self.frames.provenance, list(class_names), [list(drive) for drive in ends]]
        name = hashlib.sha256(json.dumps(decided, default=str).encode()).hexdigest()[:10]

        def ready(index: int) -> Frame:
            self.frames.wait(index)
            return self.frames.frame(index)

        return collected(folder / "objects" / name, ends, ready)


def _sweep(frame: Frame) -> Sweep:
    return Sweep(frame.points or _EMPTY, frame.T_world_ego, frame.stamp)

"""The frames of recordings, once they are decoded."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.processes import deaf_to_ctrl_c
from semlt3d_ros.datasets.bag_decoding import decode_bag
from semlt3d_ros.datasets.bag_jobs import BagJob
from semlt3d_ros.datasets.shards import FrameRegions, ShardDataset
from semlt3d_ros.datasets.source import Clips

_POLL_S = 0.5

Progress = Callable[[float, int], None]
"""Called with how many bags are done, in parts of one, and how many there are."""


def decode_all(jobs: Sequence[BagJob], progress: Progress, processes: int | None = None) -> None:
    """Decode the bags that are not decoded yet; several of them side by side.

    Args:
        jobs: the bags.
        progress: told of it.
        processes: at most so many side by side; None: as many as there are processors.

    Raises:
        ConfigurationError: a bag cannot be read or holds no ground truth, or there is no room.
    """
    todo = [job for job in jobs if not job.is_done]
    done = len(jobs) - len(todo)
    count = min(len(todo), processes or os.cpu_count() or 1)
    if count <= 1:
        for job in todo:
            decode_bag(job, lambda share, done=done: progress(done + share, len(jobs)))  # type: ignore[misc]
            done += 1
            progress(done, len(jobs))
        return
    with deaf_to_ctrl_c():
        workers = multiprocessing.get_context("spawn").Pool(count)
    with workers as pool:
        for _ in pool.imap_unordered(decode_bag, todo):
            done += 1
            progress(done, len(jobs))


def wait_for(jobs: Sequence[BagJob]) -> None:
    """Return once another process has decoded all bags."""
    while not all(job.is_done for job in jobs):
        time.sleep(_POLL_S)


class RecordedFrames:
    """The frames of decoded bags, one bag after the other.

    Args:
        jobs: the bags.
        clip_frames: longest clip to train on.
        part: of the frames of each drive, from and to as shares; others are there, but in no clip.

    Attributes:
        faults: what of the bags could not be used, and what was left out.

    Raises:
        ConfigurationError: there is no frame in any of them, or what was decoded cannot be read.
    """

    def __init__(self, jobs: Sequence[BagJob], clip_frames: int, part: tuple[float, float] = (0.0, 1.0)) -> None:
        self._clip_frames, self._found = clip_frames, [job.index() for job in jobs]
        self.faults = FaultLog()
        for job, found in zip(jobs, self._found, strict=True):
            for fault in found["faults"]:
                self.faults.add(**fault)
            for reason, count in found["left_out"].items():
                self.faults.add(str(job.bag), "left_out", f"frames {reason} are left out", count, harmless=True)
            if not found["frames"]:
                self.faults.add(str(job.bag), "no_frames", "no frame of it can be trained on")
        filled = [job for job, found in zip(jobs, self._found, strict=True) if found["frames"]]
        if not filled:
            raise ConfigurationError(
                f"no frame of {', '.join(str(job.bag) for job in jobs)} can be trained on: {self.faults.reasons()}"
            )
        self._shards = ShardDataset([job.folder for job in filled])
        sizes = [found["frames"] for found in self._found if found["frames"]]
        everything = stretches(self._shards.sequences, np.cumsum([0, *sizes[:-1]]).tolist())
        self._stretches = [drive for drive in (_part_of(each, part) for each in everything) if len(drive)]
        if not self._stretches:
            raise ConfigurationError(
                f"{', '.join(str(job.bag) for job in jobs)}: no drive is long enough to have a frame in part {[*part]}"
            )

    @property
    def label_lists(self) -> list[tuple[str, ...]]:
        """The class names in the bags' ground truth."""
        return [names for names in self._shards.class_lists if names]

    @property
    def provenance(self) -> dict[str, Any]:
        """Which recordings, and of which data sets."""
        sets = Counter(name for found in self._found for name in found["data_sets"])
        return {
            "bags": [found["bag"] for found in self._found],
            "frames": sum(map(len, self._stretches)),
            **({"data_sets": sorted(sets)} if sets else {}),
        }

    def __len__(self) -> int:
        return len(self._shards)

    def clips(self, whole: bool = False) -> Clips:
        """Drives without gaps, for training cut evenly into clips."""
        return [
            self._stretches if whole else [clip for each in self._stretches for clip in _cut(each, self._clip_frames)]
        ]

    def wait(self, index: int) -> None:
        """All frames are there."""

    def frame(self, index: int) -> Frame:
        """Frame ``index``."""
        return self._shards[index]

    def labels(self, index: int) -> Labels | None:
        """The labels of frame ``index``; None of one that has none."""
        return self._shards.labels(index)

    def regions(self, index: int) -> FrameRegions:
        """None are stored: regions are cut out of the images."""
        return self._shards.regions(index)

    def close(self) -> None:
        """Nothing goes on in the background."""


def _part_of(stretch: range, part: tuple[float, float]) -> range:
    first, last = (stretch.start + round(len(stretch) * end) for end in part)
    return range(first, last)


def _cut(stretch: range, longest: int) -> list[range]:
    count = -(-len(stretch) // longest)
    bounds = [stretch.start + len(stretch) * part // count for part in range(count + 1)]
    return [range(first, last) for first, last in itertools.pairwise(bounds)]


def stretches(sequences: NDArray[np.int64], starts: Sequence[int]) -> list[range]:
    """Frames with the same number that follow each other, bag by bag.

    Args:
        sequences: (N,) number of each frame's stretch within its bag.
        starts: first frame of each bag.
    """
    changes = np.flatnonzero(np.diff(sequences)) + 1
    bounds = sorted({0, len(sequences), *starts, *changes.tolist()})
    return [range(first, last) for first, last in itertools.pairwise(bounds) if last > first]

"""What a teacher says of clouds, kept on disk: looked at once, read by every run that learns from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.kept_arrays import KeptArrays
from semlt3d_ros.core.sweeps import Sweep, accumulated
from semlt3d_ros.inference.teacher import TeacherDetector, TeacherSight

_STEP_M = 0.005
"""As exactly as stores keep points."""
COARSER = 2
"""Cells of the teacher's maps per cell of those that are kept, along each axis."""


@dataclass
class Taught:
    """What is kept of a teacher's sight; all as in ``TeacherSight``, on the coarser grid.

    Attributes:
        bev: (C, rows, columns) float16 features, the mean of each coarser cell.
        heat: (n, rows, columns) float16 probabilities, the most in each.
        cells: (9, rows, columns) float16 boxes, those of the cell with the most.
        occupied: (rows, columns) bool.
        boxes: (K, 9) float32 detections, x y z l w h yaw vx vy in the ego frame.
        scores: (K, n) float16 their confidences.
    """

    bev: NDArray[np.float16]
    heat: NDArray[np.float16]
    cells: NDArray[np.float16]
    occupied: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float16]

    def detections(self, stamp: int, detector: TeacherDetector) -> Detections:
        """What the teacher detected."""
        rows = self.boxes.astype(np.float64)
        boxes = Boxes3D(rows[:, :3], rows[:, 3:6], rows[:, 6], rows[:, 7:9])
        groups = tuple(info.group for info in detector.classes.classes)
        scores = self.scores.astype(np.float32)
        version = detector.model_version
        return Detections(stamp, boxes, scores, detector.class_names, model_version=version, class_groups=groups)


class TeacherCache:
    """A teacher that remembers what it has seen.

    Files are named after the teacher and the content of the cloud, so those of another teacher are never read, and two
    recordings of one drive share them. Several processes may share a folder. A file that cannot be read is made anew.

    Args:
        folder: where the files lie.
        detector: the teacher.
        limit_bytes: when there is more, those that were not read for the longest time go.

    Attributes:
        counts: how often something was ``read``, ``computed`` or ``damaged``, and how many files were ``evicted``.
    """

    def __init__(self, folder: Path, detector: TeacherDetector, limit_bytes: float) -> None:
        self._detector, self._kept = detector, KeptArrays(folder, detector.model_version, limit_bytes)
        self.counts = self._kept.counts

    @property
    def grid(self) -> BevGrid:
        """Where the cells of what is kept are, in the teacher's own frame."""
        return self._detector.grid.coarser(COARSER)

    def taught(self, now: Sweep, past: Sequence[Sweep] = ()) -> Taught:
        """What the teacher says of a sweep and those before it, from disk where it is known."""
        digest = digest_of(now, past)
        known = self.kept(digest)
        return self.keep(digest, self._detector.look(accumulated(now, past))) if known is None else known

    def kept(self, digest: str) -> Taught | None:
        """What is kept of the sweeps of a digest; None where nothing is, or it cannot be read."""
        known = self._kept.read(digest, Taught.__dataclass_fields__)
        return None if known is None else Taught(**known)

    def keep(self, digest: str, sight: TeacherSight) -> Taught:
        """Write what the teacher has said of the sweeps of a digest."""
        result = _coarser(sight, self._detector)
        self._kept.keep(digest, vars(result))
        return result

    def knows(self, digest: str) -> bool:
        """Whether the sweeps of a digest were seen before."""
        return self._kept.knows(digest)


def digest_of(now: Sweep, past: Sequence[Sweep] = ()) -> str:
    """A name for the content of sweeps: as exact as every store of clouds keeps them, so that all find the same."""
    digest = hashlib.blake2b(digest_size=20)
    for sweep in (now, *past):
        points = sweep.points
        digest.update((np.round(points.xyz / _STEP_M) + 0.0).astype(np.int32).tobytes())
        if points.intensity is not None:
            digest.update(np.round(np.clip(points.intensity, 0, 1) * 255).astype(np.uint8).tobytes())
        if points.time is not None:
            digest.update((points.time.astype(np.float16) + np.float16(0.0)).tobytes())
        if sweep is now:
            continue
        if now.T_world_ego is not None and sweep.T_world_ego is not None:
            T = rigid.inverse(now.T_world_ego) @ sweep.T_world_ego
            digest.update((np.round(T * 1e3) + 0.0).astype(np.int32).tobytes())
        digest.update(((now.stamp - sweep.stamp) // 1_000_000).to_bytes(8, "little", signed=True))
    return digest.hexdigest()


def _coarser(sight: TeacherSight, detector: TeacherDetector) -> Taught:
    bev, heat = _blocks(sight.bev.astype(np.float32)), _blocks(sight.heat)
    best = _blocks(sight.heat.max(axis=0)[None])[0].argmax(axis=-1)
    cells = _blocks(sight.cells)
    chosen = np.take_along_axis(cells, np.broadcast_to(best, cells.shape[:-1])[..., None], axis=-1)[..., 0]
    # From the centre of the finer cell to that of the coarser one, along the ego axes.
    shift = np.stack([best % COARSER, best // COARSER], axis=-1) - (COARSER - 1) / 2
    chosen[:2] += (shift * detector.grid.cell_m @ detector.T_ego_model[:2, :2].T).transpose(2, 0, 1).astype(np.float16)
    b = sight.detections.boxes
    return Taught(
        bev.mean(axis=-1).astype(np.float16),
        heat.max(axis=-1),
        chosen,
        _blocks(sight.occupied[None])[0].any(axis=-1),
        np.concatenate([b.centers, b.sizes, b.yaw[:, None], b.velocity], axis=1).astype(np.float32),
        sight.detections.confidences.astype(np.float16),
    )


def _blocks(maps: NDArray) -> NDArray:
    """(C, rows, columns) as (C, rows / 2, columns / 2, 4), without an odd last row or column."""
    channels, rows, columns = maps.shape
    rows, columns = rows // COARSER * COARSER, columns // COARSER * COARSER
    split = maps[:, :rows, :columns].reshape(channels, rows // COARSER, COARSER, columns // COARSER, COARSER)
    return split.transpose(0, 1, 3, 2, 4).reshape(channels, rows // COARSER, columns // COARSER, -1)

"""The points of a shard's frames: as positions alone, or whole clouds at 8 to 10 bytes a point.

``points.npy`` (P, 3) is float16 metres (positions alone), int16 steps of 5 mm, or float32 metres where any point is too
far for that. Beside whole clouds lie ``intensity.npy`` (P,) uint8, ``times.npy`` (P,) float16 seconds and
``classes.npy`` (P,) int8 or int16, each where any frame has them, and ``columns.npy`` (N, 3) bool says which frame has
which.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.frame import PointCloud

STEP_M = 0.005
_FARTHEST = 32_767 * STEP_M
_NEAR_M = 30.0
_POSITIONS = 12_000
"""Points of a frame of which positions alone are kept."""
_COLUMNS = ("intensity", "times", "classes")


def thinned(cloud: PointCloud, limit: int) -> PointCloud:
    """At most ``limit`` points, in their order; the nearest are thinned most.

    Of rings that a LiDAR draws on the ground, near ones have many times as many points on an area as far ones; points
    are kept in proportion to the square of their distance, up to 30 m, so that what is far keeps most of its few.
    """
    if len(cloud) <= limit:
        return cloud
    distance = np.linalg.norm(cloud.xyz.astype(np.float64), axis=1)
    weight = np.clip(distance / _NEAR_M, 0.05, 1.0) ** 2
    share = np.minimum(1.0, weight * limit / weight.sum())
    for _ in range(8):  # what may not be kept twice is given to the rest
        missing = limit - share.sum()
        free = share < 1.0
        if missing < 0.5 or not free.any():
            break
        share[free] = np.minimum(1.0, share[free] * (1 + missing / share[free].sum()))
    count = np.floor(np.cumsum(share) * min(1.0, limit / share.sum()) + 1e-6)
    return cloud[np.diff(count, prepend=0.0) > 0]


def write_positions(folder: Path, clouds: Sequence[PointCloud]) -> NDArray[np.int64]:
    """Write the positions of an even subsample of clouds into a shard's folder; returns where each ends (N,)."""
    chosen = [np.linspace(0, len(cloud) - 1, min(len(cloud), _POSITIONS)).astype(np.int64) for cloud in clouds]
    kept = [cloud.xyz[keep].astype(np.float16) for cloud, keep in zip(clouds, chosen, strict=True)]
    np.save(folder / "points.npy", np.concatenate(kept))
    return np.cumsum([len(points) for points in kept])


def write_points(folder: Path, clouds: Sequence[PointCloud], limit: int) -> NDArray[np.int64]:
    """Write up to ``limit`` points of each of N clouds into a shard's folder; returns where each ends (N,)."""
    kept = [thinned(cloud, limit) for cloud in clouds]
    far = any(np.abs(cloud.xyz).max(initial=0.0) > _FARTHEST for cloud in kept)
    xyz = np.concatenate([cloud.xyz for cloud in kept])
    np.save(folder / "points.npy", xyz.astype(np.float32) if far else np.round(xyz / STEP_M).astype(np.int16))
    there = np.array([[c.intensity is not None, c.time is not None, c.classes is not None] for c in kept], bool)
    np.save(folder / "columns.npy", there)
    joined = PointCloud.joined(kept)
    if joined.intensity is not None:
        np.save(folder / "intensity.npy", np.round(np.clip(joined.intensity, 0, 1) * 255).astype(np.uint8))
    if joined.time is not None:
        np.save(folder / "times.npy", joined.time.astype(np.float16))
    if joined.classes is not None:
        small = joined.classes.max(initial=0) < 128
        np.save(folder / "classes.npy", joined.classes.astype(np.int8 if small else np.int16))
    return np.cumsum([len(cloud) for cloud in kept])


def check_points(folder: Path) -> None:
    """Open all that ``read_points`` reads; raises ``OSError`` or ``ValueError`` where it cannot."""
    np.load(folder / "points.npy", mmap_mode="r")
    if (folder / "columns.npy").exists():
        there = np.load(folder / "columns.npy").any(axis=0)
        for name in np.array(_COLUMNS)[there]:
            np.load(folder / f"{name}.npy", mmap_mode="r")


def read_points(folder: Path, first: int, last: int, frame: int) -> PointCloud:
    """The points from ``first`` to before ``last`` of a shard, which are those of frame number ``frame``."""
    stored = np.load(folder / "points.npy", mmap_mode="r")[first:last]
    xyz = np.array(stored, np.float32)
    if stored.dtype == np.int16:
        xyz *= np.float32(STEP_M)
    if not (folder / "columns.npy").exists():
        return PointCloud(xyz)
    there = np.load(folder / "columns.npy")[frame]
    found: list[NDArray | None] = [
        np.array(np.load(folder / f"{name}.npy", mmap_mode="r")[first:last]) if has else None
        for name, has in zip(_COLUMNS, there, strict=True)
    ]
    intensity, time, classes = found
    return PointCloud(
        xyz,
        None if intensity is None else intensity.astype(np.float32) / np.float32(255),
        None if time is None else time.astype(np.float32),
        None if classes is None else classes.astype(np.int16),
    )

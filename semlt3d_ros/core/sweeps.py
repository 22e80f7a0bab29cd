"""Several turns of a LiDAR seen as one cloud, as nuScenes' detectors do it (Caesar et al., CVPR 2020, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.frame import PointCloud


@dataclass(frozen=True)
class Sweep:
    """One turn of a LiDAR and where the vehicle was.

    Attributes:
        points: in the ego frame at ``stamp``.
        T_world_ego: (4, 4) the ego pose at ``stamp``, or None without odometry.
        stamp: integer nanoseconds.
    """

    points: PointCloud
    T_world_ego: rigid.Matrix | None
    stamp: int


def accumulated(now: Sweep, past: Sequence[Sweep], near_m: float = 1.0) -> PointCloud:
    """The points of a sweep and of those before it, in the ego frame of the first.

    Args:
        now: what all are brought to; comes first, whole.
        past: earlier sweeps, in any order. Where a pose is missing, nothing can be moved, so such sweeps are left out,
            and all of them where ``now`` has none.
        near_m: points of past sweeps closer to the ego frame's origin, seen from above, are left out: they lie on the
            own vehicle, which has moved on.

    Returns:
        N points with ``time`` in seconds relative to ``now.stamp``. Intensity and classes are there where any sweep
        has them, 0 and ``UNKNOWN`` for the points of those that have none.
    """
    clouds = [_timed(now.points, 0.0)]
    for sweep in past:
        if now.T_world_ego is None or sweep.T_world_ego is None:
            continue
        far = np.hypot(sweep.points.xyz[:, 0], sweep.points.xyz[:, 1]) >= near_m
        cloud = _timed(sweep.points[far], (sweep.stamp - now.stamp) / 1e9)
        T_now_then = rigid.inverse(now.T_world_ego) @ sweep.T_world_ego
        cloud.xyz = rigid.apply(T_now_then, cloud.xyz).astype(np.float32)
        clouds.append(cloud)
    return PointCloud.joined(clouds)


def _timed(cloud: PointCloud, shift_s: float) -> PointCloud:
    """The cloud with times that ``shift_s`` has been added to; without times, all its points are of its stamp."""
    time = np.zeros(len(cloud), np.float32) if cloud.time is None else cloud.time
    return PointCloud(cloud.xyz, cloud.intensity, (time + np.float32(shift_s)).astype(np.float32), cloud.classes)

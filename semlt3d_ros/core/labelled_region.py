"""Where ground truth says everything: data sets label the view of one camera only, or leave regions of it out.

A window is a rectangle of directions as a camera sees them, given with the camera's pose, so that nobody who asks
needs the camera, and a world that is turned or scaled takes its windows along.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.rigid import Matrix, apply, inverse

NEAR_M = 2.0
"""A detection outside the region whose centre is nearer than this to that of an object within means the object."""
_NEAREST_M = 0.1


@dataclass(frozen=True)
class ViewWindow:
    """Directions within a rectangle of an undistorted image.

    Attributes:
        T_ego_camera: (4, 4) the camera's optical frame (z forward, x right, y down) in the ego frame.
        left, top, right, bottom: bounds of x / z and y / z in the optical frame.
    """

    T_ego_camera: Matrix
    left: float
    top: float
    right: float
    bottom: float

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether points (N, 3), metres in the ego frame, lie in these directions."""
        seen = apply(inverse(self.T_ego_camera), np.asarray(points, np.float64).reshape(-1, 3))
        depth = np.maximum(seen[:, 2], _NEAREST_M)
        across, down = seen[:, 0] / depth, seen[:, 1] / depth
        within = (across >= self.left) & (across <= self.right) & (down >= self.top) & (down <= self.bottom)
        return within & (seen[:, 2] > _NEAREST_M)


@dataclass(frozen=True)
class LabelledRegion:
    """The part of the world in which every object of the classes is labelled.

    Attributes:
        windows: what was labelled; none stands for all around.
        left_out: what of it was not, such as KITTI's ``DontCare``.
        range_m: up to this distance from the ego origin, on the ground plane; infinite without a limit.
    """

    windows: tuple[ViewWindow, ...] = ()
    left_out: tuple[ViewWindow, ...] = ()
    range_m: float = float("inf")

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether what is at points (N, 3), metres in the ego frame, would have been labelled."""
        points = np.asarray(points, np.float64).reshape(-1, 3)
        inside = np.hypot(points[:, 0], points[:, 1]) <= self.range_m
        if self.windows:
            inside &= np.any([window.contains(points) for window in self.windows], axis=0)
        for window in self.left_out:
            inside &= ~window.contains(points)
        return inside

    def judges(self, found: NDArray[np.float64], objects: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether detections can be right or wrong: nothing is said of what lies outside.

        Those within can, and those so near to an object within that they mean that one: of an object at the edge of the
        view, the detection may lie on the other side.

        Args:
            found: (N, 3) their centres, metres in the ego frame.
            objects: (M, 3) the centres of the true objects.
        """
        inside, objects = self.contains(found), objects[self.contains(objects)]
        if len(objects) and not inside.all():
            between = found[:, None, :2] - objects[None, :, :2]
            inside |= (np.linalg.norm(between, axis=-1) < NEAR_M).any(axis=1)
        return inside

    def moved(self, T_new_ego: Matrix) -> LabelledRegion:
        """The same region in another ego frame."""

        def carry(windows: tuple[ViewWindow, ...]) -> tuple[ViewWindow, ...]:
            return tuple(replace(window, T_ego_camera=T_new_ego @ window.T_ego_camera) for window in windows)

        return replace(self, windows=carry(self.windows), left_out=carry(self.left_out))

"""Image regions of 3D boxes: the view that shows a box best, and a square window around it with some context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import EDGES, Boxes3D
from semlt3d_ros.core.cameras import CameraModel

CONTEXT = 1.3
"""Side of a window relative to the longer side of what it shows."""
LEAST_SHOWN_PX = 3.0
"""Least width and height of what a region shows, in pixels."""
_NEAREST_M = 0.3


@dataclass(frozen=True)
class Region:
    """Where a box is seen.

    Attributes:
        view: number of the view.
        window: left, top, right, bottom in pixels of that view, pixel centres at whole numbers; a square that may reach
            beyond the image.
        shown: share of the box's projected extent that lies within the image, in (0, 1].
    """

    view: int
    window: tuple[float, float, float, float]
    shown: float

    @property
    def side(self) -> float:
        """Side of the window in pixels."""
        return self.window[2] - self.window[0]


def best_regions(
    boxes: Boxes3D,
    cameras: Sequence[tuple[CameraModel, rigid.Matrix]],
    context: float = CONTEXT,
    min_pixels: float = LEAST_SHOWN_PX,
) -> list[Region | None]:
    """The region of each box in the view that shows most of it.

    Args:
        boxes: N boxes in the ego frame.
        cameras: camera model and ``T_ego_camera`` of each view.
        context: side of the window relative to the longer side of the shown part of the box.
        min_pixels: least width and height of the shown part.

    Returns:
        One entry per box; None where every camera has the box behind it or shows less than ``min_pixels`` of it either
        way, and for boxes that are not physical.
    """
    usable = boxes.physical()
    found: list[Region | None] = [None] * len(boxes)
    if not usable.any():
        return found
    rows = np.flatnonzero(usable)
    outlines = _outlines(boxes[rows])
    best = np.zeros(len(rows))
    for view, (camera, T_ego_camera) in enumerate(cameras):
        extent, front = _extents(outlines, camera, rigid.inverse(T_ego_camera))
        low = np.maximum(extent[:, :2], -0.5)
        high = np.minimum(extent[:, 2:], (camera.width - 0.5, camera.height - 0.5))
        shown_size = high - low
        full = np.maximum(extent[:, 2:] - extent[:, :2], 1e-9).prod(1)
        area = np.maximum(shown_size, 0.0).prod(1)
        # A nearer camera shows more pixels, a better placed one more of the object: both count.
        score = np.where(front & (shown_size >= min_pixels).all(1), area * area / full, 0.0)
        for i in np.flatnonzero(score > best):
            middle, half = (low[i] + high[i]) / 2, context * shown_size[i].max() / 2
            window = (*(middle - half), *(middle + half))
            found[rows[i]] = Region(view, tuple(map(float, window)), float(min(area[i] / full[i], 1.0)))  # type: ignore[arg-type]
        best = np.maximum(best, score)
    return found


def _outlines(boxes: Boxes3D) -> NDArray[np.float64]:
    """(N, 20, 3) corners of boxes and the middles of their edges, which keep the outline when corners are cut off."""
    corners = boxes.corners()
    middles = [(corners[:, a] + corners[:, b]) / 2 for a, b in EDGES]
    return np.concatenate([corners, np.stack(middles, axis=1)], axis=1)


def _extents(
    outlines: NDArray[np.float64], camera: CameraModel, T_camera_ego: rigid.Matrix
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Projected extent (N, 4: left, top, right, bottom) of outlines, and whether any of each can be seen."""
    points = rigid.apply(T_camera_ego, outlines.reshape(-1, 3)).reshape(outlines.shape)
    pixels, within = camera.project(points)
    # Beyond the image a pinhole's pixels are still right; a lens polynomial's may fold back in.
    usable: NDArray[np.bool_] = np.asarray(points[..., 2] > _NEAREST_M) if camera.is_pinhole else within
    low = np.where(usable[..., None], pixels, np.inf).min(axis=1)
    high = np.where(usable[..., None], pixels, -np.inf).max(axis=1)
    front = np.any(usable, axis=1)
    return np.where(front[:, None], np.concatenate([low, high], axis=1), 0.0), front

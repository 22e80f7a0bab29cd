"""Outlines of 3D boxes in images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import EDGES, Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.frame import CameraView

_NEAR_M = 0.1
"""Edges are cut at this depth: what lies behind a camera has no place in its image."""
_PIECES = 32
"""An edge is this many straight pieces in the image of a lens that bends lines."""


def project_outlines(boxes: Boxes3D, view: CameraView) -> list[list[NDArray[np.float64]]]:
    """The visible parts of the twelve edges of each box, in the image of one camera.

    Args:
        boxes: N boxes in the ego frame at the frame's stamp.
        view: the camera; its image is not read.

    Returns:
        For each box a list of polylines (K, 2), K >= 2, in pixels, all of them within the image; empty for a box that
        is not seen or not finite. Edges are cut in space, so that a box which reaches behind the camera keeps its true
        outline.
    """
    usable = np.flatnonzero(np.isfinite(np.column_stack([boxes.centers, boxes.sizes, boxes.yaw])).all(axis=1))
    edges = np.array(EDGES)
    segments = boxes[usable].corners()[:, edges].reshape(-1, 2, 3)
    outlines: list[list[NDArray[np.float64]]] = [[] for _ in range(len(boxes))]
    for owner, polyline in project_segments(segments, np.repeat(usable, len(edges)), view):
        outlines[owner].append(polyline)
    return outlines


def project_segments(
    segments: NDArray[np.float64], owners: NDArray[np.int64], view: CameraView
) -> list[tuple[int, NDArray[np.float64]]]:
    """The visible parts of straight lines in the image of one camera.

    Args:
        segments: (M, 2, 3) the ends of each, metres in the ego frame, finite.
        owners: (M,) what each belongs to.
        view: the camera; its image is not read.

    Returns:
        The owner and a polyline as of ``project_outlines`` for each part that is seen.
    """
    project = _straight if view.camera.is_pinhole else _bent
    return project(rigid.apply(rigid.inverse(view.T_ego_camera), segments), owners, view.camera)


def clip_segments(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of each segment on the positive side of all planes.

    Args:
        values: (M, 2, P) signed distances, in any unit, of both ends of M segments to P planes.

    Returns:
        (M, 2) the shares of the way from the first end to the second between which the segment is inside; the first is
        greater than the second where nothing is.
    """
    start, end = values[:, 0], values[:, 1]
    change = end - start
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = -start / change
    entering = np.where(change > 0, crossing, np.where((change == 0) & (start < 0), np.inf, 0.0))
    leaving = np.where(change < 0, crossing, 1.0)
    return np.stack([np.maximum(entering.max(axis=1), 0.0), np.minimum(leaving.min(axis=1), 1.0)], axis=1)


def _straight(
    segments: NDArray[np.float64], owners: NDArray[np.int64], camera: CameraModel
) -> list[tuple[int, NDArray[np.float64]]]:
    """Exact: cut at the near plane and at the four sides of the view frustum, then project."""
    homogeneous = segments @ camera.K.T
    u, v, depth = homogeneous[..., 0], homogeneous[..., 1], homogeneous[..., 2]
    sides = (
        depth - _NEAR_M,
        u + 0.5 * depth,
        (camera.width - 0.5) * depth - u,
        v + 0.5 * depth,
        (camera.height - 0.5) * depth - v,
    )
    shares = clip_segments(np.stack(sides, axis=-1))
    seen = shares[:, 0] < shares[:, 1]
    ends = homogeneous[seen, :1] + shares[seen][..., None] * (homogeneous[seen, 1:] - homogeneous[seen, :1])
    return list(zip(owners[seen].tolist(), ends[..., :2] / ends[..., 2:], strict=True))


def _bent(
    segments: NDArray[np.float64], owners: NDArray[np.int64], camera: CameraModel
) -> list[tuple[int, NDArray[np.float64]]]:
    """Sampled: the runs of points of each edge that the camera sees."""
    share = np.linspace(0.0, 1.0, _PIECES + 1)[:, None]
    points = segments[:, :1] + share * (segments[:, 1:] - segments[:, :1])
    pixels, seen = camera.project(points)
    seen &= np.linalg.norm(points, axis=-1) > _NEAR_M
    polylines = []
    for row in np.flatnonzero(seen.any(axis=1)):
        changes = np.flatnonzero(np.diff(np.concatenate([[False], seen[row], [False]]).astype(np.int8)))
        for first, stop in changes.reshape(-1, 2):
            if stop - first > 1:
                polylines.append((int(owners[row]), pixels[row, first:stop]))
    return polylines

"""Where ground truth is complete, as lines in images and from above."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.frame import CameraView
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.core.rigid import apply
from semlt3d_ros.viewing.projection import project_segments
from semlt3d_ros.viewing.style import Color

LABELLED_COLOR: Color = (240, 240, 240)
LEFT_OUT_COLOR: Color = (220, 70, 255)
_LEFT_OUT_ABOVE: Color = (110, 35, 128)
"""From above, small windows are long and many."""
_DEPTH_M = 50.0
"""Windows are directions: what cameras beside theirs see of them is shown for this depth."""
_HATCHES = 8
"""Lines across what is left out."""
_PIECES = 48


class Line(NamedTuple):
    """A polyline (K, 2) with its colour, RGB in 0..255."""

    points: NDArray[np.float64]
    color: Color


def lines_in_image(region: LabelledRegion, view: CameraView) -> list[Line]:
    """Outlines of what is labelled, and, hatched, of what of it is left out, in pixels of a camera's image."""
    windows = [(window, LABELLED_COLOR) for window in region.windows] + [
        (window, LEFT_OUT_COLOR) for window in region.left_out
    ]
    if not windows:
        return []
    parts = [_in_space(window, hatched=color == LEFT_OUT_COLOR) for window, color in windows]
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    found = project_segments(np.concatenate(parts), owners, view)
    return [Line(polyline, windows[owner][1]) for owner, polyline in found]


def lines_from_above(region: LabelledRegion, reach_m: float) -> list[Line]:
    """The region's borders on the ground plane, metres in the ego frame.

    Args:
        region: where everything is labelled.
        reach_m: borders without an end are drawn this far.
    """
    if not region.windows and np.isfinite(region.range_m):
        turns = np.linspace(0.0, 2 * np.pi, 2 * _PIECES)
        lines = [Line(region.range_m * np.stack([np.cos(turns), np.sin(turns)], axis=1), LABELLED_COLOR)]
    else:
        lines = [Line(_wedge(window, region.range_m, reach_m), LABELLED_COLOR) for window in region.windows]
    return lines + [Line(_wedge(window, region.range_m, reach_m), _LEFT_OUT_ABOVE) for window in region.left_out]


def _in_space(window: ViewWindow, hatched: bool) -> NDArray[np.float64]:
    """(M, 2, 3) the sides of a window in the ego frame, and lines across it."""
    left, top, right, bottom = window.left, window.top, window.right, window.bottom
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    sides = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
    if hatched:
        # From the upper and right sides to the left and lower ones, as far apart along both.
        share = np.linspace(0.0, 2.0, _HATCHES + 1)[1:-1, None]
        near, far = np.minimum(share, 1.0), np.maximum(share - 1.0, 0.0)
        unit = np.stack([np.concatenate([near, far], axis=1), np.concatenate([far, near], axis=1)], axis=1)
        sides = np.concatenate([sides, (left, top) + unit * (right - left, bottom - top)])
    directions = np.concatenate([sides, np.ones((*sides.shape[:2], 1))], axis=2)
    return apply(window.T_ego_camera, _DEPTH_M * directions)


def _wedge(window: ViewWindow, range_m: float, reach_m: float) -> NDArray[np.float64]:
    """(K, 2) from the far left to the camera and to the far right; closed by an arc where the range ends."""
    across = np.linspace(window.left, window.right, _PIECES)
    level = np.full(_PIECES, np.clip(0.0, window.top, window.bottom))
    ahead = np.stack([across, level, np.ones(_PIECES)], axis=1) @ window.T_ego_camera[:3, :3].T
    ahead = ahead[:, :2] / np.maximum(np.linalg.norm(ahead[:, :2], axis=1, keepdims=True), 1e-6)
    tip = window.T_ego_camera[:2, 3]
    if not np.isfinite(range_m):
        return np.stack([tip + reach_m * ahead[0], tip, tip + reach_m * ahead[-1]])
    # Where rays from the tip meet the circle around the ego origin.
    along = ahead @ tip
    length = -along + np.sqrt(np.maximum(along**2 + range_m**2 - tip @ tip, 0.0))
    return np.concatenate([tip[None], tip + length[:, None] * ahead, tip[None]])

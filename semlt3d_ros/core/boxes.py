"""Upright 3D boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semlt3d_ros.core import rigid

_CORNER_SIGNS = np.array(
    [[1, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, 1, -1], [1, 1, 1], [1, -1, 1], [-1, -1, 1], [-1, 1, 1]],
    dtype=np.float64,
)
"""Front left, front right, rear right, rear left; the bottom four, then the top four."""

EDGES: tuple[tuple[int, int], ...] = (
    (0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7),
)  # fmt: skip
"""Pairs of corner indices joined by the twelve edges."""

_LARGEST = 1e9
"""Metres: Earth-centred coordinates are below 1e7."""


@dataclass
class Boxes3D:
    """N upright boxes in one frame (the ego frame unless said otherwise).

    Attributes:
        centers: (N, 3) float64, geometric centres in metres.
        sizes: (N, 3) float64, length (along the heading), width, height in metres.
        yaw: (N,) float64, heading in radians about +z, 0 along +x.
        velocity: (N, 2) float64, m/s over ground along the frame's x and y axes; NaN where unknown.

    Raises:
        ValueError: shapes disagree.
    """

    centers: NDArray[np.float64]
    sizes: NDArray[np.float64]
    yaw: NDArray[np.float64]
    velocity: NDArray[np.float64]

    def __post_init__(self) -> None:
        self.centers = np.asarray(self.centers, dtype=np.float64).reshape(-1, 3)
        count = len(self.centers)
        self.sizes = np.asarray(self.sizes, dtype=np.float64)
        self.yaw = np.asarray(self.yaw, dtype=np.float64)
        self.velocity = np.asarray(self.velocity, dtype=np.float64)
        for name, expected in (("sizes", (count, 3)), ("yaw", (count,)), ("velocity", (count, 2))):
            if getattr(self, name).shape != expected:
                raise ValueError(f"Boxes3D.{name} has shape {getattr(self, name).shape}, expected {expected}")

    @classmethod
    def empty(cls) -> Boxes3D:
        """No boxes."""
        return cls(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 2)))

    @classmethod
    def from_poses(
        cls, poses: Sequence[rigid.Matrix], sizes: ArrayLike, velocity: NDArray[np.float64] | None = None
    ) -> Boxes3D:
        """Boxes of N transforms (4, 4), frame <- box with x ahead: their tilt is dropped, since boxes stand upright.

        Args:
            poses: N transforms.
            sizes: (N, 3) length, width, height in metres.
            velocity: (N, 2) m/s; unknown where it is not given.
        """
        count = len(poses)
        placed = np.array(poses, np.float64).reshape(count, 4, 4)
        yaw = np.arctan2(placed[:, 1, 0], placed[:, 0, 0])
        unknown = np.full((count, 2), np.nan)
        lengths = np.array(sizes, np.float64).reshape(count, 3)
        return cls(placed[:, :3, 3], lengths, yaw, unknown if velocity is None else velocity)

    def __len__(self) -> int:
        return len(self.centers)

    def __getitem__(self, index: NDArray | slice) -> Boxes3D:
        """The boxes chosen by a slice, an integer array or a boolean mask."""
        return Boxes3D(self.centers[index], self.sizes[index], self.yaw[index], self.velocity[index])

    def physical(self) -> NDArray[np.bool_]:
        """(N,) whether centre, size and heading are finite, and no larger than anything on Earth in any map frame."""
        # One sum tells at less cost than seven looks: no part of it is larger than the whole.
        with np.errstate(over="ignore"):
            total = sum((*np.abs(self.centers).T, *np.abs(self.sizes).T), np.abs(self.yaw))
        return np.asarray(total < _LARGEST)

    def corners(self) -> NDArray[np.float64]:
        """Corners (N, 8, 3): front left, front right, rear right, rear left at the bottom, then at the top."""
        local = _CORNER_SIGNS * self.sizes[:, None, :] / 2
        return self._rotated(local) + self.centers[:, None, :]

    def _rotated(self, local: NDArray[np.float64], sign: float = 1.0) -> NDArray[np.float64]:
        c, s = np.cos(self.yaw)[:, None], sign * np.sin(self.yaw)[:, None]
        x, y = local[..., 0], local[..., 1]
        return np.stack([c * x - s * y, s * x + c * y, local[..., 2]], axis=-1)

    def moved(self, T_b_a: rigid.Matrix) -> Boxes3D:
        """The same boxes, given in frame a, expressed in frame b.

        Boxes stay upright: a tilt between the frames moves centres, and turns headings by the heading of the tilted x
        axis. Velocity over ground is rotated, not reduced by the frames' own motion.
        """
        direction = np.stack([np.cos(self.yaw), np.sin(self.yaw), np.zeros(len(self))], axis=-1) @ T_b_a[:3, :3].T
        velocity = np.concatenate([self.velocity, np.zeros((len(self), 1))], axis=-1) @ T_b_a[:3, :3].T
        return Boxes3D(
            rigid.apply(T_b_a, self.centers),
            self.sizes.copy(),
            np.arctan2(direction[:, 1], direction[:, 0]),
            velocity[:, :2],
        )

    def contains(self, points: NDArray, margin: float = 0.0) -> NDArray[np.bool_]:
        """Which points (P, 3) lie in which box, enlarged by ``margin`` metres on every side: (N, P) booleans."""
        offset = np.asarray(points, dtype=np.float64)[None] - self.centers[:, None]
        local = np.abs(self._rotated(offset, sign=-1.0))
        return np.all(local <= self.sizes[:, None] / 2 + margin, axis=-1)

"""Where a cloud shows ground, and where something stands: a map from above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.frame import PointCloud

_CELL = 0.5
_REACH = 60.0
_STEP = 0.3
"""Metres within a cell from which on something stands in it."""
_HEADROOM = 3.0


class CloudMap:
    """Heights of the ground in cells of half a metre within 60 m, and which cells something stands in.

    The lowest point of a cell is taken for ground where nothing above it, up to 3 m, is higher than the roughness of
    ground; so no classes are needed.
    """

    def __init__(self, cloud: PointCloud) -> None:
        side = int(2 * _REACH / _CELL)
        cell = np.floor((cloud.xyz[:, :2] + _REACH) / _CELL).astype(np.int64)
        inside = ((cell >= 0) & (cell < side)).all(axis=1)
        index, z = cell[inside, 1] * side + cell[inside, 0], cloud.xyz[inside, 2]
        low = np.full(side * side, np.inf, np.float32)
        np.minimum.at(low, index, z)
        above = z - low[index]
        stands = (above > _STEP) & (above < _HEADROOM)
        taken = np.zeros(side * side, bool)
        taken[index[stands]] = True
        self._side = side
        self._low = np.where(np.isfinite(low), low, np.nan).reshape(side, side)
        self._taken = taken.reshape(side, side)

    def heights(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Height (N,) of the ground about places (N, 2): a low one of 5 x 5 cells, NaN where there is none."""
        found = np.full(len(xy), np.nan)
        for number, (row, column) in enumerate(np.clip(self._cells(xy), -3, self._side + 2)):
            around = self._low[max(0, row - 2) : max(0, row + 3), max(0, column - 2) : max(0, column + 3)]
            known = around[np.isfinite(around)]
            if len(known):
                found[number] = np.percentile(known, 20)
        return found

    def is_free(self, xy: NDArray[np.float64], height: float) -> bool:
        """Whether nothing stands in the cells of places (N, 2), and what is seen of them is about as high as stated."""
        row, column = self._cells(xy).T
        inside = (row >= 0) & (row < self._side) & (column >= 0) & (column < self._side)
        if not inside.all() or self._taken[row, column].any():
            return False
        low = self._low[row, column]
        return not (np.abs(low[np.isfinite(low)] - height) > _STEP).any()

    def _cells(self, xy: NDArray[np.float64]) -> NDArray[np.int64]:
        """Row and column (N, 2)."""
        return np.floor((np.asarray(xy)[:, ::-1] + _REACH) / _CELL).astype(np.int64)

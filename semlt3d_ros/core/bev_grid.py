"""Bird's-eye-view maps: which place a cell is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BevGrid:
    """Square cells over the ground. Maps are (..., rows, columns): rows along y, columns along x, from the corner on.

    Attributes:
        x0, y0: the corner with the least x and y, metres.
        cell_m: side of a cell.
        columns, rows: number of cells along x and along y.
    """

    x0: float
    y0: float
    cell_m: float
    columns: int
    rows: int

    def centers(self) -> NDArray[np.float32]:
        """(rows, columns, 2) x and y of the cells' centres in metres."""
        x = self.x0 + (np.arange(self.columns, dtype=np.float32) + 0.5) * self.cell_m
        y = self.y0 + (np.arange(self.rows, dtype=np.float32) + 0.5) * self.cell_m
        return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).astype(np.float32)

    def holds(self, x: Any, y: Any) -> Any:
        """Whether places, as arrays or tensors of metres, lie over the grid."""
        inside_x = (x >= self.x0) & (x < self.x0 + self.columns * self.cell_m)
        return inside_x & (y >= self.y0) & (y < self.y0 + self.rows * self.cell_m)

    def coarser(self, stride: int) -> BevGrid:
        """The grid of maps that have one cell for ``stride`` x ``stride`` of these."""
        return BevGrid(self.x0, self.y0, self.cell_m * stride, self.columns // stride, self.rows // stride)

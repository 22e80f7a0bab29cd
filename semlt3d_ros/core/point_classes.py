"""What a LiDAR point may lie on: an object of a class, or one of four kinds of background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""The class of points of which nobody knows."""

BACKGROUND = ("ground", "building", "vegetation", "other")
"""Kinds of what is no object: roads, pavements and lawns; houses and walls; trees, hedges and bushes; all the rest,
such as poles, signs, fences and the own vehicle."""


def point_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Names of all classes of points: those of the objects, then ``BACKGROUND``."""
    return (*class_names, *BACKGROUND)


def in_terms_of(points: NDArray[np.int16], columns: Sequence[int], count: int) -> NDArray[np.int16]:
    """Classes of points (N,) in terms of another list.

    Args:
        points: (N,) indices into ``point_class_names`` of the list as it is; ``UNKNOWN``, as all that is none.
        columns: the new class of each of its classes, -1 for none, as ``label_map.columns_for`` gives them: of what
            points on such objects lie, the new list has no word, so they become ``UNKNOWN``.
        count: number of classes of the new list.
    """
    table = np.array([*columns, *range(count, count + len(BACKGROUND)), UNKNOWN], np.int16)
    return table[np.where((points >= 0) & (points < len(table)), points, UNKNOWN)]

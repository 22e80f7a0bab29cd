"""What a LiDAR point may lie on: an object of a class, or one of four kinds of background."""

from __future__ import annotations

from collections.abc import Sequence

UNKNOWN = -1
"""The class of points of which nobody knows."""

BACKGROUND = ("ground", "building", "vegetation", "other")
"""Kinds of what is no object: roads, pavements and lawns; houses and walls; trees, hedges and bushes; all the rest,
such as poles, signs, fences and the own vehicle."""


def point_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Names of all classes of points: those of the objects, then ``BACKGROUND``."""
    return (*class_names, *BACKGROUND)

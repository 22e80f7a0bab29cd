"""What the objects of the 18 classes look like: meshes by class and the colours of their patterns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.simulation import shapes_cycles, shapes_objects, shapes_people, shapes_special, shapes_vehicles
from semlt3d_ros.simulation.mesh import Pattern, Shape

__all__ = ["Pattern", "Shape", "make_shape", "pattern_color"]

_MAKERS: dict[str, Callable[[np.random.Generator], Shape]] = {
    "car": shapes_vehicles.make_car,
    "truck": shapes_vehicles.make_truck,
    "trailer": shapes_vehicles.make_trailer,
    "bus": shapes_vehicles.make_bus,
    "construction_vehicle": shapes_special.make_construction_vehicle,
    "bicycle": shapes_cycles.make_bicycle,
    "motorcycle": shapes_cycles.make_motorcycle,
    "emergency_vehicle": shapes_special.make_emergency_vehicle,
    "adult": shapes_people.make_adult,
    "child": shapes_people.make_child,
    "police_officer": shapes_people.make_police_officer,
    "construction_worker": shapes_people.make_construction_worker,
    "stroller": shapes_objects.make_stroller,
    "personal_mobility": shapes_cycles.make_personal_mobility,
    "pushable_pullable": shapes_objects.make_pushable_pullable,
    "debris": shapes_objects.make_debris,
    "traffic_cone": shapes_objects.make_traffic_cone,
    "barrier": shapes_objects.make_barrier,
}

_WHITE = np.float32(0.85)
"""Linear-light albedo of the second colour of bands, diagonals and checkers."""


def make_shape(class_name: str, rng: np.random.Generator) -> Shape:
    """A random instance of a class; the same state of ``rng`` gives the same shape.

    Sizes are drawn around the class means of nuScenes (Caesar et al., CVPR 2020).

    Raises:
        ConfigurationError: the class is not one of ``core.taxonomy.CLASS_NAMES``.
    """
    if class_name not in _MAKERS:
        raise ConfigurationError(f"class '{class_name}' has no shape; use one of {', '.join(_MAKERS)}")
    return _MAKERS[class_name](rng)


def _hashed(cells: NDArray[np.int64]) -> NDArray[np.float32]:
    """Repeatable pseudo-random numbers (N,) in [0, 1) of integer cells (N, 3)."""
    mixed = cells.astype(np.uint32) * np.array([0x8DA6B343, 0xD8163841, 0xCB1AB31F], np.uint32)
    value = np.bitwise_xor.reduce(mixed, axis=1)
    value = (value ^ (value >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    value = (value ^ (value >> np.uint32(12))) * np.uint32(0x297A2D39)
    return ((value ^ (value >> np.uint32(15))) >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


def pattern_color(
    pattern_ids: NDArray[np.uint8], local_points: NDArray[np.float32], base_colors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Colours (N, 3) of N surface points from their pattern ids (N,), their position and their base colour.

    Positions (N, 3) are metres in the object frame, colours are linear light in [0, 1].

    * ``PLAIN``: the base colour.
    * ``BANDS``: along z, 0.12 m of base colour and 0.12 m of white in turn.
    * ``DIAGONAL``: along y + z + x, 0.2 m of base colour and 0.2 m of white in turn.
    * ``CHECKER``: cells of 0.22 m in x, y and z, base colour and white in turn.
    * ``NOISE``: the base colour times 0.45 to 1.35, by random cells of 0.14 m and 0.05 m.
    * ``RIBS``: along x and y, 0.25 m of base colour and 0.1 m of 0.6 times the base colour in turn.
    * ``LATTICE``: lines of base colour, 0.03 m wide every 0.09 m, in between 0.25 times the base colour.
    """
    colors = np.array(base_colors, np.float32)
    points = np.asarray(local_points, np.float32)
    for pattern in (Pattern.BANDS, Pattern.DIAGONAL, Pattern.CHECKER):
        index = np.flatnonzero(pattern_ids == pattern)
        if len(index):
            colors[index[_second_color(pattern, points[index])]] = _WHITE
    index = np.flatnonzero(pattern_ids == Pattern.NOISE)
    if len(index):
        coarse, fine = (_hashed(np.floor(points[index] / np.float32(cell)).astype(np.int64)) for cell in (0.14, 0.05))
        colors[index] *= (0.45 + 0.5 * coarse + 0.4 * fine)[:, None]
    index = np.flatnonzero(pattern_ids == Pattern.RIBS)
    colors[index[((points[index, 0] + points[index, 1]) % 0.35) > 0.25]] *= np.float32(0.6)
    index = np.flatnonzero(pattern_ids == Pattern.LATTICE)
    gap = ((points[index, 0] + points[index, 1]) % 0.09 > 0.03) & (points[index, 2] % 0.09 > 0.03)
    colors[index[gap]] *= np.float32(0.25)
    return colors


def _second_color(pattern: Pattern, points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether points (N, 3) show a two-coloured pattern's second colour."""
    if pattern == Pattern.BANDS:
        return points[:, 2] % 0.24 >= 0.12
    if pattern == Pattern.DIAGONAL:
        return points.sum(axis=1) % 0.4 >= 0.2
    return np.floor(points / np.float32(0.22)).sum(axis=1) % 2 == 1

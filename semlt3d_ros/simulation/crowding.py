"""Objects that stand close to each other: rows of parked cars, queues, groups of people, lines of cones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from semlt3d_ros.simulation.population import Placement
from semlt3d_ros.simulation.road import Road
from semlt3d_ros.simulation.scenery import in_crossing

Wish = tuple[str, Placement]
"""A class and a place for an object of it."""

_REACH = 60.0
_PARKED = ("car", "truck", "trailer", "motorcycle")
_PARKED_SHARES = (0.9, 0.05, 0.01, 0.04)
_GROUPS = (
    ("adult", "adult", "adult", "child", "stroller", "police_officer", "construction_worker"),
    ("bicycle", "bicycle", "motorcycle", "personal_mobility"),
    ("traffic_cone",),
    ("barrier",),
    ("pushable_pullable", "pushable_pullable", "debris"),
)
_GROUP_SHARES = (0.45, 0.15, 0.15, 0.15, 0.1)


def crowd(rng: np.random.Generator, road: Road, span: tuple[float, float]) -> list[Wish]:
    """Classes and places around a drive from the first to the last position of ``span`` along the road, metres."""
    wishes: list[Wish] = []
    for side in (-1.0, 1.0):
        heading = 0.0 if side < 0 else np.pi
        if road.parking_width and rng.random() < 0.75:
            d = side * (road.half_width - road.parking_width / 2)
            wishes += _row(rng, road, span, d, heading, 5.2)
        if (road.left if side > 0 else road.right) == "parking" and rng.random() < 0.8:
            d = side * (road.half_width + road.sidewalk_width + 2.9)
            wishes += _row(rng, road, span, d, np.pi / 2, 2.7)
        if rng.random() < 0.2:
            d = side * (road.lanes - 0.5) * road.lane_width
            wishes += _queue(rng, road, span, d, heading)
    for _ in range(int(rng.integers(0, 5))):
        wishes += _group(rng, road, span)
    return wishes


def _row(
    rng: np.random.Generator, road: Road, span: tuple[float, float], d: float, heading: float, step: float
) -> list[Wish]:
    """Parked vehicles, one every ``step`` metres or a little more, with gaps."""
    wishes: list[Wish] = []
    full, s = float(rng.uniform(0.3, 0.95)), span[0] - _REACH
    while s < span[1] + _REACH:
        s += step + float(rng.exponential(0.25 * step - 0.2))
        if rng.random() > full or in_crossing(road, s, 2.0):
            continue
        yaw = heading + (np.pi if rng.random() < 0.15 else 0.0) + float(rng.normal(0, 0.03))
        name = str(rng.choice(_PARKED, p=_PARKED_SHARES))
        wishes.append((name, Placement(s, d + float(rng.normal(0, 0.12)), yaw)))
    return wishes


def _queue(rng: np.random.Generator, road: Road, span: tuple[float, float], d: float, heading: float) -> list[Wish]:
    """Vehicles behind each other in a lane, standing or all equally fast."""
    start = float(rng.uniform(span[0] - 40, span[1] + 40))
    speed = float(rng.choice((0.0, rng.uniform(1, 9)))) * np.cos(heading)
    wishes: list[Wish] = []
    for number in range(int(rng.integers(2, 6))):
        s = start + number * float(rng.uniform(6.0, 8.5))
        name = str(rng.choice(("car", "bus", "truck"), p=(0.85, 0.05, 0.1)))
        place = Placement(s, d + float(rng.normal(0, 0.2)), heading + float(rng.normal(0, 0.02)), speed)
        wishes.append((name, place))
    return wishes


def _group(rng: np.random.Generator, road: Road, span: tuple[float, float]) -> list[Wish]:
    """A few small objects about a place on the pavement or, of cones and barriers, on the road."""
    kind = int(rng.choice(len(_GROUPS), p=_GROUP_SHARES))
    names = _GROUPS[kind]
    s = float(rng.uniform(span[0] - 35, span[1] + 35))
    on_road = kind in (2, 3)
    reach = road.half_width if on_road else road.half_width + road.sidewalk_width
    d = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.0 if on_road else road.half_width, reach))
    yaw, step = float(rng.uniform(-np.pi, np.pi)), 2.6 if kind == 3 else float(rng.uniform(0.6, 3.0))
    turn = 0.0 if on_road else float(rng.uniform(-0.3, 0.3))
    wishes: list[Wish] = []
    place: Callable[[int], tuple[float, float]] = (
        (lambda k: (s + k * step, d + turn * k)) if on_road else (lambda k: (s + rng.normal(0, 0.9), d))
    )
    for number in range(int(rng.integers(2, 7))):
        at, across = place(number)
        heading = np.pi / 2 if kind == 3 else yaw + float(rng.normal(0, 0.7))
        wishes.append((str(rng.choice(names)), Placement(float(at), across + float(rng.normal(0, 0.3)), heading)))
    return wishes

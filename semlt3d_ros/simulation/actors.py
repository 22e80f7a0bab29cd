"""The objects of a drive: drawn, placed without overlap, moving at constant velocity in road coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.simulation.population import Placement, Placer, class_probabilities
from semlt3d_ros.simulation.road import Road
from semlt3d_ros.simulation.shapes import Shape, make_shape

_TRIES = 40
_CLEARANCE = 0.12
_STOCK = 300
EGO_SIZE = (4.7, 1.9)
"""Length and width of the ego vehicle in metres."""
EGO_CENTER_X = 1.4
"""Metres from ``base_link``, on the rear axle, forward to the ego vehicle's middle."""


@dataclass(frozen=True)
class Actor:
    """One object: what it is, what it looks like, where it was at time 0 and how it moves."""

    class_id: int
    shape: Shape
    placement: Placement


@dataclass(frozen=True)
class Track:
    """Footprints at T times: positions (T, 2) metres, yaw (T,), half length and half width in metres."""

    xy: NDArray[np.float64]
    yaw: NDArray[np.float64]
    half: tuple[float, float]

    @property
    def radius(self) -> float:
        """Radius of the footprint's circumscribed circle, metres."""
        return float(np.hypot(*self.half))


def pose_at(road: Road, placement: Placement, time_s: NDArray | float) -> tuple[NDArray, NDArray, NDArray]:
    """World positions (..., 2), yaw (...) and velocity (..., 2) of a placement at times (...) in seconds."""
    time_s = np.asarray(time_s, np.float64)
    s, d = placement.s + placement.v_s * time_s, placement.d + placement.v_d * time_s
    xy, heading = road.to_world(s, d)
    velocity = road.velocity(s, d, np.asarray(placement.v_s), np.asarray(placement.v_d))
    return xy, heading + placement.yaw, velocity


def overlap(a: Track, b: Track, clearance: float = _CLEARANCE) -> bool:
    """Whether two footprints come closer than ``clearance`` metres at any of their common times (separating axes)."""
    offset = b.xy - a.xy
    near = np.hypot(offset[:, 0], offset[:, 1]) < a.radius + b.radius + clearance
    if not near.any():
        return False
    offset, turn = offset[near], (b.yaw - a.yaw)[near]
    c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    separated = np.zeros(len(offset), bool)
    for own, other, yaw in ((a, b, a.yaw[near]), (b, a, b.yaw[near])):
        along = np.abs(offset[:, 0] * np.cos(yaw) + offset[:, 1] * np.sin(yaw))
        across = np.abs(offset[:, 1] * np.cos(yaw) - offset[:, 0] * np.sin(yaw))
        separated |= along > own.half[0] + c * other.half[0] + s * other.half[1] + clearance
        separated |= across > own.half[1] + s * other.half[0] + c * other.half[1] + clearance
    return bool((~separated).any())


def make_actors(
    rng: np.random.Generator,
    road: Road,
    count: int,
    exponent: float,
    times: NDArray[np.float64],
    ego: Track,
    reserved: list[Track],
    span: tuple[float, float],
    wishes: Sequence[tuple[str, Placement]] = (),
) -> list[Actor]:
    """Draw and place up to ``count`` actors that overlap neither each other nor anything reserved at any time.

    Args:
        rng: source of chance.
        road: the street.
        count: actors to draw; one that finds no free place is left out.
        exponent: see ``class_probabilities``.
        times: (T,) seconds at which nothing may overlap.
        ego: the ego vehicle's footprint at these times.
        reserved: footprints of static things at these times.
        span: first and last position of the ego vehicle along the road, metres.
        wishes: classes and places of actors besides; those whose place is free come first.
    """
    classes = rng.choice(len(CLASS_NAMES), size=count, p=class_probabilities(exponent))
    shapes = [(int(k), make_shape(CLASS_NAMES[k], np.random.default_rng(rng.integers(2**63)))) for k in classes]
    # Large things first: they would find no place later, which would distort the class frequencies.
    shapes.sort(key=lambda item: -float(item[1].size[0] * item[1].size[1]))
    placer = Placer(rng, road, *span)
    taken = _Taken([ego, *reserved])
    actors: list[Actor] = []

    def placed(class_id: int, shape: Shape, placement: Placement) -> bool:
        xy, yaw, _ = pose_at(road, placement, times)
        track = Track(xy, yaw, (float(shape.size[0]) / 2, float(shape.size[1]) / 2))
        if _leaves_the_street(road, placement, shape, times) or taken.overlap(track):
            return False
        taken.add(track)
        actors.append(Actor(class_id, shape, placement))
        return True

    for name, placement in wishes:
        placed(CLASS_INDEX[name], _stock_shape(name, int(rng.integers(_STOCK))), placement)
    for class_id, shape in shapes:
        for _ in range(_TRIES):
            if placed(class_id, shape, placer.propose(CLASS_NAMES[class_id])):
                break
    return actors


class _Taken:
    """Footprints that nothing else may overlap."""

    def __init__(self, tracks: list[Track]) -> None:
        self._tracks = list(tracks)
        self._xy = np.stack([track.xy for track in tracks])
        self._radius = np.array([track.radius for track in tracks])

    def add(self, track: Track) -> None:
        self._tracks.append(track)
        self._xy = np.concatenate([self._xy, track.xy[None]])
        self._radius = np.append(self._radius, track.radius)

    def overlap(self, track: Track) -> bool:
        offset = self._xy - track.xy
        near = np.hypot(offset[..., 0], offset[..., 1]) < (track.radius + self._radius + _CLEARANCE)[:, None]
        return any(overlap(track, self._tracks[number]) for number in np.flatnonzero(near.any(axis=1)))


@lru_cache(maxsize=4 * _STOCK)
def _stock_shape(class_name: str, number: int) -> Shape:
    """One of the shapes of a class that rows and groups are made of: shapes take longer to make than to scan."""
    return make_shape(class_name, np.random.default_rng([number, CLASS_INDEX[class_name]]))


def _leaves_the_street(road: Road, placement: Placement, shape: Shape, times: NDArray[np.float64]) -> bool:
    """Whether an actor would stand in the houses; the crossing street is free to its ends."""
    s, d = placement.s + placement.v_s * times, placement.d + placement.v_d * times
    c, n = abs(np.cos(placement.yaw)), abs(np.sin(placement.yaw))
    reach = np.abs(d) + (n * shape.size[0] + c * shape.size[1]) / 2
    limit = road.building_line - 0.2
    places = {1.0: road.left, -1.0: road.right}
    limits = np.where(d > 0, limit + 6.5 * (places[1.0] == "parking"), limit + 6.5 * (places[-1.0] == "parking"))
    beyond = reach > limits
    if road.crossing_s is not None:
        beyond &= np.abs(s - road.crossing_s) + (c * shape.size[0] + n * shape.size[1]) / 2 > road.crossing_half_width
    return bool(beyond.any())

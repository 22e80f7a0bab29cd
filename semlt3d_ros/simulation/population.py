"""Which classes appear how often, and where each of them likes to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.simulation.road import Road

NUSCENES_COUNTS: dict[str, int] = {
    "car": 493322,
    "truck": 88519,
    "trailer": 24860,
    "bus": 16321,
    "construction_vehicle": 14671,
    "bicycle": 11859,
    "motorcycle": 12617,
    "emergency_vehicle": 687,
    "adult": 208240,
    "child": 2066,
    "police_officer": 727,
    "construction_worker": 9161,
    "stroller": 1072,
    "personal_mobility": 395,
    "pushable_pullable": 24605,
    "debris": 3016,
    "traffic_cone": 97959,
    "barrier": 152087,
}
"""Boxes per class in nuScenes trainval (Caesar et al., CVPR 2020), mapped to the LT3D classes."""


def class_probabilities(exponent: float) -> NDArray[np.float64]:
    """Share (18,) of each class in taxonomy order: nuScenes' frequencies to the power of ``exponent``.

    1 keeps the real long tail, 0 makes all classes equally frequent.
    """
    weights = np.array([NUSCENES_COUNTS[name] for name in CLASS_NAMES], np.float64) ** exponent
    return weights / weights.sum()


@dataclass(frozen=True)
class Placement:
    """Pose and motion of an actor in road coordinates: metres, radians relative to the road, metres per second."""

    s: float
    d: float
    yaw: float
    v_s: float = 0.0
    v_d: float = 0.0


@dataclass(frozen=True)
class WorkZone:
    """A closed stretch around (s, d), ``length`` metres long."""

    s: float
    d: float
    length: float


class Placer:
    """Proposes plausible placements along a road."""

    def __init__(self, rng: np.random.Generator, road: Road, start: float, stop: float) -> None:
        """``start`` and ``stop`` are the ego vehicle's first and last position along the road, metres."""
        self._rng, self._road = rng, road
        self._start, self._stop = start, stop
        zones = 1 + int((stop - start + 60) // 80)
        reach = road.half_width + 1.0
        self._zones = [
            WorkZone(self._along(45.0), float(rng.uniform(-reach, reach)), float(rng.uniform(8, 24)))
            for _ in range(zones)
        ]

    def propose(self, class_name: str) -> Placement:
        """A random placement for a class; it may collide with others."""
        rng, road = self._rng, self._road
        u = rng.random()
        if u < 0.08:  # anything may be anywhere
            return Placement(self._along(), float(rng.uniform(-1, 1)) * (road.building_line - 1.5), self._any_yaw())
        u = rng.random()
        if class_name == "construction_vehicle":
            return self._in_zone() if u < 0.6 else self._vehicle(u)
        if class_name in ("car", "truck", "trailer", "bus", "emergency_vehicle"):
            return self._vehicle(u)
        if class_name in ("bicycle", "motorcycle"):
            return self._in_lane(6.0 if class_name == "bicycle" else 11.0) if u < 0.5 else self._on_sidewalk(0.0)
        if class_name == "personal_mobility":
            return self._in_lane(6.0) if u < 0.35 else self._on_sidewalk(4.0)
        if class_name == "construction_worker":
            return self._in_zone() if u < 0.75 else self._on_sidewalk(1.3)
        if class_name in ("traffic_cone", "barrier"):
            return self._zone_edge(class_name == "barrier") if u < 0.75 else self._on_road()
        if class_name == "debris":
            return self._on_road() if u < 0.7 else self._on_sidewalk(0.0)
        if class_name == "pushable_pullable":
            return self._on_sidewalk(0.0) if u < 0.7 else self._in_zone()
        return self._person(u, 1.1 if class_name == "stroller" else 1.8)

    def _along(self, reach: float = 56.0) -> float:
        """A position along the road, denser near the ego vehicle's path."""
        rng = self._rng
        offset = reach * rng.random() ** 1.25 * rng.choice((-1.0, 1.0))
        return float(rng.uniform(self._start, self._stop) + offset)

    def _any_yaw(self) -> float:
        return float(self._rng.uniform(-np.pi, np.pi))

    def _moving(self, s: float, d: float, yaw: float, speed: float) -> Placement:
        return Placement(s, d, yaw, float(speed * np.cos(yaw)), float(speed * np.sin(yaw)))

    def _vehicle(self, u: float) -> Placement:
        rng, road = self._rng, self._road
        if u < 0.35 and road.parking_width:
            side = rng.choice((-1.0, 1.0))
            d = side * (road.lanes * road.lane_width + road.parking_width / 2 + rng.uniform(-0.15, 0.15))
            forward = (side < 0) == (rng.random() < 0.9)
            return Placement(self._along(), float(d), float((0 if forward else np.pi) + rng.normal(0, 0.03)))
        bays = [sign for place, sign in ((road.left, 1.0), (road.right, -1.0)) if place == "parking"]
        if u < 0.55 and bays:
            d = bays[int(rng.integers(len(bays)))] * (road.half_width + road.sidewalk_width + 2.7)
            s = round(self._along() / 2.7) * 2.7 + 1.35
            return Placement(float(s), float(d), float(rng.choice((-1, 1)) * np.pi / 2 + rng.normal(0, 0.03)))
        if u < 0.68 and road.crossing_s is not None:
            direction = rng.choice((-1.0, 1.0))  # rightwards or leftwards across, each on its right-hand side
            s = road.crossing_s + direction * road.crossing_half_width / 2
            speed = float(rng.choice((0.0, rng.uniform(2, 10))))
            return self._moving(float(s), float(rng.uniform(-45, 45)), float(direction * np.pi / 2), speed)
        return self._in_lane(12.0, 0.0)

    def _in_lane(self, top_speed: float, wander: float = 1.0) -> Placement:
        rng, road = self._rng, self._road
        side = rng.choice((-1.0, 1.0))
        offset = float(rng.normal(0, 0.2)) + wander * float(rng.uniform(-0.3, 1.2))
        d = float(side * ((int(rng.integers(road.lanes)) + 0.5) * road.lane_width + offset))
        speed = float(rng.uniform(0.2, 1.0) * top_speed) if rng.random() < 0.6 else 0.0
        yaw = float((0.0 if side < 0 else np.pi) + rng.normal(0, 0.04))
        return self._moving(self._along(), d, yaw, speed)

    def _on_sidewalk(self, top_speed: float) -> Placement:
        rng, road = self._rng, self._road
        margin = min(0.5, road.sidewalk_width / 4)
        d = rng.choice((-1.0, 1.0)) * (road.half_width + rng.uniform(margin, road.sidewalk_width - margin))
        if top_speed == 0.0 or rng.random() < 0.3:
            return Placement(self._along(), float(d), self._any_yaw())
        yaw = float(rng.choice((0.0, np.pi)) + rng.normal(0, 0.2))
        return self._moving(self._along(), float(d), yaw, float(rng.uniform(0.3, 1.0) * top_speed))

    def _person(self, u: float, top_speed: float) -> Placement:
        rng, road = self._rng, self._road
        if u < 0.75:
            return self._on_sidewalk(top_speed)
        s = self._along()
        if road.crossing_s is not None and u < 0.9:  # on the zebra crossing
            s = road.crossing_s + rng.choice((-1.0, 1.0)) * (road.crossing_half_width + rng.uniform(0.6, 3.2))
        yaw = float(rng.choice((-1.0, 1.0)) * np.pi / 2 + rng.normal(0, 0.15))
        d = float(rng.uniform(-1, 1) * road.half_width)
        return self._moving(float(s), d, yaw, float(rng.uniform(0.3, 1.0) * top_speed))

    def _on_road(self) -> Placement:
        d = float(self._rng.uniform(-1, 1) * self._road.half_width)
        return Placement(self._along(), d, self._any_yaw())

    def _in_zone(self) -> Placement:
        rng = self._rng
        zone = self._zones[int(rng.integers(len(self._zones)))]
        s = zone.s + rng.uniform(-0.5, 0.5) * zone.length
        return Placement(float(s), float(zone.d + rng.uniform(-2.0, 2.0)), self._any_yaw())

    def _zone_edge(self, aligned: bool) -> Placement:
        """A place on the outline of a work zone; barriers stand along it."""
        rng = self._rng
        zone = self._zones[int(rng.integers(len(self._zones)))]
        along = rng.random() < 0.75
        if along:
            s, d = zone.s + rng.uniform(-0.5, 0.5) * zone.length, zone.d + rng.choice((-2.6, 2.6))
        else:
            s, d = zone.s + rng.choice((-0.5, 0.5)) * zone.length, zone.d + rng.uniform(-2.6, 2.6)
        # The heading of a barrier is normal to its board, as nuScenes annotates it.
        yaw = float((np.pi / 2 if along else 0.0) + rng.choice((0.0, np.pi)) + rng.normal(0, 0.08))
        return Placement(float(s), float(d + rng.normal(0, 0.1)), yaw if aligned else self._any_yaw())

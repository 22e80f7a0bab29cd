"""Ground that is not flat: hills, crowned roads, kerbs, banks and bumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.simulation.road import Road

_REACH = 110.0
"""Metres across the road within which the ground has its shape."""
_EDGE = 0.02


@dataclass(frozen=True)
class Waves:
    """A sum of K plane waves: wave vectors (K, 2) rad/m, phases (K,) rad, amplitudes (K,) metres."""

    vectors: NDArray[np.float64]
    phases: NDArray[np.float64]
    amplitudes: NDArray[np.float64]

    def at(self, x: NDArray, y: NDArray) -> NDArray[np.float64]:
        """Height (...) at positions x, y (...) metres."""
        total = np.zeros(np.shape(x))
        for (kx, ky), phase, amplitude in zip(self.vectors, self.phases, self.amplitudes, strict=True):
            total += amplitude * np.sin(kx * x + ky * y + phase)
        return total


@dataclass(frozen=True)
class Terrain:
    """Heights of the ground along a road.

    Attributes:
        road: the street.
        hills: waves of many metres. bumps: waves of some metres, in full beside the road and less on it.
        crown: slope of the road from its middle to its sides.
        kerb: metres that pavements are above the road.
        banks: slope beyond the pavements, on the left and on the right; they end after some metres.
        bank_width: width of the banks in metres.
        smooth: share of the bumps that there is on roads and pavements.
    """

    road: Road
    hills: Waves
    bumps: Waves
    crown: float
    kerb: float
    banks: tuple[float, float]
    bank_width: float
    smooth: float

    def height(self, x: NDArray, y: NDArray) -> NDArray[np.float64]:
        """Height (N,) of the ground at world positions x, y (N,) metres."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        return self._height(x, y, *self.road.to_road(x, y))

    def _height(self, x: NDArray, y: NDArray, s: NDArray, d: NDArray) -> NDArray[np.float64]:
        road, across = self.road, np.abs(d)
        street = across < road.half_width
        if road.crossing_s is not None:
            street = street | (np.abs(s - road.crossing_s) < road.crossing_half_width)
        outside = np.clip(across - road.half_width - road.sidewalk_width, 0, self.bank_width)
        bank = np.where(d > 0, self.banks[0], self.banks[1]) * outside
        if road.crossing_s is not None:  # the crossing street is level, and the banks go down to it
            bank = bank * np.clip((np.abs(s - road.crossing_s) - road.crossing_half_width - 2.0) / 6.0, 0, 1)
        rough = np.clip(outside / 2.0, self.smooth, 1.0)
        height = self.hills.at(x, y) + rough * self.bumps.at(x, y) + bank
        return height - self.crown * np.minimum(across, road.half_width) + np.where(street, 0.0, self.kerb)

    def mesh(self, start: float, stop: float) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Vertices (V, 3) in the world and faces (F, 3) of the ground from s = ``start`` to ``stop`` metres."""
        road = self.road
        along = [np.arange(start, stop, 1.6)]
        if road.crossing_s is not None:
            edges = road.crossing_s + np.array([-1.0, 1.0]) * road.crossing_half_width
            along += [edges - _EDGE, edges + _EDGE]
        kerb = road.half_width + np.array([-_EDGE, _EDGE])
        walk = road.half_width + road.sidewalk_width
        side = np.concatenate(
            [np.arange(0.5, walk + 16, 1.4), kerb, [walk], np.arange(walk + 16, walk + 40, 4), [60, 75, 90, _REACH]]
        )
        # Beyond the centre of a bend there is no road to speak of.
        inner = 0.9 / abs(road.curvature) if road.curvature else np.inf
        d = np.unique(np.concatenate([-side, side]))
        d = d[d * np.sign(road.curvature or 1.0) < inner]
        s = np.unique(np.concatenate(along))
        grid_s, grid_d = np.meshgrid(s, d, indexing="ij")
        xy, _ = road.to_world(grid_s.reshape(-1), grid_d.reshape(-1))
        z = self._height(xy[:, 0], xy[:, 1], grid_s.reshape(-1), grid_d.reshape(-1))
        index = np.arange(len(xy)).reshape(grid_s.shape)
        a, b, c, e = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
        faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, e], -1).reshape(-1, 3)])
        return np.column_stack([xy, z]).astype(np.float32), faces.astype(np.int32)

    def stood_on(self, pose: rigid.Matrix, length: float, width: float, start: float) -> rigid.Matrix:
        """A pose on the plane (4, 4) lifted and tilted onto the ground.

        Args:
            pose: of a vehicle whose frame is on the ground.
            length, width: between its wheels, metres.
            start: where its rear wheels are, metres ahead of its origin.
        """
        wheels = [(start + length, width / 2), (start + length, -width / 2), (start, width / 2), (start, -width / 2)]
        at = rigid.apply(pose, np.array([(x, y, 0.0) for x, y in wheels]))
        front_left, front_right, rear_left, rear_right = self.height(at[:, 0], at[:, 1])
        ahead = np.array([1.0, 0.0, (front_left + front_right - rear_left - rear_right) / (2 * length)])
        left = np.array([0.0, 1.0, (front_left + rear_left - front_right - rear_right) / (2 * width)])
        x_axis = ahead / np.linalg.norm(ahead)
        z_axis = np.cross(ahead, left)
        z_axis /= np.linalg.norm(z_axis)
        tilt = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis], axis=1)
        middle = float(np.mean([front_left, front_right, rear_left, rear_right]))
        lifted = rigid.transform(pose[:3, 3], pose[:3, :3] @ tilt)
        lifted[2, 3] += middle - ahead[2] * (start + length / 2)
        return lifted


def make_terrain(rng: np.random.Generator, road: Road) -> Terrain:
    """Random ground: from all but flat to hilly."""
    steep, rough = float(rng.choice((0.15, 0.5, 1.0))), float(rng.uniform(0.2, 1.0))
    banks = np.where(rng.random(2) < 0.6, rng.normal(0, 0.08, 2), rng.uniform(-0.25, 0.35, 2))
    return Terrain(
        road,
        hills=_waves(rng, 6, (60.0, 220.0), steep * 0.012),
        bumps=_waves(rng, 8, (3.0, 14.0), rough * 0.014),
        crown=float(rng.uniform(0.0, 0.03)),
        kerb=float(rng.choice((0.0, rng.uniform(0.05, 0.2)), p=(0.2, 0.8))),
        banks=(float(banks[0]), float(banks[1])),
        bank_width=float(rng.uniform(2.0, 14.0)),
        smooth=float(rng.uniform(0.05, 0.4)),
    )


def _waves(rng: np.random.Generator, count: int, lengths: tuple[float, float], slope: float) -> Waves:
    """Waves of lengths in metres, each with a slope of about ``slope``."""
    k = 2 * np.pi / np.exp(rng.uniform(np.log(lengths[0]), np.log(lengths[1]), count))
    angle = rng.uniform(0, 2 * np.pi, count)
    vectors = np.stack([k * np.cos(angle), k * np.sin(angle)], axis=1)
    return Waves(vectors, rng.uniform(0, 2 * np.pi, count), slope * np.abs(rng.normal(1, 0.4, count)) / k)

"""A spinning 32-beam LiDAR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.simulation.ground import GroundPalette, ground_reflectivity
from semlt3d_ros.simulation.rig import T_EGO_LIDAR
from semlt3d_ros.simulation.road import Road
from semlt3d_ros.simulation.scene import Scene

_DETECTION_FLOOR = 0.02
"""Returned power, relative to a white wall at 25 m, below which returns are increasingly lost."""


@dataclass(frozen=True)
class LidarConfig:
    """The sensor, by default like the one of nuScenes.

    Attributes:
        beams: number of beams, spread evenly between the elevations.
        lowest_deg, highest_deg: elevation of the outermost beams.
        steps: firings per turn.
        range_m: farthest return.
        noise_m: standard deviation of the measured range.
        dropout: share of returns lost everywhere; weak returns are lost more often.
        period_s: time of one turn, which ends at the frame's stamp.
    """

    beams: int = 32
    lowest_deg: float = -30.0
    highest_deg: float = 10.0
    steps: int = 1080
    range_m: float = 70.0
    noise_m: float = 0.015
    dropout: float = 0.02
    period_s: float = 0.1


class Lidar:
    """Scans scenes; points come out in the ego frame, corrected for the ego motion during the turn."""

    def __init__(self, config: LidarConfig) -> None:
        self._config = config
        elevation = np.radians(np.linspace(config.lowest_deg, config.highest_deg, config.beams))
        # Sensors of this kind turn clockwise; a turn begins and ends at the back.
        azimuth = np.pi - 2 * np.pi * (np.arange(config.steps) + 1) / config.steps
        a, e = np.meshgrid(azimuth, elevation, indexing="ij")
        rays = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1).reshape(-1, 3)
        self._rays = (rays @ T_EGO_LIDAR[:3, :3].T).astype(np.float32)
        time = (np.arange(config.steps) + 1 - config.steps) / config.steps * config.period_s
        self._time = np.repeat(time, config.beams).astype(np.float32)

    def scan(
        self, scene: Scene, T_world_ego: rigid.Matrix, road: Road, palette: GroundPalette, rng: np.random.Generator
    ) -> tuple[PointCloud, NDArray[np.int32]]:
        """One turn: points in the ego frame, and the solid (N,) each one lies on, -1 for the ground."""
        config = self._config
        origin = rigid.apply(T_world_ego, T_EGO_LIDAR[:3, 3]).astype(np.float32)
        directions = self._rays @ T_world_ego[:3, :3].T.astype(np.float32)
        hits = scene.cast(np.broadcast_to(origin, directions.shape).copy(), directions)
        index = np.flatnonzero((hits.face >= 0) & (hits.distance < config.range_m))
        face, distance = hits.face[index], hits.distance[index]
        points = origin + directions[index] * distance[:, None]
        solid = scene.table.solid[face]
        reflectivity = scene.table.reflectivity[face]
        ground = solid < 0
        where = points[ground]
        reflectivity[ground] = ground_reflectivity(road, palette, where[:, 0].copy(), where[:, 1].copy())
        incidence = np.abs(np.einsum("ij,ij->i", hits.normal[index], directions[index]))
        intensity = np.clip(reflectivity * (0.25 + 0.75 * incidence), 0, 1)
        intensity = np.clip(intensity + rng.normal(0, 0.01, len(index)), 0, 1)
        # The returned light falls with the square of the range; below the detector's floor nothing is measured.
        power = reflectivity * incidence * np.minimum(1.0, (25.0 / np.maximum(distance, 1.0)) ** 2)
        lost = config.dropout + np.clip((_DETECTION_FLOOR - power) / _DETECTION_FLOOR, 0, 1) * 0.9
        kept = rng.random(len(index)) > lost
        noisy = distance + rng.normal(0, config.noise_m, len(index))
        xyz = T_EGO_LIDAR[:3, 3] + self._rays[index] * noisy[:, None]
        cloud = PointCloud(
            xyz[kept].astype(np.float32), intensity[kept].astype(np.float32), self._time[index][kept].astype(np.float32)
        )
        return cloud, solid[kept]

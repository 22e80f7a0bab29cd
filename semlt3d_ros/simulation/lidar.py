"""A scanning LiDAR, by default one that spins and has 32 beams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.simulation.ground import GroundPalette, ground_reflectivity
from semlt3d_ros.simulation.lidar_effects import (
    NOWHERE,
    OWN_VEHICLE,
    Bodies,
    LidarEffects,
    blind,
    ghosted,
    intensity_of,
    moved_on,
    own_vehicle,
    rounded,
    through_panes,
)
from semlt3d_ros.simulation.rig import LIDAR_POSITION, rotation
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
        elevations_deg: elevation of every beam, where they are not even; empty: by the three entries above.
        view_deg: width of the sector about its x axis that the sensor sees.
        jitter_deg: how far rays stray from the pattern, anew in every turn.
        position: of the sensor in the ego frame, metres.
        tilt_deg: roll, pitch and yaw of the sensor.
        effects: how it differs from an ideal one, or None.
    """

    beams: int = 32
    lowest_deg: float = -30.0
    highest_deg: float = 10.0
    steps: int = 1080
    range_m: float = 70.0
    noise_m: float = 0.015
    dropout: float = 0.02
    period_s: float = 0.1
    elevations_deg: tuple[float, ...] = ()
    view_deg: float = 360.0
    jitter_deg: float = 0.0
    position: tuple[float, float, float] = LIDAR_POSITION
    tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    effects: LidarEffects | None = None

    @property
    def T_ego_lidar(self) -> rigid.Matrix:
        """The LiDAR's frame in the ego frame."""
        roll, pitch, yaw = np.radians(self.tilt_deg)
        return rigid.transform(self.position, rotation(yaw, pitch, roll))


class Lidar:
    """Scans scenes; points come out in the ego frame, corrected for the ego motion during the turn."""

    def __init__(self, config: LidarConfig) -> None:
        self._config = config
        even = np.linspace(config.lowest_deg, config.highest_deg, config.beams)
        elevation = np.radians(np.array(config.elevations_deg) if config.elevations_deg else even)
        # Sensors of this kind turn clockwise; a turn begins and ends at the back.
        sector = 2 * np.pi * config.view_deg / 360.0
        azimuth = sector / 2 - sector * (np.arange(config.steps) + 1) / config.steps
        a, e = np.meshgrid(azimuth, elevation, indexing="ij")
        rays = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1).reshape(-1, 3)
        T_ego_lidar = config.T_ego_lidar
        self._position = T_ego_lidar[:3, 3]
        self._rays = (rays @ T_ego_lidar[:3, :3].T).astype(np.float32)
        self._beams = len(elevation)
        time = (np.arange(config.steps) + 1 - config.steps) / config.steps * config.period_s
        self._time = np.repeat(time, self._beams).astype(np.float32)

    def scan(
        self,
        scene: Scene,
        T_world_ego: rigid.Matrix,
        road: Road,
        palette: GroundPalette,
        rng: np.random.Generator,
        bodies: Bodies | None = None,
    ) -> tuple[PointCloud, NDArray[np.int32], NDArray[np.float64]]:
        """One turn, of A actors whose ``bodies`` are needed where there are effects.

        Returns:
            Points in the ego frame; the solid (N,) that each one lies on, -1 for the ground, see ``OWN_VEHICLE`` and
            ``NOWHERE``; and how far (A, 2) the points of each actor moved on average, or (2,) zeros.
        """
        config, effects = self._config, self._config.effects
        rays = self._strayed(rng)
        origin = rigid.apply(T_world_ego, self._position).astype(np.float32)
        directions = rays @ T_world_ego[:3, :3].T.astype(np.float32)
        hits = scene.cast(np.broadcast_to(origin, directions.shape).copy(), directions)
        seen = (hits.face >= 0) & (hits.distance < config.range_m)
        index = np.flatnonzero(seen if effects is None else seen & ~blind(effects, rays, self._beams))
        face, distance = hits.face[index], hits.distance[index]
        points = origin + directions[index] * distance[:, None]
        solid = scene.table.solid[face]
        reflectivity = scene.table.reflectivity[face]
        ground = solid < 0
        where = points[ground]
        reflectivity[ground] = ground_reflectivity(road, palette, where[:, 0].copy(), where[:, 1].copy())
        incidence = np.abs(np.einsum("ij,ij->i", hits.normal[index], directions[index]))
        floor = _DETECTION_FLOOR
        if effects is not None:
            floor *= effects.floor
            painted, dull = reflectivity, np.array(effects.dull, np.float32)
            reflectivity = np.where(ground, reflectivity, reflectivity * dull[solid % len(dull)])
        intensity = np.clip(reflectivity * (0.25 + 0.75 * incidence), 0, 1)
        if effects is not None:
            intensity = intensity_of(effects, intensity, distance)
        intensity = np.clip(intensity + rng.normal(0, 0.01, len(index)), 0, 1)
        # The returned light falls with the square of the range; below the detector's floor nothing is measured.
        power = reflectivity * incidence * np.minimum(1.0, (25.0 / np.maximum(distance, 1.0)) ** 2)
        lost = config.dropout + np.clip((floor - power) / floor, 0, 1) * 0.9
        kept = rng.random(len(index)) > lost
        spread = config.noise_m + (0.0 if effects is None else effects.noise_growth * distance.astype(np.float64))
        noisy = distance + rng.normal(0, spread, len(index))
        if effects is not None:
            if effects.panes is not None:
                noisy, kept = through_panes(effects.panes, noisy, painted, kept, rng)
            noisy, solid, kept = self._disturbed(effects, rays[index], noisy, solid, kept, index, rng)
        xyz = self._position + rays[index] * noisy[:, None]
        if bodies is not None:
            xyz = self._rounded(bodies, scene, T_world_ego, solid, xyz)
        cloud = PointCloud(
            xyz[kept].astype(np.float32), intensity[kept].astype(np.float32), self._time[index][kept].astype(np.float32)
        )
        if effects is not None:
            if not effects.intensity:
                cloud.intensity = None
            assert bodies is not None
            cloud, drift = moved_on(effects, cloud, solid[kept], bodies, config.period_s)
            return cloud, solid[kept], drift
        return cloud, solid[kept], np.zeros(2)

    def _strayed(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """The rays (N, 3) of this turn."""
        if not self._config.jitter_deg:
            return self._rays
        rays = self._rays + rng.normal(0, np.radians(self._config.jitter_deg), self._rays.shape)
        return (rays / np.linalg.norm(rays, axis=1, keepdims=True)).astype(np.float32)

    @staticmethod
    def _rounded(
        bodies: Bodies, scene: Scene, T_world_ego: rigid.Matrix, solid: NDArray[np.int32], xyz: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Points (N, 3) in the ego frame as they lie on bodies with rounded corners."""
        on = np.flatnonzero((solid >= 0) & (solid < len(bodies.half)))
        local = scene.local(solid[on], rigid.apply(T_world_ego, xyz[on]).astype(np.float32))
        step = rounded(bodies, solid[on], local) - local
        yaw = scene.poses[solid[on], 3]
        c, s = np.cos(yaw), np.sin(yaw)
        in_world = np.stack([c * step[:, 0] - s * step[:, 1], s * step[:, 0] + c * step[:, 1], step[:, 2]], axis=-1)
        xyz = xyz.copy()
        xyz[on] += in_world @ T_world_ego[:3, :3]
        return xyz

    def _disturbed(
        self,
        effects: LidarEffects,
        rays: NDArray[np.float32],
        distance: NDArray[np.float64],
        solid: NDArray[np.int32],
        kept: NDArray[np.bool_],
        index: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.bool_]]:
        """Measured ranges, solids and which returns arrive, where the world is not that clean."""
        solid = solid.copy()
        if effects.roughness_m:
            rough = np.abs(rng.normal(0, effects.roughness_m, len(rays))) / np.maximum(np.abs(rays[:, 2]), 0.1)
            distance = np.where(solid == -1, distance - np.minimum(rough, 0.5 * distance), distance)
        distance, nothing = ghosted(effects, distance, index % self._beams, rng)
        solid[nothing] = NOWHERE
        if effects.own != "absent":
            own = own_vehicle(self._position, rays, effects.rack)
            hidden = own < distance
            distance = np.where(hidden, own + rng.normal(0, self._config.noise_m, len(own)), distance)
            solid[hidden] = OWN_VEHICLE
            kept = kept & ~hidden if effects.own == "removed" else kept
        if effects.range_step_m:
            distance = np.round(distance / effects.range_step_m) * effects.range_step_m
        return distance, solid, kept

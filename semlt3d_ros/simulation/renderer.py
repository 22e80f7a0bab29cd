"""Camera images by ray casting: first hits, procedural surfaces, sun with shadows, haze."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.regions import Region
from semlt3d_ros.simulation.ground import GroundPalette, ground_albedo, value_noise
from semlt3d_ros.simulation.light import Daylight
from semlt3d_ros.simulation.rig import SimulatedCamera
from semlt3d_ros.simulation.road import Road
from semlt3d_ros.simulation.scene import FAR, Hits, Scene
from semlt3d_ros.simulation.scenery import SceneryTexture
from semlt3d_ros.simulation.shapes import pattern_color

_EXTRA_SAMPLES = ((0.36, 0.1), (-0.27, 0.29), (-0.1, -0.39))
"""Sub-pixel offsets of the samples added where neighbouring pixels differ."""
_EDGE = 14
"""Difference in 8 bit colour between neighbouring pixels from which on a pixel is supersampled."""
_REGION_SAMPLES = ((-0.25, -0.25), (0.25, 0.25))
_FULL_WIDTH = 1600
"""Width in pixels of the camera whose resolution image regions have, that of nuScenes' cameras."""
_SMALLEST_REGION = 8
_LUT_SIZE = 4096
_AO_CELL = 0.2
_AO_REACH = 64.0


@dataclass(frozen=True)
class Surroundings:
    """What the shader knows besides the geometry."""

    road: Road
    palette: GroundPalette
    light: Daylight


@lru_cache(maxsize=1)
def _tone_table() -> NDArray[np.uint8]:
    """8 bit values of linear light in [0, 1], brightest parts rolled off."""
    linear = np.linspace(0, 1, _LUT_SIZE)
    return np.round(255 * linear ** (1 / 2.2)).astype(np.uint8)


def to_pixels(radiance: NDArray[np.float32], exposure: float) -> NDArray[np.uint8]:
    """8 bit colours (..., 3) of linear radiance (..., 3)."""
    # x / (1 + x^2)^(1/2) keeps highlights from clipping to flat white.
    exposed = radiance * np.float32(exposure)
    exposed = exposed / np.sqrt(1.0 + exposed * exposed)
    return _tone_table()[(exposed * np.float32(_LUT_SIZE - 1)).astype(np.int32)]


class Renderer:
    """Renders the images of one rig in one drive's surroundings."""

    def __init__(self, cameras: tuple[SimulatedCamera, ...], surroundings: Surroundings) -> None:
        self._cameras, self._around = cameras, surroundings
        self._shape = (len(cameras), cameras[0].camera.height, cameras[0].camera.width)
        self._rays = np.stack([camera.rays() for camera in cameras]).reshape(-1, 3)
        self._extra = [np.stack([c.rays(offset) for c in cameras]).reshape(-1, 3) for offset in _EXTRA_SAMPLES]
        mounts = np.stack([camera.T_ego_camera[:3, 3] for camera in cameras])
        self._mounts = np.repeat(mounts, self._shape[1] * self._shape[2], axis=0).astype(np.float32)

    def render(
        self, scene: Scene, T_world_ego: rigid.Matrix, footprints: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Images (V, H, W, 3) RGB and the solid (V, H, W) seen in the middle of every pixel, -1 for ground and sky.

        ``footprints`` (A, 4, 2) are the actors' outlines on the ground, world metres: the ground darkens beneath them.
        """
        rotation = T_world_ego[:3, :3].astype(np.float32)
        contact = _ContactShade(T_world_ego[:2, 3], footprints)
        origins = self._mounts @ rotation.T + T_world_ego[:3, 3].astype(np.float32)
        radiance, hits = self._shoot(scene, origins, self._rays @ rotation.T, contact)
        solid = scene.solid_of(hits.face).reshape(self._shape)
        images = to_pixels(radiance, self._around.light.exposure).reshape(*self._shape, 3)
        edges = np.flatnonzero(_edges(images))
        if len(edges):
            total = radiance[edges]
            for rays in self._extra:
                total = total + self._shoot(scene, origins[edges], rays[edges] @ rotation.T, contact)[0]
            images.reshape(-1, 3)[edges] = to_pixels(total * np.float32(0.25), self._around.light.exposure)
        return images, solid

    def render_regions(
        self,
        scene: Scene,
        T_world_ego: rigid.Matrix,
        footprints: NDArray[np.float32],
        regions: Sequence[Region],
        size: int,
    ) -> NDArray[np.uint8]:
        """Images (R, size, size, 3) of regions of the rig's views, at the resolution of a ``_FULL_WIDTH`` pixel camera.

        A region that such a camera would show with fewer pixels is rendered with those and scaled up.
        """
        images = np.zeros((len(regions), size, size, 3), np.uint8)
        if not len(regions):
            return images
        rotation = T_world_ego[:3, :3].astype(np.float32)
        contact = _ContactShade(T_world_ego[:2, 3], footprints)
        rays, mounts, sides = [], [], []
        for region in regions:
            camera = self._cameras[region.view]
            pixels = region.side * _FULL_WIDTH / camera.camera.width
            side = int(np.clip(np.ceil(pixels), _SMALLEST_REGION, size))
            zoomed = _zoomed(camera, region, side)
            sides.append(side)
            rays += [zoomed.rays(offset).reshape(-1, 3) for offset in _REGION_SAMPLES]
            mounts += [np.broadcast_to(camera.T_ego_camera[:3, 3].astype(np.float32), rays[-1].shape)] * len(
                _REGION_SAMPLES
            )
        origins = np.concatenate(mounts) @ rotation.T + T_world_ego[:3, 3].astype(np.float32)
        radiance, _ = self._shoot(scene, origins, np.concatenate(rays) @ rotation.T, contact)
        start = 0
        for number, side in enumerate(sides):
            count = len(_REGION_SAMPLES) * side * side
            mean = radiance[start : start + count].reshape(len(_REGION_SAMPLES), side, side, 3).mean(axis=0)
            image = to_pixels(mean, self._around.light.exposure)
            images[number] = image if side == size else cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
            start += count
        return images

    def _shoot(
        self, scene: Scene, origins: NDArray[np.float32], directions: NDArray[np.float32], contact: _ContactShade
    ) -> tuple[NDArray[np.float32], Hits]:
        """Radiance (N, 3) and hits of N rays."""
        light = self._around.light
        hits = scene.cast(origins, directions)
        radiance = np.empty((len(directions), 3), np.float32)
        seen = (hits.face >= 0) & (hits.distance < FAR)
        sky = ~seen
        radiance[sky] = light.sky(directions[sky])
        index = np.flatnonzero(seen)
        distance = hits.distance[index]
        points = origins[index] + directions[index] * distance[:, None]
        albedo = self._albedo(scene, hits.face[index], points, hits.normal[index], distance)
        lit = self._irradiance(scene, points, hits.normal[index], distance)
        ground = scene.table.solid[hits.face[index]] < 0
        lit[ground] *= contact.at(points[ground])[:, None]
        haze = np.exp(-distance / np.float32(light.haze_m))[:, None]
        radiance[index] = light.horizon + (albedo * lit - light.horizon) * haze
        return radiance, hits

    def _irradiance(
        self, scene: Scene, points: NDArray[np.float32], normals: NDArray[np.float32], distance: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Light (N, 3) that surfaces receive: sky from above, some bounce from below, sun where it is not blocked."""
        light = self._around.light
        lit = (0.7 + 0.3 * normals[:, 2])[:, None] * light.ambient
        if light.sun.any():
            slope = normals @ light.to_sun
            facing = np.flatnonzero(slope > 0)
            start = points[facing] + normals[facing] * (0.01 + 0.0005 * distance[facing])[:, None]
            dark = scene.occluded(start, np.broadcast_to(light.to_sun, start.shape).copy())
            sunny = facing[~dark]
            lit[sunny] += slope[sunny, None] * light.sun
        return lit

    def _albedo(
        self,
        scene: Scene,
        face: NDArray[np.int32],
        points: NDArray[np.float32],
        normals: NDArray[np.float32],
        distance: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Linear surface colour (N, 3)."""
        table = scene.table
        albedo, texture, solid = table.albedo[face], table.texture[face], table.solid[face]
        ground = np.flatnonzero(solid < 0)
        where = points[ground]
        albedo[ground] = ground_albedo(
            self._around.road, self._around.palette, where[:, 0].copy(), where[:, 1].copy(), distance[ground]
        )
        patterned = np.flatnonzero(texture > 0)
        if not len(patterned):
            return albedo
        kinds = texture[patterned]
        facade = patterned[kinds == SceneryTexture.FACADE]
        if len(facade):
            albedo[facade] = self._facade(scene, solid[facade], points[facade], normals[facade], albedo[facade])
        for kind, cell, contrast in ((SceneryTexture.FOLIAGE, 0.12, 0.7), (SceneryTexture.ROUGH, 0.05, 0.3)):
            chosen = patterned[kinds == kind]
            p = points[chosen]
            slant = p[:, 2] * np.float32(0.7)
            noise = value_noise(p[:, 0] + slant, p[:, 1] + slant, cell)
            albedo[chosen] *= np.maximum(1 + np.float32(contrast) * noise, 0.1)[:, None]
        objects = patterned[kinds < SceneryTexture.FACADE]
        if len(objects):
            local = scene.local(solid[objects], points[objects])
            albedo[objects] = pattern_color(texture[objects], local, albedo[objects])
        return albedo

    def _facade(
        self,
        scene: Scene,
        solid: NDArray[np.int32],
        points: NDArray[np.float32],
        normals: NDArray[np.float32],
        wall: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Walls (N, 3) with rows of windows, plain roofs."""
        local = scene.local(solid, points)
        windows = scene.table.windows[solid]
        yaw = scene.poses[solid, 3]
        front = np.abs(normals[:, 1] * np.cos(yaw) - normals[:, 0] * np.sin(yaw)) > 0.7
        along = np.where(front, local[:, 0], local[:, 1]) / windows[:, 0]
        up = local[:, 2] / windows[:, 1]
        share = windows[:, 2]
        glass = (np.abs(along % 1.0 - 0.5) < share / 2) & (np.abs(up % 1.0 - 0.55) < 0.28)
        glass &= (np.abs(normals[:, 2]) < 0.5) & (local[:, 2] > 0.4)
        stain = value_noise((along * 3.0 + solid).astype(np.float32), up * np.float32(3.0), 0.3)
        color = wall * (1 + 0.15 * stain)[:, None]
        color[glass] = windows[glass, 3:]
        return color


def _edges(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels (V, H, W) that differ from a neighbour to the left, right, above or below."""
    grey = images[..., 1].astype(np.int16) + ((images[..., 0].astype(np.int16) - images[..., 2]) >> 1)
    marked = np.zeros(grey.shape, bool)
    across = np.abs(np.diff(grey, axis=2)) > _EDGE
    down = np.abs(np.diff(grey, axis=1)) > _EDGE
    marked[:, :, 1:] |= across
    marked[:, :, :-1] |= across
    marked[:, 1:] |= down
    marked[:, :-1] |= down
    return marked


def _zoomed(camera: SimulatedCamera, region: Region, side: int) -> SimulatedCamera:
    """A camera of ``side`` x ``side`` pixels that sees the region's window only."""
    scale, (left, top, *_) = side / region.side, region.window
    # The window's border is the border of the outer pixels, half a pixel from their centres.
    A = np.array([[scale, 0.0, -scale * left - 0.5], [0.0, scale, -scale * top - 0.5], [0.0, 0.0, 1.0]])
    return SimulatedCamera(camera.name, CameraModel(side, side, A @ camera.camera.K), camera.T_ego_camera)


class _ContactShade:
    """Ambient light that objects take from the ground around their feet, as a map around the ego vehicle."""

    def __init__(self, middle: NDArray[np.float64], footprints: NDArray[np.float32]) -> None:
        cells = int(2 * _AO_REACH / _AO_CELL)
        self._corner = (middle - _AO_REACH).astype(np.float32)
        shade = np.zeros((cells, cells), np.float32)
        for outline in footprints:
            cv2.fillConvexPoly(shade, np.round((outline - self._corner) / _AO_CELL).astype(np.int32), 1.0)
        self._factor = 1.0 - 0.65 * cv2.GaussianBlur(shade, (0, 0), 0.35 / _AO_CELL)

    def at(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Factor (N,) at world points (N, 3)."""
        cell = ((points[:, :2] - self._corner) / np.float32(_AO_CELL) + np.float32(0.5)).astype(np.int32)
        inside = ((cell >= 0) & (cell < len(self._factor))).all(axis=1)
        cell[~inside] = 0
        return np.where(inside, self._factor[cell[:, 1], cell[:, 0]], np.float32(1.0))

"""The simulated vehicle's sensors: six cameras and a LiDAR, placed like nuScenes'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel

_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Camera optical axes (z forward, x right, y down) in a body frame (x forward, y left, z up), REP-103."""

CAMERAS: tuple[tuple[str, tuple[float, float, float], float, float], ...] = (
    ("CAM_FRONT", (1.70, 0.02, 1.51), 0.0, 70.0),
    ("CAM_FRONT_RIGHT", (1.55, -0.49, 1.50), -55.0, 70.0),
    ("CAM_BACK_RIGHT", (1.01, -0.48, 1.56), -110.0, 70.0),
    ("CAM_BACK", (0.03, 0.00, 1.58), 180.0, 110.0),
    ("CAM_BACK_LEFT", (1.04, 0.48, 1.56), 110.0, 70.0),
    ("CAM_FRONT_LEFT", (1.52, 0.49, 1.51), 55.0, 70.0),
)
"""Name, position in base_link in metres, heading in degrees, horizontal field of view in degrees."""

LIDAR_POSITION = (0.94, 0.0, 1.84)
"""LiDAR's place in base_link in metres; its axes are as base_link's."""


@dataclass(frozen=True)
class SimulatedCamera:
    """One camera: its name, its intrinsics and its optical frame in the ego frame."""

    name: str
    camera: CameraModel
    T_ego_camera: rigid.Matrix

    def rays(self, offset: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.float32]:
        """Unit viewing rays (H, W, 3) in the ego frame through pixel centres moved by ``offset`` pixels."""
        to_ray = (self.T_ego_camera[:3, :3] @ np.linalg.inv(self.camera.K)).astype(np.float32)
        u = (np.arange(self.camera.width) + offset[0]).astype(np.float32)[None, :, None]
        v = (np.arange(self.camera.height) + offset[1]).astype(np.float32)[:, None, None]
        rays = u * to_ray[:, 0] + v * to_ray[:, 1] + to_ray[:, 2]
        return rays / np.sqrt((rays * rays).sum(axis=-1, keepdims=True))


def make_rig(
    image_size: tuple[int, int], top_crop: float = 0.0, jitter: float = 0.0, rng: np.random.Generator | None = None
) -> tuple[SimulatedCamera, ...]:
    """The six cameras.

    Args:
        image_size: width and height in pixels of the uncropped image.
        top_crop: share of the rows left out at the top of every image.
        jitter: how much this vehicle's mounting differs from the nominal one; 1 is up to some centimetres and degrees.
        rng: source of chance for the jitter.
    """
    width, height = image_size
    cut = round(height * top_crop)
    chance = rng if rng is not None else np.random.default_rng(0)
    rig = []
    for name, position, heading, field_of_view in CAMERAS:
        shift = jitter * chance.uniform(-1, 1, 3) * (0.08, 0.08, 0.15)
        roll, pitch, yaw = np.radians(jitter * chance.uniform(-1, 1, 3) * (0.7, 1.5, 2.5) + (0.0, 0.0, heading))
        fov = np.radians(field_of_view + jitter * chance.uniform(-3, 3))
        focal = width / 2 / np.tan(fov / 2)
        K = np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])
        turn = rotation(yaw, pitch, roll) @ _OPTICAL
        camera = CameraModel(width, height, K).cropped(0, cut, width, height - cut)
        rig.append(SimulatedCamera(name, camera, rigid.transform(np.asarray(position) + shift, turn)))
    return tuple(rig)


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Rotation matrix (3, 3) about x, then y, then z, radians."""
    c, s = np.cos((yaw, pitch, roll)), np.sin((yaw, pitch, roll))
    about_z = np.array([[c[0], -s[0], 0], [s[0], c[0], 0], [0, 0, 1]])
    about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    about_x = np.array([[1, 0, 0], [0, c[2], -s[2]], [0, s[2], c[2]]])
    return about_z @ about_y @ about_x

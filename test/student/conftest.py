"""A small student, a synthetic rig and synthetic targets."""

import numpy as np
import pytest
import torch

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.frame import CameraView, Frame, Labels, PointCloud
from semlt3d_ros.student.config import StudentConfig

WIDTH, HEIGHT = 96, 64
AZIMUTHS = (0.0, -60.0, -120.0, 180.0, 120.0, 60.0)


def camera_pose(azimuth: float) -> np.ndarray:
    """A camera 1.5 m high, 0.8 m from the origin, looking outwards."""
    forward = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, [0.0, 0.0, -1.0], forward], axis=1)
    pose[:3, 3] = 0.8 * forward + [0.0, 0.0, 1.5]
    return pose


def make_frame(seed: int, objects: int = 4) -> Frame:
    rng = np.random.default_rng(seed)
    camera = CameraModel(WIDTH, HEIGHT, np.array([[70.0, 0, 47.5], [0, 70.0, 28.0], [0, 0, 1]]))
    views = tuple(
        CameraView(f"C{i}", 5, rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8), camera, camera_pose(np.deg2rad(a)))
        for i, a in enumerate(AZIMUTHS)
    )
    angle, distance = rng.uniform(-np.pi, np.pi, objects), rng.uniform(6, 25, objects)
    centers = np.stack([distance * np.cos(angle), distance * np.sin(angle), np.full(objects, 0.8)], axis=-1)
    boxes = Boxes3D(
        centers, rng.uniform(0.6, 4, (objects, 3)), rng.uniform(-3, 3, objects), rng.normal(0, 2, (objects, 2))
    )
    points = PointCloud(rng.uniform(-20, 20, (400, 3)).astype(np.float32))
    return Frame(5, views, points=points, labels=Labels(boxes, rng.integers(0, 18, objects)))


@pytest.fixture
def frames() -> list[Frame]:
    return [make_frame(seed, objects) for seed, objects in enumerate((4, 0, 7))]


@pytest.fixture
def config() -> StudentConfig:
    return StudentConfig(
        image_width=WIDTH,
        image_height=HEIGHT,
        backbone_args={"channels": [8, 16, 24, 32], "stem_width": 8},
        strides=(4, 8, 16),
        width=32,
        feed_forward=48,
        anchors=20,
        proposals=10,
        depth_bins=8,
        range_m=30.0,
    )


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)

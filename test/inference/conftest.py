"""A teacher that has learnt nothing, and clouds."""

import numpy as np
import pytest
import torch

from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.point_classes import point_class_names
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import Teacher

CLASSES = ("car", "truck", "adult", "debris")


def small_config(**changes) -> TeacherConfig:
    sizes = {
        "class_names": CLASSES,
        "point_range": (-12.8, -12.8, -3.0, 12.8, 12.8, 5.0),
        "pillar_layers": (8,),
        "block_layers": (1, 1, 1),
        "block_widths": (8, 8, 8),
        "up_widths": (4, 4, 4),
        "shared_width": 8,
        "head_width": 4,
        "point_classes": point_class_names(CLASSES),
        "score": 0.0,
        "detections": 6,
    }
    return TeacherConfig(**{**sizes, **changes})


def detector_of(config: TeacherConfig, version: str = "small@1", seed: int = 0) -> TeacherDetector:
    torch.manual_seed(seed)
    return TeacherDetector(Teacher(config), version)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def config() -> TeacherConfig:
    return small_config()


@pytest.fixture
def detector(config) -> TeacherDetector:
    return detector_of(config)


@pytest.fixture
def cloud() -> PointCloud:
    rng = np.random.default_rng(1)
    xyz = rng.uniform((-14, -14, -2), (14, 14, 2), (3000, 3)).astype(np.float32)
    return PointCloud(xyz, rng.random(3000).astype(np.float32), -rng.integers(0, 3, 3000).astype(np.float32) / 10)


@pytest.fixture
def make_detector():
    """Makes a detector with other settings, version or weights."""

    def make(version: str = "small@1", seed: int = 0, **changes) -> TeacherDetector:
        return detector_of(small_config(**changes), version, seed)

    return make

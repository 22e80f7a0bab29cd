"""Drives past objects whose places are known, and what a teacher that errs would say of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from bench.small_robot import TEACHER
from semlt3d_ros.checkpoints.teacher import save_teacher
from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.point_classes import point_class_names
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import StampedTransform
from semlt3d_ros.teacher.teacher import Teacher

Message = tuple[str, str, object, int]

CLASSES = ("car", "adult", "barrier")
FAMILIES = ("vehicle", "pedestrian", "movable")
PERIOD = 100_000_000


@dataclass
class Thing:
    """An object of a class, from a place on with a velocity in the world, m and m/s."""

    kind: int
    start: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    heading: float = 0.0

    def at(self, seconds: float) -> np.ndarray:
        x, y = np.array(self.start) + seconds * np.array(self.velocity)
        return np.array([x, y, 0.8])


def seen(
    things: list[Thing],
    frames: int,
    noise: float = 0.0,
    misses: Callable[[int, int], bool] = lambda thing, frame: False,
    flips: float = 0.0,
    ego_mps: float = 5.0,
    seed: int = 0,
    start: int = 0,
) -> tuple[list[Detections], list[np.ndarray]]:
    """What is said of each frame, in the ego frame of a vehicle that drives along x and turns; and its poses."""
    rng = np.random.default_rng(seed)
    found, poses = [], []
    for frame in range(frames):
        seconds = frame * PERIOD / 1e9
        pose = rigid.planar(ego_mps * seconds, 0.0, 0.1 * seconds)
        rows, told = [], []
        for number, thing in enumerate(things):
            if misses(number, frame):
                continue
            center = thing.at(seconds) + rng.normal(0, noise, 3) * (1, 1, 0.3)
            yaw = thing.heading + rng.normal(0, 0.2 * noise) + (np.pi if rng.random() < flips else 0.0)
            size = np.array([4.5, 1.9, 1.6]) if thing.kind == 0 else np.array([0.7, 0.7, 1.7])
            rows.append([*center, *(size * np.exp(rng.normal(0, 0.3 * noise, 3))), yaw, np.nan, np.nan])
            confidence = np.full(3, 0.05)
            confidence[thing.kind] = 0.6
            told.append(confidence)
        table = np.array(rows).reshape(-1, 9)
        boxes = Boxes3D(table[:, :3], table[:, 3:6], table[:, 6], table[:, 7:9]).moved(rigid.inverse(pose))
        found.append(Detections(start + frame * PERIOD, boxes, np.array(told, np.float32), CLASSES))
        poses.append(pose)
    return found, poses


@pytest.fixture
def drive():
    """Makes detections and poses of a drive."""
    return seen


@pytest.fixture
def thing():
    """Makes objects."""
    return Thing


def cloud_of(seed: int = 0, count: int = 2000) -> PointCloud:
    rng = np.random.default_rng(seed)
    return PointCloud(rng.uniform((-12, -12, -2), (12, 12, 2), (count, 3)).astype(np.float32))


def pose_at(stamp: int) -> Message:
    pose = StampedTransform(topics.FIXED_FRAME, topics.BASE_FRAME, stamp, rigid.planar(stamp * 5e-9, 0.0, 0.0))
    return topics.TF, topics.TF_TYPE, encode.encode_transforms([pose]), stamp


def lidar_messages(
    clouds: list[PointCloud], frame: str = topics.LIDAR_FRAME, topic: str = topics.POINTS, poses: bool = True
) -> list[Message]:
    mount = StampedTransform(topics.BASE_FRAME, topics.LIDAR_FRAME, 0, rigid.planar(1.0, 0.0, 0.0, 1.8))
    messages: list[Message] = [(topics.TF_STATIC, topics.TF_TYPE, encode.encode_transforms([mount]), PERIOD)]
    for number, cloud in enumerate(clouds, 1):
        stamp = number * PERIOD
        messages += [pose_at(stamp)] if poses else []
        messages.append((topic, topics.POINT_CLOUD_TYPE, encode.encode_point_cloud(cloud, stamp, frame), stamp))
    return messages


@pytest.fixture
def cloud():
    """Makes clouds of a seed and a number of points, without intensity and times."""
    return cloud_of


@pytest.fixture
def messages():
    """Makes the messages of a recording of a LiDAR alone."""
    return lidar_messages


@pytest.fixture(scope="session")
def teachers(tmp_path_factory):
    """Two checkpoints of small teachers that have learnt nothing."""
    names = ("car", "truck", "adult", "debris")
    config = replace(
        TEACHER,
        class_names=names,
        tasks=(),
        point_range=(-12.8, -12.8, -3.0, 12.8, 12.8, 5.0),
        pillar_m=0.32,
        point_classes=point_class_names(names),
    )
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        paths.append(tmp_path_factory.mktemp("teachers") / f"teacher{seed}.safetensors")
        save_teacher(paths[-1], Teacher(config), f"teacher{seed}", {})
    return paths

"""Drives past objects whose places are known, and what a teacher that errs would say of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections

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

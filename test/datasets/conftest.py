"""A small drive in PandaSet's layout, with known motion."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas
import pytest
import simplejpeg

from semlt3d_ros.core import rigid
from semlt3d_ros.datasets.pandaset_files import CAMERAS


def _share_inside(outline: np.ndarray, pixels: np.ndarray, margin: float = 1.0) -> float:
    hull = cv2.convexHull(outline.astype(np.float32))
    return float(np.mean([cv2.pointPolygonTest(hull, tuple(map(float, pixel)), True) > -margin for pixel in pixels]))


@pytest.fixture(scope="session")
def share_inside() -> Callable[..., float]:
    """Share of pixels (P, 2) inside the convex outline of corners (8, 2), or nearer to it than a margin."""
    return _share_inside


FRAMES = 4
START = 1_557_539_956.500022
SPEED, TURN_RATE = 8.0, 0.2
CUBOIDS = [
    # uuid, label, age, sensor, stationary, position at frame 0, metres per frame along +x of the world, yaw
    ("car", "Car", None, 0, False, (20.0, 5.0, 1.0), 0.5, -np.pi / 2),
    ("car-again", "Car", None, 1, False, (20.2, 5.0, 1.0), 0.5, -np.pi / 2),
    ("parked", "Pickup Truck", None, -1, True, (0.0, 15.0, 1.0), 0.0, 0.0),
    ("child", "Pedestrian", "Child", -1, False, (-4.0, 9.0, 1.0), 0.0, 0.3),
    ("adult", "Pedestrian with Object", "Adult", -1, False, (-6.0, 9.0, 1.0), 0.0, 0.3),
    ("bird", "Animals - Bird", None, -1, False, (3.0, 3.0, 3.0), 0.0, 0.0),
    ("ufo", "Flying Saucer", None, -1, False, (3.0, 30.0, 9.0), 0.0, 0.0),
]


@dataclass(frozen=True)
class PandaSetDrive:
    """Folder of the drive, and the truth about it: seconds, m/s, rad/s."""

    folder: Path
    frames: int = FRAMES
    start: float = START
    speed: float = SPEED
    turn_rate: float = TURN_RATE

    def stamp(self, camera: int, frame: int) -> int:
        """Nanoseconds of a camera's frame."""
        return round((self.start + 0.1 * frame + camera_delay(camera)) * 1e6) * 1000

    def mount(self, camera: int) -> rigid.Matrix:
        """PandaSet's vehicle frame <- optical frame."""
        return camera_mount(camera)


@pytest.fixture(scope="session")
def pandaset_drive(tmp_path_factory: pytest.TempPathFactory) -> PandaSetDrive:
    folder = tmp_path_factory.mktemp("pandaset") / "002"
    write_sequence(folder)
    return PandaSetDrive(folder)


@pytest.fixture()
def broken_drive(pandaset_drive: PandaSetDrive, tmp_path: Path) -> Path:
    """A copy of the drive, to be damaged."""
    return shutil.copytree(pandaset_drive.folder, tmp_path / "sequences" / "002")


def vehicle_pose(seconds: float) -> rigid.Matrix:
    """World <- PandaSet's vehicle frame (y forward) of a drive along a circle, on a slope."""
    heading = TURN_RATE * seconds
    radius = SPEED / TURN_RATE
    tilt = rigid.rotation_from_quaternion([0.02, -0.01, 0.0, 1.0])
    turn = rigid.planar(radius * np.sin(heading), radius * (1 - np.cos(heading)), heading - np.pi / 2, z=0.1 * seconds)
    turn[:3, :3] = turn[:3, :3] @ tilt
    return turn


def camera_mount(index: int) -> rigid.Matrix:
    """Vehicle <- optical frame of the camera that looks 60 degrees further clockwise for each index."""
    optical = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    turn = rigid.planar(0.1 * index, 1.0 - 0.2 * index, -np.pi / 3 * index, z=1.6)
    turn[:3, :3] = turn[:3, :3] @ optical
    return turn


def camera_delay(index: int) -> float:
    return -0.05 + 0.01 * index


def write_sequence(folder: Path) -> None:
    """A drive of four frames in PandaSet's layout."""
    rng = np.random.default_rng(5)
    lidar_times = START + 0.1 * np.arange(FRAMES)
    write_track(folder / "lidar", lidar_times, [vehicle_pose(t - START) for t in lidar_times])
    (folder / "annotations" / "cuboids").mkdir(parents=True)
    for index, name in enumerate(CAMERAS):
        times = lidar_times + camera_delay(index)
        write_track(folder / "camera" / name, times, [vehicle_pose(t - START) @ camera_mount(index) for t in times])
        intrinsics = {"fx": 60.0 + index, "fy": 61.0, "cx": 31.0, "cy": 17.0}
        (folder / "camera" / name / "intrinsics.json").write_text(json.dumps(intrinsics))
        for frame in range(FRAMES):
            image = rng.integers(0, 255, (36, 64, 3), dtype=np.uint8)
            (folder / "camera" / name / f"{frame:02d}.jpg").write_bytes(simplejpeg.encode_jpeg(image))
    for frame in range(FRAMES):
        write_points(folder, frame, lidar_times[frame])
        write_cuboids(folder, frame)


def write_track(folder: Path, times: np.ndarray, poses: list[rigid.Matrix]) -> None:
    folder.mkdir(parents=True)
    entries = []
    for pose in poses:
        quaternion = rigid.quaternion_from_rotation(pose[:3, :3])
        entries.append(
            {
                "position": dict(zip("xyz", pose[:3, 3].tolist(), strict=True)),
                "heading": dict(zip("xyzw", quaternion.tolist(), strict=True)),
            }
        )
    (folder / "timestamps.json").write_text(json.dumps([round(float(t), 6) for t in times]))
    (folder / "poses.json").write_text(json.dumps(entries))


def write_points(folder: Path, frame: int, time: float) -> None:
    """Ten points in the moving car, five in the parked truck, one of the front LiDAR in the car as well."""
    car = np.array([20.0 + 0.5 * frame, 5.0, 1.0])
    xyz = np.vstack([car + np.linspace(-0.3, 0.3, 10)[:, None], np.tile([0.5, 15.0, 1.0], (5, 1)), car])
    count = len(xyz)
    table = {"x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2], "i": np.linspace(0, 255, count)}
    table |= {"t": time - np.linspace(0.1, 0.0, count), "d": np.r_[np.zeros(count - 1, np.int64), 1]}
    write_table(folder / "lidar" / f"{frame:02d}.pkl.gz", table)


def write_cuboids(folder: Path, frame: int) -> None:
    rows = []
    for uuid, label, age, sensor, stationary, position, step, yaw in CUBOIDS:
        row = {"uuid": uuid, "label": label, "yaw": yaw, "stationary": stationary, "cuboids.sensor_id": sensor}
        row |= {"position.x": position[0] + step * frame, "position.y": position[1], "position.z": position[2]}
        row |= {"dimensions.x": 2.0, "dimensions.y": 4.5, "dimensions.z": 1.5}
        rows.append(row | {"attributes.pedestrian_age": age if age else np.nan})
    columns = {key: np.array([row[key] for row in rows], dtype=_column_type(rows[0][key])) for key in rows[0]}
    write_table(folder / "annotations" / "cuboids" / f"{frame:02d}.pkl.gz", columns)


def _column_type(value: Any) -> type:
    return type(value) if isinstance(value, (float, bool, int)) and value == value else object


def write_table(path: Path, columns: dict[str, np.ndarray]) -> None:
    series = {
        name: pandas.Series(column, dtype=object if column.dtype == object else None)
        for name, column in columns.items()
    }
    table = pandas.DataFrame(series)
    table.columns = pandas.Index(list(columns), dtype=object)
    path.write_bytes(gzip.compress(pickle.dumps(table)))

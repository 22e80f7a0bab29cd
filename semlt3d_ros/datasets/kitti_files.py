"""KITTI's files as they are (Geiger et al., IJRR 2013): calibrations, stamps, sweeps, poses of the vehicle.

``docs/kitti.md`` tells what was found out about frames and stamps.
"""

from __future__ import annotations

import calendar
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.kitti_text import T_BASE_CAMERA0
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.pickles import read_file

LABELLED_CAMERA = 2
"""The left colour camera; what it sees is labelled."""

_T_VELO_IMU: Matrix = rigid.transform((-0.81, 0.32, -0.80))
"""Where a calibration lacks it: the mounting plan's."""

_T_AND_R: tuple[tuple[str, tuple[int, ...]], ...] = (("T", (3,)), ("R", (3, 3)))
_POINT_BYTES = 16
_FARTHEST_M = 1e4
_EARTH_M = 6_378_137.0
_OXTS_NUMBERS = 20
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class KittiCalibration:
    """How the sensors of one day, or of one frame, stand to each other.

    Attributes:
        T_camera0_velo: (4, 4) rectified camera 0 <- LiDAR.
        T_velo_imu: (4, 4) LiDAR <- inertial unit.
        projections: camera's number -> (3, 4) rectified camera 0 -> pixels.
    """

    T_camera0_velo: Matrix
    T_velo_imu: Matrix
    projections: dict[int, NDArray[np.float64]]

    @property
    def T_base_lidar(self) -> Matrix:
        """(4, 4) ``base_link`` <- LiDAR."""
        return T_BASE_CAMERA0 @ self.T_camera0_velo

    @property
    def T_imu_base(self) -> Matrix:
        """(4, 4) inertial unit <- ``base_link``."""
        return rigid.inverse(self.T_base_lidar @ self.T_velo_imu)

    def intrinsics(self, camera: int) -> NDArray[np.float64]:
        """(3, 3) intrinsic matrix of a rectified camera."""
        return self.projections[camera][:, :3]

    def T_base_camera(self, camera: int) -> Matrix:
        """(4, 4) ``base_link`` <- a rectified camera. All have one orientation; P's last column says how far apart."""
        offset = np.linalg.solve(self.intrinsics(camera), self.projections[camera][:, 3])
        return T_BASE_CAMERA0 @ rigid.transform(-offset)


def raw_calibration(folder: Path) -> tuple[KittiCalibration, str]:
    """The calibration of a raw drive: ``calib_*.txt`` of its day.

    Args:
        folder: of the drive; the files lie in it or beside it.

    Returns:
        The calibration, and what had to be taken from KITTI's mounting plan instead; empty if nothing.

    Raises:
        InputRejected: a file that is needed is missing or damaged.
    """
    place = folder if (folder / "calib_cam_to_cam.txt").is_file() else folder.resolve().parent
    cameras = read_calibration(place / "calib_cam_to_cam.txt")
    velo = read_calibration(place / "calib_velo_to_cam.txt")
    projections = {
        number: _shaped(cameras, f"P_rect_{number:02d}", (3, 4), "calib_cam_to_cam.txt")
        for number in range(4)
        if f"P_rect_{number:02d}" in cameras
    }
    T_rect = rigid.transform(rotation=_shaped(cameras, "R_rect_00", (3, 3), "calib_cam_to_cam.txt"))
    T_camera_velo = rigid.transform(*(_shaped(velo, *entry, "calib_velo_to_cam.txt") for entry in _T_AND_R))
    told, T_velo_imu = "", _T_VELO_IMU
    try:
        imu = read_calibration(place / "calib_imu_to_velo.txt")
        T_velo_imu = rigid.transform(*(_shaped(imu, *entry) for entry in _T_AND_R))
    except InputRejected as error:
        told = f"calib_imu_to_velo.txt: {error}"
    return _checked(KittiCalibration(T_rect @ T_camera_velo, T_velo_imu, projections)), told


def object_calibration(path: Path) -> KittiCalibration:
    """The calibration of one frame of the object benchmark; the names of the tracking benchmark's files do as well.

    Raises:
        InputRejected: the file is missing or damaged, or lacks an entry; ``P2`` is needed to know what is labelled.
    """
    values = read_calibration(path)
    there = [number for number in range(4) if number == LABELLED_CAMERA or f"P{number}" in values]
    projections = {number: _shaped(values, f"P{number}", (3, 4)) for number in there}
    T_rect = rigid.transform(rotation=_shaped(values, "R0_rect" if "R0_rect" in values else "R_rect", (3, 3)))
    velo = "Tr_velo_to_cam" if "Tr_velo_to_cam" in values else "Tr_velo_cam"
    imu = "Tr_imu_to_velo" if "Tr_imu_to_velo" in values else "Tr_imu_velo"
    T_velo_imu = _rigid(values, imu) if imu in values else _T_VELO_IMU
    return _checked(KittiCalibration(T_rect @ _rigid(values, velo), T_velo_imu, projections))


def read_calibration(path: Path) -> dict[str, NDArray[np.float64]]:
    """The entries of a calibration file that are numbers.

    Raises:
        InputRejected: the file is missing, or there are none.
    """
    values: dict[str, NDArray[np.float64]] = {}
    for line in _text(path).splitlines():
        name, _, rest = line.replace(":", " ", 1).strip().partition(" ")
        try:
            values[name] = np.array(rest.split(), np.float64)
        except ValueError:
            continue  # such as the time of the calibration
    if not values:
        raise InputRejected("calibration", f"{path.name}: no entry 'name: numbers'; download it again")
    return values


def read_stamps(path: Path) -> NDArray[np.int64]:
    """(N,) stamps in nanoseconds of a ``timestamps.txt``, taken as UTC; -1 for lines that are none.

    Raises:
        InputRejected: the file is missing, or no line is a stamp.
    """
    stamps = np.array([_stamp(line) for line in _text(path).rstrip().splitlines()], np.int64).reshape(-1)
    if not (stamps >= 0).any():
        raise InputRejected("stamps", f"{path.name}: no line is a date and time; download it again")
    return stamps


def read_points(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """A sweep in the LiDAR's frame.

    Returns:
        Points (N, 3) in metres, intensities (N,) in [0, 1], and how many points that cannot be were left out.

    Raises:
        InputRejected: the file is missing, is cut off, or holds no point.
    """
    content = read_file(path)
    if len(content) % _POINT_BYTES:
        text = f"{len(content)} bytes are no whole number of points (x, y, z, reflectance as float32)"
        raise InputRejected("damaged_file", f"{text}; download it again")
    table = np.frombuffer(content, "<f4").reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        good = np.isfinite(table).all(axis=1) & (np.abs(table[:, :3]) < _FARTHEST_M).all(axis=1)
    good &= table[:, :3].any(axis=1)
    if not good.any():
        raise InputRejected("points", f"none of its {len(table)} rows is a point")
    return table[good, :3].copy(), np.clip(table[good, 3], 0.0, 1.0), int((~good).sum())


@dataclass(frozen=True)
class VehicleState:
    """One reading of the GPS and inertial unit (``oxts``).

    Attributes:
        latitude, longitude: degrees.
        altitude: metres.
        rotation: (3, 3) east, north, up <- the unit's frame (x forward, y left, z up).
        linear: (3,) m/s forward, left, up.
        angular: (3,) rad/s about the unit's axes.
    """

    latitude: float
    longitude: float
    altitude: float
    rotation: NDArray[np.float64]
    linear: NDArray[np.float64]
    angular: NDArray[np.float64]

    def pose(self, scale_latitude: float) -> Matrix:
        """(4, 4) the unit in a plane of Mercator's projection, true to scale at a latitude in degrees."""
        scale = math.cos(math.radians(scale_latitude)) * _EARTH_M
        east = scale * math.radians(self.longitude)
        north = scale * math.log(math.tan(math.radians(90.0 + self.latitude) / 2))
        return rigid.transform((east, north, self.altitude), self.rotation)


def read_oxts(path: Path) -> VehicleState:
    """One file of ``oxts/data``.

    Raises:
        InputRejected: it is missing, damaged, or says what cannot be.
    """
    try:
        values = np.array(_text(path).split(), np.float64)
    except ValueError as error:
        raise InputRejected("oxts", f"expected numbers ({error}); download it again") from None
    if len(values) < _OXTS_NUMBERS or not np.isfinite(values[:_OXTS_NUMBERS]).all() or abs(values[0]) > 89.0:
        raise InputRejected("oxts", "expected latitude, longitude, altitude, roll, pitch, yaw, velocities and rates")
    roll, pitch, yaw = values[3:6]
    rotation = Rotation.from_euler("ZYX", (yaw, pitch, roll)).as_matrix()
    return VehicleState(values[0], values[1], values[2], rotation, values[8:11], values[17:20])


def _stamp(line: str) -> int:
    text, _, fraction = line.strip().partition(".")
    try:
        seconds = calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S"))
        return seconds * _SECOND + int(fraction[:9].ljust(9, "0"))
    except ValueError:
        return -1


def _text(path: Path) -> str:
    return read_file(path).decode("utf-8", errors="replace")


def _shaped(
    values: dict[str, NDArray[np.float64]], name: str, shape: tuple[int, ...], file: str = ""
) -> NDArray[np.float64]:
    found = values.get(name)
    if found is None or found.size != math.prod(shape) or not np.isfinite(found).all():
        what = "is missing" if found is None else f"has {found.size} numbers, or odd ones"
        text = f"'{name}' {what}, {math.prod(shape)} are needed; download it again"
        raise InputRejected("calibration", f"{file}: {text}" if file else text)
    return found.reshape(shape)


def _rigid(values: dict[str, NDArray[np.float64]], name: str) -> Matrix:
    matrix = _shaped(values, name, (3, 4))
    return rigid.transform(matrix[:, 3], matrix[:, :3])


def _checked(calibration: KittiCalibration) -> KittiCalibration:
    """Refuse what is no calibration of cameras and LiDAR on one vehicle."""
    for what, matrix in (("LiDAR to camera", calibration.T_camera0_velo), ("imu to LiDAR", calibration.T_velo_imu)):
        if np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() > 1e-2 or np.linalg.det(matrix[:3, :3]) < 0:
            raise InputRejected("calibration", f"the rotation from {what} is none; download it again")
    for number, projection in calibration.projections.items():
        if projection[0, 0] <= 0 or projection[1, 1] <= 0 or abs(projection[2, 2] - 1.0) > 1e-6:
            raise InputRejected("calibration", f"the projection of camera {number} is none; download it again")
    return calibration

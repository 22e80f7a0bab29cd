"""KITTI's two layouts of recordings, raw drives and frames of the object benchmark, behind one face."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.kitti_files import (
    LABELLED_CAMERA,
    KittiCalibration,
    VehicleState,
    object_calibration,
    raw_calibration,
    read_oxts,
    read_stamps,
)
from semlt3d_ros.datasets.kitti_folder import CAMERAS, COLOUR, POINTS
from semlt3d_ros.datasets.kitti_labels import (
    FrameLabels,
    FrameObjects,
    ObjectLabels,
    TrackingLabels,
    Tracklets,
    velocities,
)
from semlt3d_ros.messages import topics

FIRST_STAMP = 1_325_376_000_000_000_000
"""Nanoseconds; 1 January 2012, where the made-up time of single frames begins."""
BETWEEN_FRAMES = 60_000_000_000
"""Nanoseconds between single frames: so long that no memory outlasts it."""

TRACKLETS = "tracklet_labels.xml"


class Layout(Protocol):
    """A recording's files.

    Attributes:
        name, place: of the recording.
        cameras: numbers of its cameras.
        count: how many frames there are.
        labelled: whether there is ground truth.
        mounts: where the sensors sit; empty where that changes from frame to frame.
        faults: what is missing or damaged.
    """

    name: str
    place: Path
    cameras: tuple[int, ...]
    count: int
    labelled: bool
    mounts: dict[str, Matrix]
    faults: FaultLog

    def stamp(self, frame: int) -> int:
        """Nanoseconds; -1 where a frame has none and cannot be used."""

    def token(self, frame: int) -> str:
        """The frame's key."""

    def calibration(self, frame: int) -> KittiCalibration:
        """Raises InputRejected."""

    def image_path(self, frame: int, camera: int) -> Path:
        """Where an image is, or should be."""

    def points_path(self, frame: int) -> Path | None:
        """Where a sweep is, or should be; None where there are none at all."""

    def labels_path(self, frame: int) -> Path:
        """Where labels are, or should be."""

    def pose(self, frame: int) -> Matrix | None:
        """(4, 4) ``odom`` <- ``base_link``."""

    def state(self, frame: int) -> VehicleState | None:
        """What the inertial unit says."""

    def objects(self, frame: int) -> FrameObjects | None:
        """What is labelled. Raises InputRejected."""

    def velocities(self, frame: int) -> NDArray[np.float64]:
        """(N, 2) m/s of the objects, along the axes of ``base_link``."""


def mounts_of(calibration: KittiCalibration, cameras: tuple[int, ...]) -> dict[str, Matrix]:
    """Where the sensors sit, by the names of their frames."""
    mounts = {camera_name(number): calibration.T_base_camera(number) for number in cameras}
    return {**mounts, topics.LIDAR_FRAME: calibration.T_base_lidar}


def camera_name(number: int) -> str:
    """The name of a camera's frame and topics, as raw drives have it."""
    return f"image_{number:02d}"


class RawDrive:
    """A drive, such as ``2011_09_26_drive_0009_sync``.

    Args:
        folder: of the drive, with the calibration in it or beside it.
        labels: a file of the tracking benchmark with the labels of these frames; by default the drive's tracklets.
        grey: take the grey cameras as well.

    Raises:
        ConfigurationError: calibration or stamps cannot be used, or there is no such file of labels.
    """

    def __init__(self, folder: Path, labels: Path | None = None, grey: bool = False) -> None:
        self.faults = FaultLog()
        self.name, self.place = folder.resolve().name, folder
        try:
            self._calibration, told = raw_calibration(folder)
            if LABELLED_CAMERA not in self._calibration.projections:
                raise InputRejected("calibration", "calib_cam_to_cam.txt: P_rect_02 is missing; download it again")
        except InputRejected as error:
            raise ConfigurationError(f"{folder}: {error}; the calibration of its day belongs beside it") from None
        if told:
            self.faults.note(str(folder), "calibration", f"{told}; the mounting plan's numbers serve instead")
        wanted = CAMERAS if grey else COLOUR
        there = [name for name in wanted if (folder / name / "data").is_dir()]
        numbers = sorted(int(name[-2:]) for name in there)
        self.cameras = tuple(number for number in numbers if number in self._calibration.projections)
        for number in sorted(set(numbers) - set(self.cameras)):
            text = f"calib_cam_to_cam.txt: P_rect_{number:02d} is missing; download it again; the camera is left out"
            self.faults.add(str(folder / camera_name(number)), "calibration", text)
        self.mounts = mounts_of(self._calibration, self.cameras)
        self._stamps = self._read_stamps()
        self.count = len(self._stamps)
        self._states: dict[int, VehicleState] = {}
        self._poses = self._read_poses()
        self._labels, self._labels_path = self._open_labels(labels)
        self.labelled = self._labels is not None
        self.objects = lru_cache(maxsize=4)(self._objects)

    def stamp(self, frame: int) -> int:
        """The left colour camera's."""
        return int(self._stamps[frame])

    def token(self, frame: int) -> str:
        """The frame's number as its files have it."""
        return f"{frame:010d}"

    def calibration(self, frame: int) -> KittiCalibration:
        """The day's."""
        return self._calibration

    def image_path(self, frame: int, camera: int) -> Path:
        """The camera's."""
        return _image(self.place / camera_name(camera) / "data" / f"{frame:010d}")

    def points_path(self, frame: int) -> Path | None:
        """The LiDAR's."""
        return self.place / POINTS / "data" / f"{frame:010d}.bin" if (self.place / POINTS).is_dir() else None

    def labels_path(self, frame: int) -> Path:
        """The one file of all frames."""
        return self._labels_path

    def pose(self, frame: int) -> Matrix | None:
        """From GPS and inertial unit, relative to where the drive begins; x points east."""
        return self._poses.get(frame)

    def state(self, frame: int) -> VehicleState | None:
        """As it was read."""
        return self._states.get(frame)

    def velocities(self, frame: int) -> NDArray[np.float64]:
        """From the tracks."""
        return velocities(frame, self.objects, self._poses, self._stamps)

    def _objects(self, frame: int) -> FrameObjects | None:
        return self._labels.read(frame) if self._labels and 0 <= frame < self.count else None

    def _read_stamps(self) -> NDArray[np.int64]:
        """Those of the first sensor that has any; KITTI's sensors are triggered together."""
        failure = InputRejected("stamps", "no sensor has a timestamps.txt")
        for sensor in (*CAMERAS, POINTS, "oxts"):
            try:
                stamps = read_stamps(self.place / sensor / "timestamps.txt")
            except InputRejected as error:
                failure = error if (self.place / sensor).is_dir() else failure
                continue
            if sensor != CAMERAS[0]:
                text = f"the stamps of {sensor} serve instead"
                self.faults.note(str(self.place / CAMERAS[0] / "timestamps.txt"), "stamps", text)
            highest = np.maximum.accumulate(stamps)
            late = np.r_[True, stamps[1:] > highest[:-1]]
            if not late.all():
                text = f"{(~late).sum()} lines are no stamps, or do not rise; their frames are left out"
                self.faults.add(str(self.place / sensor / "timestamps.txt"), "stamps", text)
            self._tell_beyond(len(stamps))
            return np.where(late, stamps, -1)
        raise ConfigurationError(f"{self.place}: {failure}; without stamps a drive cannot be used")

    def _tell_beyond(self, count: int) -> None:
        for sensor in (*CAMERAS, POINTS):
            beyond = [path for path in _numbered(self.place / sensor / "data") if int(path.stem) >= count]
            if beyond:
                text = f"{len(beyond)} files, first {beyond[0].name}, have no stamp and are left out"
                self.faults.add(str(self.place / sensor), "stamps", text)

    def _read_poses(self) -> dict[int, Matrix]:
        folder = self.place / "oxts"
        if not folder.is_dir():
            self.faults.add(str(folder), "missing_file", "there are no poses of the vehicle; the bag has no odometry")
            return {}
        try:
            stamps = read_stamps(folder / "timestamps.txt")
        except InputRejected as error:
            self.faults.note(str(folder), "stamps", f"{error}; the frames' stamps serve instead")
            stamps = self._stamps
        known: dict[int, tuple[int, Matrix]] = {}
        for frame in range(min(self.count, len(stamps))):
            if stamps[frame] < 0:
                continue
            try:
                self._states[frame] = state = read_oxts(folder / "data" / f"{frame:010d}.txt")
            except InputRejected as error:
                text = f"{error}; the readings around it serve"
                self.faults.add(str(folder / "data" / f"{frame:010d}.txt"), error.reason, text)
                continue
            first = next(iter(self._states.values()))
            known[frame] = int(stamps[frame]), state.pose(first.latitude) @ self._calibration.T_imu_base
        return self._interpolated(list(known.values()))

    def _interpolated(self, known: list[tuple[int, Matrix]]) -> dict[int, Matrix]:
        """The poses at the frames' stamps; the first and last motion go on beyond the ends."""
        times = np.array([stamp for stamp, _ in known], np.int64)
        if len(known) < 2 or (np.diff(times) <= 0).any():
            text = "fewer than two poses of the vehicle, or their stamps do not rise; the bag has no odometry"
            self.faults.add(str(self.place / "oxts"), "oxts", text)
            return {}
        poses = {}
        for frame, stamp in enumerate(self._stamps):
            if stamp >= 0:
                after = int(np.clip(np.searchsorted(times, stamp), 1, len(times) - 1))
                fraction = (stamp - times[after - 1]) / (times[after] - times[after - 1])
                poses[frame] = rigid.interpolate(known[after - 1][1], known[after][1], float(fraction))
        start = next(iter(poses.values()))[:3, 3].copy()
        for pose in poses.values():
            pose[:3, 3] -= start
        return poses

    def _open_labels(self, path: Path | None) -> tuple[FrameLabels | None, Path]:
        try:
            if path is not None:
                found = TrackingLabels(path, self.faults)
                if found.last + 1 < self.count:
                    text = f"labels end with frame {found.last}, the drive with {self.count - 1}; what follows has none"
                    self.faults.note(str(path), "unlabelled", text)
                return found, path
            path = self.place / TRACKLETS
            if path.is_file():
                return Tracklets(path, self._calibration.T_base_lidar, self.faults), path
        except InputRejected as error:
            raise ConfigurationError(f"{path}: {error}") from None
        text = "the drive has no tracklets; without --labels the bag has no ground truth"
        self.faults.note(str(path), "missing_file", text)
        return None, path


class ObjectSplit:
    """Single frames of the object benchmark: the folder ``training`` or ``testing``.

    They have nothing to do with each other, so stamps are made up, a minute apart by the frames' numbers, each has an
    ``odom`` of its own, and calibrations differ from frame to frame.
    """

    def __init__(self, folder: Path) -> None:
        self.faults = FaultLog()
        self.name, self.place = folder.resolve().name, folder
        self.mounts: dict[str, Matrix] = {}
        sensors = {2: "image_2", 3: "image_3"}
        self.cameras = tuple(number for number, name in sensors.items() if (folder / name).is_dir())
        places = [folder / name for name in (*sensors.values(), "velodyne", "label_2")]
        self._numbers = sorted({int(path.stem) for each in places for path in _numbered(each)})
        if not self._numbers:
            raise ConfigurationError(f"{folder}: there is no frame in it, such as image_2/000000.png")
        self.count = len(self._numbers)
        self.labelled = (folder / "label_2").is_dir()
        self._labels = ObjectLabels(folder / "label_2", self.faults)
        self.calibration = lru_cache(maxsize=4)(self._calibration)
        self.objects = lru_cache(maxsize=4)(self._objects)
        text = "these are single frames: their stamps are made up, and one minute of them is nothing that was measured"
        self.faults.note(str(folder), "stamps", text)

    def stamp(self, frame: int) -> int:
        """Made up."""
        return FIRST_STAMP + self._numbers[frame] * BETWEEN_FRAMES

    def token(self, frame: int) -> str:
        """The frame's number as its files have it."""
        return f"{self._numbers[frame]:06d}"

    def image_path(self, frame: int, camera: int) -> Path:
        """The camera's."""
        return _image(self.place / f"image_{camera}" / self.token(frame))

    def points_path(self, frame: int) -> Path | None:
        """The LiDAR's."""
        folder = self.place / "velodyne"
        return folder / f"{self.token(frame)}.bin" if folder.is_dir() else None

    def labels_path(self, frame: int) -> Path:
        """The frame's."""
        return self._labels.path(self._numbers[frame])

    def pose(self, frame: int) -> Matrix | None:
        """Nowhere in particular."""
        return np.eye(4)

    def state(self, frame: int) -> VehicleState | None:
        """Nothing is known."""
        return None

    def velocities(self, frame: int) -> NDArray[np.float64]:
        """Nothing is known."""
        objects = self.objects(frame)
        return np.full((len(objects.types) if objects else 0, 2), np.nan)

    def _calibration(self, frame: int) -> KittiCalibration:
        return object_calibration(self.place / "calib" / f"{self.token(frame)}.txt")

    def _objects(self, frame: int) -> FrameObjects | None:
        return self._labels.read(self._numbers[frame]) if self.labelled else None


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.*") if re.fullmatch(r"\d+", path.stem)) if folder.is_dir() else []


def _image(stem: Path) -> Path:
    """KITTI's images are PNGs; many keep them as JPEGs."""
    usual = stem.with_suffix(".png")
    others = (stem.with_suffix(suffix) for suffix in (".png", ".jpg", ".jpeg"))
    return next((path for path in others if path.is_file()), usual)

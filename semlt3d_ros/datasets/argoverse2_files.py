"""The files of one log of Argoverse 2's sensor data set (Wilson et al., NeurIPS 2021), as they are.

Poses, calibration, sweeps and annotations are Feather tables; ``egovehicle`` is their frame of the vehicle.
``docs/argoverse2.md`` tells what is known of frames and stamps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.argoverse2_folder import POSES
from semlt3d_ros.datasets.pickles import read_file

_QUATERNION, _PLACE = ("qx", "qy", "qz", "qw"), ("tx_m", "ty_m", "tz_m")
_FARTHEST_M = 1e9
_INTENSITY = 255.0


def read_feather(
    path: Path, numbers: Sequence[str], words: Sequence[str] = (), whole: Sequence[str] = ()
) -> dict[str, NDArray]:
    """Columns of a Feather file.

    Args:
        path: the file.
        numbers: columns of numbers; the table may have more.
        words: columns of strings.
        whole: columns of whole numbers, such as stamps in nanoseconds, which float64 cannot hold.

    Returns:
        Column name -> (N,) array: float64 for ``numbers``, NaN where one is missing; int64 for ``whole``; objects for
        ``words``, "" where one is missing.

    Raises:
        InputRejected: ``missing_file``, ``damaged_file``; ``columns``: it lacks one, or one holds something else.
        ConfigurationError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.feather
    except ImportError:
        raise ConfigurationError(
            f"{path}: pyarrow is needed to read it; run: pip install 'semlt3d_ros[datasets]'"
        ) from None
    content = pyarrow.BufferReader(read_file(path))
    try:
        table = pyarrow.feather.read_table(content, memory_map=False)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputRejected("damaged_file", f"no Feather table ({error}); download it again") from None
    columns: dict[str, NDArray] = {}
    for name in (*numbers, *words, *whole):
        if name not in table.column_names:
            raise InputRejected("columns", f"no column '{name}'; is this a file of Argoverse 2's sensor data set?")
        column = table.column(name)
        try:
            if name in words:
                columns[name] = np.array([each or "" for each in column.cast(pyarrow.string()).to_pylist()], object)
            elif name in whole:
                columns[name] = column.cast(pyarrow.int64()).to_numpy().astype(np.int64)
            else:
                columns[name] = column.cast(pyarrow.float64()).to_numpy().astype(np.float64)
        except (pyarrow.ArrowException, ValueError, TypeError) as error:
            raise InputRejected("columns", f"column '{name}' does not hold what it should ({error})") from None
    return columns


@dataclass(frozen=True)
class Annotations:
    """The boxes of one log.

    Attributes:
        stamps: (N,) int64 nanoseconds, of the sweep that each box belongs to.
        boxes: N boxes in ``egovehicle`` at that stamp; velocities unknown.
        categories, tracks: N names each.
        points: (N,) int64 LiDAR points inside, as the data set counts them.
    """

    stamps: NDArray[np.int64]
    boxes: Boxes3D
    categories: NDArray[np.object_]
    tracks: NDArray[np.object_]
    points: NDArray[np.int64]


@dataclass(frozen=True)
class Sweep:
    """Both LiDARs' points of one turn, in ``egovehicle`` at the sweep's stamp, motion compensated by the data set.

    Attributes:
        xyz: (P, 3) float32 metres.
        intensity: (P,) float32 in [0, 1].
        offsets: (P,) float32 seconds after the sweep's stamp.
        rings: (P,) uint16; the upper LiDAR's lasers are 0 to 31, the lower one's 32 to 63.
        odd: how many rows make no point and were left out.
    """

    xyz: NDArray[np.float32]
    intensity: NDArray[np.float32]
    offsets: NDArray[np.float32]
    rings: NDArray[np.uint16]
    odd: int


class Argoverse2Log:
    """One log: poses, calibration and annotations; what they lack is in ``faults``.

    Args:
        folder: of the log.
        cameras: the cameras to be used.

    Attributes:
        sweeps: stamps of the sweeps, ascending.
        images: camera -> stamps of its images, ascending; cameras that cannot be used are not there.
        mounts: camera -> (4, 4) ``egovehicle`` <- its optical frame.
        annotations: None where the log has none, as those of the test split.
        faults: what is missing or damaged.

    Raises:
        ConfigurationError: the poses cannot be used, or pyarrow is not installed.
    """

    def __init__(self, folder: Path, cameras: Sequence[str]) -> None:
        self.folder = folder
        self.faults = FaultLog()
        self._read_poses()
        self.sweeps = self._stamps_of(folder / "sensors" / "lidar", "feather")
        self.images: dict[str, NDArray[np.int64]] = {}
        self.mounts: dict[str, Matrix] = {}
        self._models: dict[str, CameraModel] = {}
        self._read_calibration(cameras)
        self.annotations = self._read_annotations()

    def pose(self, stamp: int) -> Matrix:
        """(4, 4) city <- ``egovehicle``. Every sensor's stamp has its own pose; between them it is interpolated."""
        after = int(np.clip(np.searchsorted(self._pose_stamps, stamp), 1, len(self._poses) - 1))
        if self._pose_stamps[after] == stamp:
            return self._poses[after]
        before, behind = self._pose_stamps[after - 1], self._pose_stamps[after]
        return rigid.interpolate(
            self._poses[after - 1], self._poses[after], float((stamp - before) / (behind - before))
        )

    def model(self, camera: str) -> CameraModel:
        """Intrinsics: a pinhole, since Argoverse's images are undistorted already, whatever their k1, k2 and k3 say."""
        return self._models[camera]

    def image_path(self, camera: str, stamp: int) -> Path:
        """Where an image is."""
        return self.folder / "sensors" / "cameras" / camera / f"{stamp}.jpg"

    def sweep_path(self, stamp: int) -> Path:
        """Where a sweep is."""
        return self.folder / "sensors" / "lidar" / f"{stamp}.feather"

    @property
    def annotations_path(self) -> Path:
        """Where the boxes are."""
        return self.folder / "annotations.feather"

    def sweep(self, stamp: int) -> Sweep:
        """A sweep.

        Raises:
            InputRejected: the file is missing or damaged, or makes no point.
        """
        columns = read_feather(self.sweep_path(stamp), ("x", "y", "z", "intensity", "laser_number", "offset_ns"))
        xyz = np.stack([columns[axis] for axis in "xyz"], axis=1)
        values = np.c_[xyz, columns["intensity"], columns["laser_number"], columns["offset_ns"]]
        good = np.isfinite(values).all(axis=1) & (np.abs(xyz) < _FARTHEST_M).all(axis=1)
        if not good.any():
            raise InputRejected("points", f"none of its {len(good)} rows is a point")
        return Sweep(
            xyz[good].astype(np.float32),
            np.clip(columns["intensity"][good] / _INTENSITY, 0.0, 1.0).astype(np.float32),
            (columns["offset_ns"][good] * 1e-9).astype(np.float32),
            np.clip(columns["laser_number"][good], 0, 65535).astype(np.uint16),
            int((~good).sum()),
        )

    def _read_poses(self) -> None:
        path = self.folder / POSES
        try:
            columns = read_feather(path, (*_QUATERNION, *_PLACE), whole=("timestamp_ns",))
        except InputRejected as error:
            raise ConfigurationError(f"{path}: {error}") from None
        stamps, poses, good = columns["timestamp_ns"], *_poses(columns)
        good &= stamps >= 0
        order = np.flatnonzero(good)[np.argsort(stamps[good], kind="stable")]
        kept = order[np.r_[True, np.diff(stamps[order]) > 0]] if len(order) else order
        if len(kept) < 2:
            raise ConfigurationError(f"{path}: fewer than two poses can be used; download it again")
        if not good.all():
            text = f"{(~good).sum()} poses cannot be used; those around them serve"
            self.faults.note(str(path), "poses", text)
        self._pose_stamps, self._poses = stamps[kept], [poses[row] for row in kept]

    def _read_calibration(self, cameras: Sequence[str]) -> None:
        folder = self.folder / "calibration"
        numbers = ("fx_px", "fy_px", "cx_px", "cy_px", "height_px", "width_px")
        try:
            inner = read_feather(folder / "intrinsics.feather", numbers, words=("sensor_name",))
            outer = read_feather(
                folder / "egovehicle_SE3_sensor.feather", (*_QUATERNION, *_PLACE), words=("sensor_name",)
            )
        except InputRejected as error:
            self.faults.add(str(folder), error.reason, f"{error}; without it there are no images")
            return
        matrices, good = _poses(outer)
        place = {name: row for row, name in enumerate(outer["sensor_name"]) if good[row]}
        rows = {name: row for row, name in enumerate(inner["sensor_name"])}
        for name in cameras:
            images = self.folder / "sensors" / "cameras" / name
            try:
                if name not in rows or name not in place:
                    raise InputRejected("calibration", "it has no intrinsics or no place on the vehicle")
                fx, fy, cx, cy, height, width = (inner[key][rows[name]] for key in numbers)
                size = int(np.nan_to_num(width)), int(np.nan_to_num(height))
                model = CameraModel.from_numbers(*size, fx, fy, cx, cy)
                stamps = self._stamps_of(images, "jpg")
                if not len(stamps):
                    raise InputRejected("missing_file", "there is no image of it")
            except InputRejected as error:
                self.faults.add(str(images), error.reason, f"{error}; the camera is left out")
                continue
            self._models[name], self.mounts[name], self.images[name] = model, matrices[place[name]], stamps

    def _read_annotations(self) -> Annotations | None:
        path = self.annotations_path
        if not path.is_file():
            return None
        sizes = ("length_m", "width_m", "height_m")
        try:
            columns = read_feather(
                path, (*sizes, *_QUATERNION, *_PLACE), ("track_uuid", "category"), whole=("timestamp_ns",)
            )
            counted = _counts(path, len(columns["timestamp_ns"]))
        except InputRejected as error:
            self.faults.add(str(path), error.reason, f"{error}; the log has no ground truth")
            return None
        matrices, good = _poses(columns)
        boxes = Boxes3D.from_poses(matrices, np.stack([columns[name] for name in sizes], axis=1))
        good &= boxes.physical() & (boxes.sizes > 0).all(axis=1)
        if not good.all():
            text = f"rows whose place or size make no box are left out, first row {np.flatnonzero(~good)[0]}"
            self.faults.add(str(path), "box", text, int((~good).sum()))
        names = columns["category"][good], columns["track_uuid"][good]
        return Annotations(columns["timestamp_ns"][good], boxes[good], *names, counted[good])

    def _stamps_of(self, folder: Path, suffix: str) -> NDArray[np.int64]:
        named = (path.stem for path in folder.glob(f"*.{suffix}")) if folder.is_dir() else ()
        return np.array(sorted(int(stem) for stem in named if re.fullmatch(r"\d{1,18}", stem)), np.int64)


def _poses(columns: dict[str, NDArray]) -> tuple[list[Matrix], NDArray[np.bool_]]:
    """Transforms of quaternions and places, and which of them are any."""
    turns = np.stack([columns[name] for name in _QUATERNION], axis=1)
    places = np.stack([columns[name] for name in _PLACE], axis=1)
    with np.errstate(invalid="ignore"):
        good = np.isfinite(turns).all(axis=1) & (np.linalg.norm(turns, axis=1) > 1e-6)
        good &= (np.abs(places) < _FARTHEST_M).all(axis=1)
    return [
        rigid.transform(place, turn) if fine else np.eye(4)
        for place, turn, fine in zip(places, turns, good, strict=True)
    ], good


def _counts(path: Path, count: int) -> NDArray[np.int64]:
    """LiDAR points of each box; -1 where the file does not say."""
    try:
        points = read_feather(path, ("num_interior_pts",))["num_interior_pts"]
    except InputRejected:
        return np.full(count, -1, np.int64)
    return np.where(np.isfinite(points), points, -1).astype(np.int64)

"""The files of one PandaSet sequence, as they are: world-frame points and cuboids, poses, images.

PandaSet (Xiao et al., ITSC 2021): six cameras, a spinning Pandar64 and a forward PandarGT at 10 Hz. Points and cuboids
are given in a world frame; ``poses.json`` holds world <- sensor. ``docs/pandaset.md`` tells what was found out about
the frames.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.rigid import Matrix, transform
from semlt3d_ros.datasets.pandaset_folder import require_sequence
from semlt3d_ros.datasets.pickles import read_file, read_table
from semlt3d_ros.messages.decode_images import compressed_image_size, decode_compressed_image

CAMERAS: tuple[str, ...] = (
    "front_camera",
    "front_right_camera",
    "right_camera",
    "back_camera",
    "left_camera",
    "front_left_camera",
)
"""Clockwise from the front, as the default rig."""

_SPINNING_LIDAR = 0
_FRONT_LIDAR = 1
_FARTHEST_M = 1e9
_LATEST_S = 2**31
"""Where the seconds of ROS stamps end."""
_LONGEST_S = 10.0
"""A sweep or a set of images takes less."""
_MICROSECOND = 1_000  # nanoseconds; PandaSet's stamps are decimal seconds with six digits


@dataclass(frozen=True)
class SensorTrack:
    """Stamps (N,) int64 in nanoseconds of a sensor's N frames, its N poses, world <- sensor, and which of them hold."""

    stamps: NDArray[np.int64]
    poses: list[Matrix]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class WorldPoints:
    """A sweep of the spinning LiDAR in the world frame.

    Attributes:
        xyz: (N, 3) float64 metres, motion compensated by the data set.
        intensity: (N,) float32 in [0, 1].
        stamps: (N,) int64 nanoseconds, when each point was measured.
        odd: rows of the file that make no point and were left out.
        rows: (N,) rows of the file that the points are of.
        file_rows: how many it has.
    """

    xyz: NDArray[np.float64]
    intensity: NDArray[np.float32]
    stamps: NDArray[np.int64]
    odd: NDArray[np.int64]
    rows: NDArray[np.int64]
    file_rows: int


@dataclass(frozen=True)
class Cuboids:
    """Annotations of one frame, without the front LiDAR's second boxes of the same objects.

    Attributes:
        boxes: N boxes in the world frame; velocities unknown.
        labels: N PandaSet labels, such as ``"Pedestrian with Object"``.
        ages: N of ``"Adult"``, ``"Child"`` or ``""``.
        stationary: (N,) booleans: does not move in the whole sequence.
        track_ids: N identifiers that an object keeps.
        duplicates: how many boxes of the front LiDAR were left out.
        odd: what is wrong with rows of the file that make no box and were left out, by row.
    """

    boxes: Boxes3D
    labels: tuple[str, ...]
    ages: tuple[str, ...]
    stationary: NDArray[np.bool_]
    track_ids: tuple[str, ...]
    duplicates: int
    odd: dict[int, str]


class PandaSetSequence:
    """One sequence folder (``camera/``, ``lidar/``, ``annotations/cuboids/``).

    Args:
        folder: such as ``pandaset/002``.

    Attributes:
        lidar: stamps at the end of each sweep, and poses of the vehicle's own frame (not of the LiDAR).
        cameras: camera name -> stamps and poses of its optical frame, in the order of ``CAMERAS``, without those whose
            files cannot be used.
        faults: by file, what is missing, damaged, or disagrees with the others.

    Raises:
        ConfigurationError: it is none, or the vehicle's own poses cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults = FaultLog()
        require_sequence(folder)
        try:
            self.lidar = self._read_track(folder / "lidar")
        except InputRejected as error:
            raise ConfigurationError(f"{folder / 'lidar'}: {error}") from None
        self.cameras: dict[str, SensorTrack] = {}
        self._intrinsics: dict[str, NDArray[np.float64]] = {}
        for name in CAMERAS:
            try:
                track = self._read_track(folder / "camera" / name)
                if len(track.poses) != len(self):
                    raise InputRejected("camera", f"poses.json: {len(track.poses)} poses, the LiDAR has {len(self)}")
                apart = np.abs(track.stamps - self.lidar.stamps).max() * 1e-9
                if apart > _LONGEST_S:
                    raise InputRejected("stamps", f"timestamps.json: {apart:.1f} s from the LiDAR's stamps")
                self._intrinsics[name] = _read_intrinsics(self.intrinsics_path(name))
            except InputRejected as error:
                text = f"{error}; the camera is left out"
                self.faults.add(str(folder / "camera" / name), error.reason, text)
            else:
                self.cameras[name] = track

    def __len__(self) -> int:
        return len(self.lidar.poses)

    def image(self, camera: str, frame: int) -> tuple[bytes, CameraModel]:
        """A camera's image file and its intrinsics: a pinhole, since PandaSet's images are rectified already.

        Raises:
            InputRejected: the image is missing, or one that this package's reader refuses.
        """
        content = read_file(self.image_path(camera, frame))
        message = _Compressed(content, camera)
        width, height = compressed_image_size(message)
        decode_compressed_image(message, at_least=(1, 1))  # to its last byte, at the least cost
        return content, CameraModel(width, height, self._intrinsics[camera])

    def points(self, frame: int) -> WorldPoints:
        """The spinning LiDAR's sweep.

        Raises:
            InputRejected: the file is missing, damaged or refused, or makes no point.
        """
        columns = read_table(self.points_path(frame), ("x", "y", "z", "i", "t", "d"))
        values = np.stack([columns[name] for name in ("x", "y", "z", "i", "t")], axis=1)
        spinning = columns["d"] == _SPINNING_LIDAR
        with np.errstate(invalid="ignore", over="ignore"):
            good = np.isfinite(values).all(axis=1) & (np.abs(values[:, :3]) < _FARTHEST_M).all(axis=1)
            good &= np.abs(values[:, 4] - self.lidar.stamps[frame] * 1e-9) < _LONGEST_S
        if not (spinning & good).any():
            text = f"none of its {len(good)} rows is a point of the spinning LiDAR"
            raise InputRejected("points", f"{text}: d 0, all finite, t within {_LONGEST_S:g} s of the frame's stamp")
        kept = spinning & good
        intensity = np.clip(columns["i"][kept] / 255.0, 0.0, 1.0).astype(np.float32)
        stamps, odd = _nanoseconds(columns["t"][kept]), np.flatnonzero(~good)
        return WorldPoints(values[kept, :3], intensity, stamps, odd, np.flatnonzero(kept), len(kept))

    def cuboids(self, frame: int) -> Cuboids:
        """The frame's annotations.

        Raises:
            InputRejected: the file is missing, damaged or refused.
        """
        numbers = [f"{group}.{axis}" for group in ("position", "dimensions") for axis in "xyz"]
        columns = read_table(
            self.cuboids_path(frame),
            (*numbers, "yaw", "stationary", "cuboids.sensor_id"),
            ("uuid", "label", "attributes.pedestrian_age"),
        )
        odd = _odd_boxes(columns)
        rows = np.arange(len(columns["yaw"]))
        second = columns["cuboids.sensor_id"] == _FRONT_LIDAR
        kept = ~second & ~np.isin(rows, list(odd))
        columns = {name: column[kept] for name, column in columns.items()}
        center = np.stack([columns[f"position.{axis}"] for axis in "xyz"], axis=1)
        width, length, height = (columns[f"dimensions.{axis}"] for axis in "xyz")
        # PandaSet's yaw is 0 where the length lies along +y of the world.
        yaw = columns["yaw"] + np.pi / 2
        return Cuboids(
            Boxes3D(center, np.stack([length, width, height], axis=1), yaw, np.full((len(center), 2), np.nan)),
            tuple(map(str, columns["label"])),
            tuple(age if isinstance(age, str) else "" for age in columns["attributes.pedestrian_age"]),
            columns["stationary"] == 1,
            tuple(
                name if isinstance(name, str) and name else f"frame {frame} row {row}"
                for name, row in zip(columns["uuid"], rows[kept], strict=True)
            ),
            int((second & ~np.isin(rows, list(odd))).sum()),
            odd,
        )

    def intrinsics_path(self, camera: str) -> Path:
        """Where a camera's intrinsics are."""
        return self.folder / "camera" / camera / "intrinsics.json"

    def image_path(self, camera: str, frame: int) -> Path:
        """Where a camera's image is, or should be."""
        return _file(self.folder / "camera" / camera, frame, (".jpg", ".jpeg", ".png"))

    def points_path(self, frame: int) -> Path:
        """Where a sweep is, or should be."""
        return self.frame_file(self.folder / "lidar", frame)

    def cuboids_path(self, frame: int) -> Path:
        """Where a frame's annotations are, or should be."""
        return self.frame_file(self.folder / "annotations" / "cuboids", frame)

    @staticmethod
    def frame_file(folder: Path, frame: int) -> Path:
        """Where a frame's table is in a folder of them, or should be."""
        return _file(folder, frame, (".pkl.gz", ".pkl"))

    def _read_track(self, folder: Path) -> SensorTrack:
        seconds, entries = _read_json(folder / "timestamps.json"), _read_json(folder / "poses.json")
        try:
            stamps = np.array(seconds, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputRejected("stamps", f"timestamps.json: expected stamps ({error})") from None
        if not isinstance(entries, list) or stamps.ndim != 1 or len(stamps) != len(entries) or len(entries) < 2:
            counts = f"{len(entries) if isinstance(entries, list) else 'no'} poses and {stamps.size} stamps"
            raise InputRejected("poses", f"poses.json: {counts}; expected positions and headings, as many as stamps")
        if not np.isfinite(stamps).all() or (np.diff(stamps) <= 0).any():
            raise InputRejected("stamps", "timestamps.json: stamps do not rise, or are not finite")
        if stamps[0] < 0 or stamps[-1] >= _LATEST_S:
            text = f"timestamps.json: {stamps[0]:g} to {stamps[-1]:g} are no seconds since 1970"
            raise InputRejected("stamps", text)
        poses, odd = [], {}
        for frame, entry in enumerate(entries):
            try:
                poses.append(_pose(entry))
            except (TypeError, KeyError, ValueError) as error:
                poses.append(np.eye(4))
                odd[frame] = str(error)
        if len(odd) > len(poses) - 2:
            what = f"expected positions and headings ({next(iter(odd.values()))})"
            raise InputRejected("poses", f"poses.json: {what}; fewer than two can be used")
        if odd:
            frame, what = next(iter(odd.items()))
            text = f"{len(odd)} poses cannot be used, first that of frame {frame} ({what}); those around it serve"
            self.faults.note(str(folder / "poses.json"), "poses", text)
        return SensorTrack(_nanoseconds(stamps), poses, np.array([frame not in odd for frame in range(len(poses))]))


class _Compressed:
    """The parts of a ``CompressedImage`` that its decoder looks at."""

    format = ""

    def __init__(self, content: bytes, frame_id: str) -> None:
        self.data = np.frombuffer(content, np.uint8)
        self.header = SimpleNamespace(frame_id=frame_id)


def _file(folder: Path, frame: int, suffixes: tuple[str, ...]) -> Path:
    """The file of a frame, whatever its compression or format is called; the usual name where there is none."""
    usual = [folder / f"{frame:02d}{suffix}" for suffix in suffixes]
    others = sorted(path for path in folder.glob(f"{frame:02d}.*") if path.suffix != ".json")
    return next((path for path in (*usual, *others) if path.is_file()), usual[0])


def _odd_boxes(columns: dict[str, NDArray]) -> dict[int, str]:
    """What is wrong with the rows that make no box."""
    position = np.stack([columns[f"position.{axis}"] for axis in "xyz"], axis=1)
    size = np.stack([columns[f"dimensions.{axis}"] for axis in "xyz"], axis=1)
    good = Boxes3D(position, size, columns["yaw"], np.zeros((len(size), 2))).physical() & (size > 0).all(axis=1)
    return {
        int(row): f"position {position[row].round(3).tolist()}, dimensions {size[row].round(3).tolist()}, yaw "
        f"{columns['yaw'][row]:.3f}"
        for row in np.flatnonzero(~good)
    }


def _read_intrinsics(path: Path) -> NDArray[np.float64]:
    values = _read_json(path)
    try:
        K = np.array(
            [[values["fx"], 0.0, values["cx"]], [0.0, values["fy"], values["cy"]], [0.0, 0.0, 1.0]], np.float64
        )
        CameraModel(1, 1, K)
    except (TypeError, KeyError, ValueError, InputRejected) as error:
        text = f"{path.name}: expected numbers fx, fy, cx and cy ({error}); download it again"
        raise InputRejected("intrinsics", text) from None
    return K


def _pose(entry: dict[str, dict[str, float]]) -> Matrix:
    position, heading = entry["position"], entry["heading"]
    pose = transform([position[axis] for axis in "xyz"], [heading[axis] for axis in "xyzw"])
    if not (np.abs(pose[:3, 3]) < _FARTHEST_M).all():
        raise ValueError(f"position {position} is not finite, or farther than {_FARTHEST_M:g} m")
    return pose


def _nanoseconds(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(seconds * 1e6).astype(np.int64) * _MICROSECOND


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_file(path))
    except InputRejected as error:
        raise InputRejected(error.reason, f"{path.name}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputRejected("damaged_file", f"{path.name}: not JSON ({error}); download it again") from None

"""The files of one PandaSet sequence, as they are: world-frame points and cuboids, poses, images.

PandaSet (Xiao et al., ITSC 2021): six cameras, a spinning Pandar64 and a forward PandarGT at 10 Hz. Points and cuboids
are given in a world frame; ``poses.json`` holds world <- sensor. ``docs/pandaset.md`` tells what was found out about
the frames.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.rigid import Matrix, transform
from semlt3d_ros.data.pickles import read_table

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
_MICROSECOND = 1_000  # nanoseconds; PandaSet's stamps are decimal seconds with six digits


@dataclass(frozen=True)
class SensorTrack:
    """Stamps (N,) int64 in nanoseconds of a sensor's N frames, and its N poses, world <- sensor."""

    stamps: NDArray[np.int64]
    poses: list[Matrix]


@dataclass(frozen=True)
class WorldPoints:
    """A sweep of the spinning LiDAR in the world frame.

    Attributes:
        xyz: (N, 3) float64 metres, motion compensated by the data set.
        intensity: (N,) float32 in [0, 1].
        stamps: (N,) int64 nanoseconds, when each point was measured.
    """

    xyz: NDArray[np.float64]
    intensity: NDArray[np.float32]
    stamps: NDArray[np.int64]


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
    """

    boxes: Boxes3D
    labels: tuple[str, ...]
    ages: tuple[str, ...]
    stationary: NDArray[np.bool_]
    track_ids: tuple[str, ...]
    duplicates: int


class PandaSetSequence:
    """One sequence folder (``camera/``, ``lidar/``, ``annotations/cuboids/``).

    Args:
        folder: such as ``pandaset/002``.

    Attributes:
        lidar: stamps at the end of each sweep, and poses of the vehicle's own frame (not of the LiDAR).
        cameras: camera name -> stamps and poses of its optical frame, in the order of ``CAMERAS``.

    Raises:
        ConfigurationError: a file is missing, damaged, or disagrees with the others about the number of frames.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "lidar").is_dir() or not (folder / "camera").is_dir():
            raise ConfigurationError(
                f"{folder}: not a PandaSet sequence; give the folder that holds camera/, lidar/ and annotations/"
            )
        self.lidar = _read_track(folder / "lidar")
        self.cameras = {name: _read_track(folder / "camera" / name) for name in CAMERAS}
        self._intrinsics = {name: _read_intrinsics(folder / "camera" / name / "intrinsics.json") for name in CAMERAS}
        for name, track in self.cameras.items():
            if len(track.poses) != len(self):
                raise ConfigurationError(
                    f"{folder / 'camera' / name / 'poses.json'}: {len(track.poses)} poses, the LiDAR has {len(self)}"
                )

    def __len__(self) -> int:
        return len(self.lidar.poses)

    def image(self, camera: str, frame: int) -> tuple[bytes, CameraModel]:
        """A camera's JPEG file and its intrinsics: a pinhole, since PandaSet's images are rectified already.

        Raises:
            ConfigurationError: the image is missing or not a JPEG.
        """
        path = self.folder / "camera" / camera / f"{frame:02d}.jpg"
        try:
            content = path.read_bytes()
            height, width, _, _ = simplejpeg.decode_jpeg_header(content)
        except OSError as error:
            raise _unreadable(path, error) from None
        except ValueError as error:
            raise ConfigurationError(f"{path}: not a JPEG image ({error}); download it again") from None
        return content, CameraModel(width, height, self._intrinsics[camera])

    def points(self, frame: int) -> WorldPoints:
        """The spinning LiDAR's sweep.

        Raises:
            ConfigurationError: the file is missing, damaged or refused.
        """
        columns = read_table(self.folder / "lidar" / f"{frame:02d}.pkl.gz", ("x", "y", "z", "i", "t", "d"))
        spinning = columns["d"] == _SPINNING_LIDAR
        xyz = np.stack([columns[axis][spinning] for axis in "xyz"], axis=1)
        intensity = np.clip(columns["i"][spinning] / 255.0, 0.0, 1.0).astype(np.float32)
        return WorldPoints(xyz, intensity, _nanoseconds(columns["t"][spinning]))

    def cuboids(self, frame: int) -> Cuboids:
        """The frame's annotations.

        Raises:
            ConfigurationError: the file is missing, damaged or refused.
        """
        numbers = [f"{group}.{axis}" for group in ("position", "dimensions") for axis in "xyz"]
        columns = read_table(
            self.folder / "annotations" / "cuboids" / f"{frame:02d}.pkl.gz",
            (*numbers, "yaw", "stationary", "cuboids.sensor_id"),
            ("uuid", "label", "attributes.pedestrian_age"),
        )
        kept = columns["cuboids.sensor_id"] != _FRONT_LIDAR
        columns = {name: column[kept] for name, column in columns.items()}
        center = np.stack([columns[f"position.{axis}"] for axis in "xyz"], axis=1)
        width, length, height = (columns[f"dimensions.{axis}"] for axis in "xyz")
        # PandaSet's yaw is 0 where the length lies along +y of the world.
        yaw = columns["yaw"] + np.pi / 2
        return Cuboids(
            Boxes3D(center, np.stack([length, width, height], axis=1), yaw, np.full((len(center), 2), np.nan)),
            tuple(map(str, columns["label"])),
            tuple(age if isinstance(age, str) else "" for age in columns["attributes.pedestrian_age"]),
            columns["stationary"].astype(bool),
            tuple(map(str, columns["uuid"])),
            int((~kept).sum()),
        )


def _read_intrinsics(path: Path) -> NDArray[np.float64]:
    values = _read_json(path)
    try:
        K = np.array(
            [[values["fx"], 0.0, values["cx"]], [0.0, values["fy"], values["cy"]], [0.0, 0.0, 1.0]], np.float64
        )
        CameraModel(1, 1, K)
    except (TypeError, KeyError, ValueError, InputRejected) as error:
        raise ConfigurationError(f"{path}: expected numbers fx, fy, cx and cy ({error}); download it again") from None
    return K


def _read_track(folder: Path) -> SensorTrack:
    stamps, poses = _read_json(folder / "timestamps.json"), _read_json(folder / "poses.json")
    try:
        track = SensorTrack(_nanoseconds(np.array(stamps, dtype=np.float64)), [_pose(entry) for entry in poses])
    except (TypeError, KeyError, ValueError) as error:
        raise ConfigurationError(
            f"{folder / 'poses.json'}: expected positions and headings, and stamps in timestamps.json ({error})"
        ) from None
    if len(track.stamps) != len(track.poses) or len(track.poses) < 2:
        raise ConfigurationError(
            f"{folder}: {len(track.poses)} poses and {len(track.stamps)} stamps; expected as many of both, at least two"
        )
    if (np.diff(track.stamps) <= 0).any():
        raise ConfigurationError(f"{folder / 'timestamps.json'}: stamps do not rise")
    return track


def _pose(entry: dict[str, dict[str, float]]) -> Matrix:
    position, heading = entry["position"], entry["heading"]
    pose = transform([position[axis] for axis in "xyz"], [heading[axis] for axis in "xyzw"])
    if not np.isfinite(pose).all():
        raise ValueError(f"position {position} is not finite")
    return pose


def _nanoseconds(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(seconds * 1e6).astype(np.int64) * _MICROSECOND


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: not JSON ({error}); download it again") from None


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path}: {error.strerror}; is the sequence folder complete?")

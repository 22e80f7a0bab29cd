"""nuScenes' tables as compact arrays: those of a full ``trainval`` are 3 GB of JSON and 5 million rows.

Each table is read once, row by row, and of each row only what bags need is kept, of the scenes that are wanted. Keys
(tokens) are held as 64-bit hashes; that two of a table have the same happens in one
of five million data sets.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.nuscenes_annotations import Annotations, read_annotations
from semlt3d_ros.datasets.nuscenes_folder import NuScenesFolder
from semlt3d_ros.datasets.nuscenes_reader import TableReader

MICROSECOND = 1_000  # nanoseconds
_BATCH = 100_000


@dataclass(frozen=True)
class Mount:
    """A sensor on the vehicle of a scene.

    Attributes:
        channel, modality: such as ``CAM_FRONT`` and ``camera``.
        T_ego_sensor: (4, 4).
        K: (3, 3), of a camera.
    """

    channel: str
    modality: str
    T_ego_sensor: Matrix
    K: NDArray[np.float64] | None


@dataclass
class Tables:
    """What bags need of a version's tables.

    Attributes:
        folder: where they are from.
        sample_tokens: keys of the samples of the scenes wanted, in the order of their times.
        sample_stamps: (S,) nanoseconds.
        sample_scenes: (S,) index of each one's scene in ``scene_names``.
        scene_names: the scenes wanted.
        mounts: sensors.
        data_samples, data_mounts: (D,) sample and mount of each file, in the order of scenes and times.
        data_stamps: (D,) nanoseconds.
        data_key: (D,) whether it belongs to a key frame.
        data_poses: (D, 7) the vehicle in the global frame: x, y, z, quaternion w, x, y, z; NaN where unknown.
        annotations: None where there is no ground truth.
        faults: rows that cannot be used.
    """

    folder: NuScenesFolder
    sample_tokens: list[str]
    sample_stamps: NDArray[np.int64]
    sample_scenes: NDArray[np.int32]
    scene_names: list[str]
    mounts: list[Mount]
    data_samples: NDArray[np.int32]
    data_mounts: NDArray[np.int32]
    data_stamps: NDArray[np.int64]
    data_key: NDArray[np.bool_]
    data_poses: NDArray[np.float64]
    annotations: Annotations | None
    faults: FaultLog
    _names: bytes = b""
    _name_ends: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def file_name(self, row: int) -> str:
        """Path of a file, relative to the data set's root."""
        return self._names[int(self._name_ends[row]) : int(self._name_ends[row + 1])].decode()

    def samples_of(self, scene: int) -> range:
        """The samples of a scene, in the order of their times."""
        return range(*map(int, np.searchsorted(self.sample_scenes, [scene, scene + 1])))

    def files_of(self, scene: int) -> range:
        """The files of a scene, in the order of their times."""
        return range(*map(int, np.searchsorted(self.sample_scenes[self.data_samples], [scene, scene + 1])))


def read_tables(
    folder: NuScenesFolder,
    scenes: Sequence[str],
    *,
    key_frames: bool = False,
    files: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tables:
    """Read the tables of a version.

    Args:
        folder: where they are.
        scenes: names of the scenes that are wanted.
        key_frames: keep only the files of key frames.
        files: False keeps those of the LiDAR's key frames alone, for their poses.
        progress: called with how many bytes were read, and how many there are.

    Raises:
        ConfigurationError: a table is missing or damaged.
    """
    small = ("sensor", "calibrated_sensor", "sample", "instance", "category", "attribute")
    reader = TableReader(folder, progress, (*small, "sample_data", "ego_pose", "sample_annotation"))
    samples, numbers = _read_samples(reader, {folder.scenes[name]: place for place, name in enumerate(scenes)})
    mounts, mount_of = _read_mounts(reader)
    if not files:
        mount_of = {token: place for token, place in mount_of.items() if mounts[place].modality == "lidar"}
    data = _FileTable(numbers, mount_of, key_frames or not files)
    reader.rows("sample_data", data.take)
    poses = _read_poses(reader, np.frombuffer(data.poses, np.int64))
    order = np.lexsort((np.frombuffer(data.stamps, np.int64), samples.scenes[np.frombuffer(data.samples, np.int32)]))
    ends = np.concatenate([[0], np.cumsum(np.frombuffer(data.lengths, np.int32), dtype=np.int64)])
    joined, name_ends = _reordered(data.names, ends, order)
    return Tables(
        folder,
        samples.tokens,
        samples.stamps,
        samples.scenes,
        list(scenes),
        mounts,
        np.frombuffer(data.samples, np.int32)[order],
        np.frombuffer(data.mounts, np.int32)[order],
        np.frombuffer(data.stamps, np.int64)[order] * MICROSECOND,
        np.frombuffer(data.key, np.int8)[order] == 1,
        poses[order],
        read_annotations(reader, numbers, samples.stamps),
        reader.faults,
        joined,
        name_ends,
    )


@dataclass
class _Samples:
    tokens: list[str]
    stamps: NDArray[np.int64]
    scenes: NDArray[np.int32]


def _read_samples(reader: TableReader, scenes: Mapping[str, int]) -> tuple[_Samples, dict[str, int]]:
    """The samples of the scenes wanted in the order of scene and time, and the place of each token."""
    found: list[tuple[int, int, str]] = []

    def take(row: dict[str, Any]) -> None:
        place = scenes.get(row["scene_token"])
        if place is not None:
            found.append((place, int(row["timestamp"]) * MICROSECOND, str(row["token"])))

    reader.rows("sample", take)
    found.sort()
    samples = _Samples(
        [token for _, _, token in found],
        np.array([stamp for _, stamp, _ in found], np.int64),
        np.array([place for place, _, _ in found], np.int32),
    )
    return samples, {token: place for place, token in enumerate(samples.tokens)}


def _read_mounts(reader: TableReader) -> tuple[list[Mount], dict[str, int]]:
    """Cameras and LiDARs, and which of them each token of the table is."""
    sensors: dict[str, tuple[str, str]] = {}
    mounts: list[Mount] = []
    mount_of: dict[str, int] = {}

    def take_sensor(row: dict[str, Any]) -> None:
        sensors[row["token"]] = str(row["channel"]), str(row["modality"])

    def take(row: dict[str, Any]) -> None:
        channel, modality = sensors[row["sensor_token"]]
        if modality not in ("camera", "lidar"):
            return
        w, x, y, z = row["rotation"]
        K = np.array(row["camera_intrinsic"], np.float64).reshape(3, 3) if modality == "camera" else None
        mount_of[row["token"]] = len(mounts)
        mounts.append(Mount(channel, modality, rigid.transform(row["translation"], [x, y, z, w]), K))

    reader.rows("sensor", take_sensor)
    reader.rows("calibrated_sensor", take)
    return mounts, mount_of


class _FileTable:
    """Columns of ``sample_data`` as it is read."""

    def __init__(self, samples: Mapping[str, int], mounts: Mapping[str, int], key_frames: bool) -> None:
        self._sample_of = samples
        self._mount_of = mounts
        self._key_frames = key_frames
        self.samples, self.mounts, self.lengths = array("i"), array("i"), array("i")
        self.stamps, self.poses = array("q"), array("q")
        self.key = array("b")
        self.names = bytearray()

    def take(self, row: dict[str, Any]) -> None:
        sample, mount = self._sample_of.get(row["sample_token"]), self._mount_of.get(row["calibrated_sensor_token"])
        key = bool(row["is_key_frame"])
        if sample is None or mount is None or (self._key_frames and not key):
            return
        stamp, pose, name = int(row["timestamp"]), hash(str(row["ego_pose_token"])), str(row["filename"]).encode()
        self.samples.append(sample)
        self.mounts.append(mount)
        self.stamps.append(stamp)
        self.poses.append(pose)
        self.key.append(key)
        self.lengths.append(len(name))
        self.names += name


def _reordered(names: bytearray, ends: NDArray[np.int64], order: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
    """Names one after the other, in another order, and where each begins and ends."""
    content = bytes(names)
    joined = b"".join(content[ends[row] : ends[row + 1]] for row in order)
    return joined, np.concatenate([[0], np.cumsum(np.diff(ends)[order])]).astype(np.int64)


def _read_poses(reader: TableReader, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """The pose (N, 7) of each key; NaN where the table does not have it."""
    keys, places = np.unique(wanted, return_inverse=True)
    poses = np.full((len(keys), 7), np.nan)
    batch_keys, batch = array("q"), array("d")

    def take(row: dict[str, Any]) -> None:
        values = array("d", (*row["translation"], *row["rotation"]))
        if len(values) != 7:
            raise ValueError(f"{len(values)} numbers make no pose")
        batch.extend(values)
        batch_keys.append(hash(str(row["token"])))
        if len(batch_keys) == _BATCH:
            place_batch()

    def place_batch() -> None:
        found = np.frombuffer(batch_keys.tobytes(), np.int64)
        rows = np.searchsorted(keys, found)
        known = rows < len(keys)
        known[known] = keys[rows[known]] == found[known]
        poses[rows[known]] = np.frombuffer(batch.tobytes(), np.float64).reshape(-1, 7)[known]
        del batch_keys[:], batch[:]

    reader.rows("ego_pose", take)
    place_batch()
    return poses[places]

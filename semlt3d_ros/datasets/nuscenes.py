"""A nuScenes scene as a bag with this package's topics (Caesar et al., CVPR 2020).

Frames, stamps and labels are explained in ``docs/nuscenes.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels, PointCloud, SampleInfo
from semlt3d_ros.core.plausibility import check_intrinsics
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.image_files import whole_image_size
from semlt3d_ros.datasets.importing import Scenes
from semlt3d_ros.datasets.nuscenes_folder import NuScenesFolder, in_rig_order
from semlt3d_ros.datasets.nuscenes_tables import Mount, Tables, read_tables
from semlt3d_ros.datasets.recording import ImportSummary, Instant, Progress, RecordingWriter, chosen_frames
from semlt3d_ros.messages import topics

DATA_SET = "nuScenes"
USUAL_LIDAR = "LIDAR_TOP"
_POINT_FIELDS = 5  # x, y, z, intensity, ring
_NAMED = 3


class MissingFiles:
    """Files that the tables name and the disk does not have: counted by folder, the first of each by name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._first: dict[str, list[str]] = {}

    def add(self, name: str, faults: FaultLog) -> None:
        """Count a file, named relative to the data set's root."""
        folder, _, file = name.rpartition("/")
        first = self._first.setdefault(folder, [])
        if len(first) < _NAMED:
            first.append(file)
        text = f"files are missing, first {', '.join(first)}; download the part of the data set that has them"
        faults.add(str(self._root / folder), "missing_file", text)


def open_nuscenes(
    folder: NuScenesFolder,
    scenes: Sequence[str],
    frames: slice | None = None,
    *,
    key_frames: bool = False,
    progress: Progress = lambda done, total: None,
) -> Scenes:
    """Scenes, ready to be written; the tables are read for all of them at once.

    Args:
        folder: from ``nuscenes_folder.open_folder``.
        scenes: names.
        frames: which samples of each; those of them that there are.
        key_frames: only what is annotated, not every image and sweep.
        progress: called with how much of the tables is read and how much there is.

    Raises:
        ConfigurationError: a table is missing or damaged.
    """
    tables = read_tables(folder, scenes, key_frames=key_frames, progress=progress)
    missing = MissingFiles(folder.root)
    return {name: partial(NuScenesRecording, tables, place, frames, missing) for place, name in enumerate(scenes)}


class NuScenesRecording:
    """A scene as a ``Recording``.

    Args:
        tables: of its version.
        scene: index of the scene in them.
        frames: which of its samples; None for all.
        missing: gets files that are not there.

    Raises:
        ConfigurationError: there are no such frames.
    """

    def __init__(self, tables: Tables, scene: int, frames: slice | None, missing: MissingFiles) -> None:
        self.name = tables.scene_names[scene]
        self.place = tables.folder.root
        self.faults = FaultLog(tables.faults)
        tables.faults.clear()  # told with the first scene
        self._tables = tables
        self._missing = missing
        samples = tables.samples_of(scene)
        chosen = chosen_frames(frames, len(samples), f"{self.place}: {self.name}", clip=True) if samples else ()
        self._samples = [samples[place] for place in chosen]
        self.frames = len(self._samples)
        self._rows = self._files_of(scene)
        self._cameras, self._lidar = self._sensors()
        self.mounts = {name: mount.T_ego_sensor for name, mount in self._cameras.items()}
        if self._lidar is not None:
            self.mounts[topics.LIDAR_FRAME] = self._lidar.T_ego_sensor
        self._anchors = self._anchor_rows()
        self._doubts: set[tuple[int, int, int]] = set()

    def instants(self) -> Iterator[Instant]:
        """Poses before what they place.

        Raises:
            ConfigurationError: no file of the scene is there.
        """
        if self._rows and not any(self._path(row).is_file() for row in self._rows):
            for row in self._rows:
                self._missing.add(self._tables.file_name(row), self.faults)
            text = "none of the files of the scene is there; download the part of the data set that has it"
            raise ConfigurationError(f"{self.place}: {text}")
        stamps: set[int] = set()
        for row in self._rows:
            stamp = int(self._tables.data_stamps[row])
            if stamp not in stamps:
                yield Instant(stamp, partial(RecordingWriter.pose, stamp=stamp, T_odom_base=self._pose(row)))
                stamps.add(stamp)
        yield from self._odometry()
        for row in self._rows:
            mount = self._tables.mounts[self._tables.data_mounts[row]]
            stamp = int(self._tables.data_stamps[row])
            if mount.channel in self._cameras:
                yield Instant(stamp, partial(self._image, row, mount))
            elif self._lidar is not None and mount.channel == self._lidar.channel:
                yield Instant(stamp, partial(self._sweep, row))
        for sample, row in self._anchors.items():
            yield Instant(int(self._tables.data_stamps[row]), partial(self._truth, sample, row))

    def finish(self, summary: ImportSummary) -> None:
        """Nothing but what all data sets tell."""

    def _files_of(self, scene: int) -> list[int]:
        tables, chosen = self._tables, set(self._samples)
        rows = [row for row in tables.files_of(scene) if int(tables.data_samples[row]) in chosen]
        placed = [row for row in rows if not np.isnan(tables.data_poses[row]).any()]
        if len(placed) < len(rows):
            text = f"{self.name}: files without a pose of the vehicle in the table are left out"
            self.faults.add(str(tables.folder.table("ego_pose")), "pose", text, len(rows) - len(placed))
        return placed

    def _sensors(self) -> tuple[dict[str, Mount], Mount | None]:
        """The cameras by name, in the rig's order, and the LiDAR that is written."""
        first: dict[str, Mount] = {}
        for row in self._rows:
            mount = self._tables.mounts[self._tables.data_mounts[row]]
            known = first.setdefault(mount.channel, mount)
            if known is not mount and not np.allclose(known.T_ego_sensor, mount.T_ego_sensor):
                text = f"{self.name}: {mount.channel} moves on the vehicle within the scene; its first place is taken"
                self.faults.note(str(self._tables.folder.table("calibrated_sensor")), "mounting", text)
        names = [name for name, mount in first.items() if mount.modality == "camera"]
        lidars = sorted(name for name, mount in first.items() if mount.modality == "lidar")
        lidar = USUAL_LIDAR if USUAL_LIDAR in lidars else next(iter(lidars), None)
        cameras = {name: first[name] for name in in_rig_order(sorted(names), topics.NUSCENES_CAMERAS)}
        return cameras, None if lidar is None else first[lidar]

    def _anchor_rows(self) -> dict[int, int]:
        """Sample -> the file whose stamp its frame has: that of the first camera that has any image there."""
        keys: dict[str, dict[int, int]] = {}
        for row in self._rows:
            if self._tables.data_key[row]:
                channel = self._tables.mounts[self._tables.data_mounts[row]].channel
                keys.setdefault(channel, {}).setdefault(int(self._tables.data_samples[row]), row)
        lidar = [self._lidar.channel] if self._lidar else []
        order = [name for name in (*self._cameras, *lidar) if name in keys]
        there = [name for name in order if any(self._path(row).is_file() for row in keys[name].values())]
        anchors: dict[int, int] = {}
        for sample in self._samples:
            rows = [keys[name][sample] for name in (*there, *order) if sample in keys[name]]
            if not rows:
                text = f"{self.name}: the sample {self._tables.sample_tokens[sample]} has no files, and is left out"
                self.faults.add(str(self._tables.folder.table("sample_data")), "sample", text)
            else:
                anchors[sample] = rows[0]
        return anchors

    def _path(self, row: int) -> Path:
        return self.place / self._tables.file_name(row)

    def _pose(self, row: int) -> Matrix:
        return _matrix(self._tables.data_poses[row])

    def _odometry(self) -> Iterator[Instant]:
        """At the LiDAR's stamps, or else at those of the frames."""
        rows = [row for row in self._rows if self._tables.mounts[self._tables.data_mounts[row]] is self._lidar]
        rows = rows or list(self._anchors.values())
        poses, stamps = [self._pose(row) for row in rows], [int(self._tables.data_stamps[row]) for row in rows]
        for place, (pose, stamp) in enumerate(zip(poses, stamps, strict=True)):
            before, after = max(place - 1, 0), min(place + 1, len(rows) - 1)
            seconds = (stamps[after] - stamps[before]) * 1e-9
            linear = angular = np.zeros(3)
            if seconds > 0:
                back = pose[:3, :3].T
                linear = back @ (poses[after][:3, 3] - poses[before][:3, 3]) / seconds
                turned = Rotation.from_matrix(poses[after][:3, :3] @ poses[before][:3, :3].T).as_rotvec()
                angular = back @ turned / seconds
            yield Instant(
                stamp,
                partial(RecordingWriter.odometry, stamp=stamp, T_odom_base=pose, linear=linear, angular=angular),
            )

    def _read(self, row: int) -> bytes | None:
        path = self._path(row)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            self._missing.add(self._tables.file_name(row), self.faults)
        except OSError as error:
            self.faults.add(str(path), "missing_file", f"{error.strerror}; it is left out")
        return None

    def _image(self, row: int, mount: Mount, writer: RecordingWriter) -> None:
        content = self._read(row)
        if content is None:
            return
        assert mount.K is not None
        try:
            model = CameraModel(*whole_image_size(content, mount.channel), mount.K)
            self._check(model, mount)
        except InputRejected as error:
            self.faults.add(str(self._path(row)), error.reason, f"{error}; it is left out")
            return
        writer.image(mount.channel, int(self._tables.data_stamps[row]), content, model)

    def _check(self, model: CameraModel, mount: Mount) -> None:
        """Once for each calibration and size."""
        key = (id(mount), model.width, model.height)
        if key not in self._doubts:
            unlikely = check_intrinsics(model)
            self._doubts.add(key)
            if unlikely:
                text = f"{self.name}, {mount.channel}: {unlikely}"
                self.faults.add(str(self._tables.folder.table("calibrated_sensor")), "intrinsics", text)

    def _sweep(self, row: int, writer: RecordingWriter) -> None:
        content = self._read(row)
        if content is None:
            return
        size = _POINT_FIELDS * 4
        if not content or len(content) % size:
            text = f"{len(content)} bytes are no points of {size} bytes; download it again"
            self.faults.add(str(self._path(row)), "damaged_file", f"{text}; it is left out")
            return
        values = np.frombuffer(content, "<f4").reshape(-1, _POINT_FIELDS)
        good = np.isfinite(values).all(axis=1)
        if not good.all():
            text = f"points that are not finite are left out, such as row {int(np.argmin(good))}"
            self.faults.add(str(self._path(row)), "point", text, int((~good).sum()))
            values = values[good]
        cloud = PointCloud(values[:, :3], np.clip(values[:, 3] / 255.0, 0.0, 1.0).astype(np.float32))
        writer.sweep(int(self._tables.data_stamps[row]), cloud, np.clip(values[:, 4], 0, 2**16 - 1).astype(np.uint16))

    def _truth(self, sample: int, row: int, writer: RecordingWriter) -> None:
        stamp, token = int(self._tables.data_stamps[row]), self._tables.sample_tokens[sample]
        found = sample_truth(self._tables, sample, rigid.inverse(self._pose(row)))
        if found is None:
            writer.sample(stamp, SampleInfo(DATA_SET, self.name, token))
            return
        if found.odd:
            text = f"{self.name}: boxes without extent, or farther than anything on Earth, are left out"
            self.faults.add(str(self._tables.folder.table("sample_annotation")), "box", text, found.odd)
        info = SampleInfo(DATA_SET, self.name, token, found.labels.attributes, found.visibility)
        writer.truth(stamp, found.labels, info)


@dataclass(frozen=True)
class SampleTruth:
    """The boxes of a sample, in terms of nuScenes' categories.

    Attributes:
        labels: the boxes.
        visibility: share of each that is visible, NaN where unknown.
        radar_points: (N,) radar returns in each.
        odd: how many boxes make no sense and were left out.
    """

    labels: Labels
    visibility: tuple[float, ...]
    radar_points: NDArray[np.int64]
    odd: int


def sample_truth(tables: Tables, sample: int, T_ego_world: Matrix) -> SampleTruth | None:
    """The boxes of a sample; None where the version has no ground truth.

    Args:
        tables: of its version.
        sample: its index in them.
        T_ego_world: (4, 4) where the boxes are to be given.
    """
    boxes = tables.annotations
    if boxes is None:
        return None
    rows = np.arange(*np.searchsorted(boxes.samples, [sample, sample + 1]))
    given = Boxes3D(
        boxes.centers[rows], boxes.sizes[rows][:, [1, 0, 2]], _headings(boxes.rotations[rows]), boxes.velocity[rows]
    )
    good = given.physical() & (given.sizes > 0).all(axis=1)
    rows = rows[good]
    labels = Labels(
        given[good].moved(T_ego_world),
        boxes.labels[rows].astype(np.int64),
        tuple(boxes.tokens[index] for index in boxes.instances[rows].tolist()),
        boxes.lidar_points[rows].astype(np.int64),
        class_names=boxes.names,
        attributes=tuple(
            boxes.attribute_names[index] if index >= 0 else "" for index in boxes.attributes[rows].tolist()
        ),
    )
    return SampleTruth(
        labels,
        tuple(boxes.visibility[rows].tolist()),
        boxes.radar_points[rows].astype(np.int64),
        int((~good).sum()),
    )


def _matrix(pose: NDArray[np.float64]) -> Matrix:
    x, y, z, qw, qx, qy, qz = pose.tolist()
    return rigid.transform((x, y, z), (qx, qy, qz, qw))


def _headings(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) where the x axes of quaternions (N, 4) w, x, y, z point to on the ground; they need not have unit length."""
    w, x, y, z = rotations.T
    return np.arctan2(2 * (x * y + w * z), w * w + x * x - y * y - z * z)

"""A recorded PandaSet drive as a bag with this package's topics.

Frames, stamps and classes are explained, with the measurements behind them, in ``docs/pandaset.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.plausibility import check_intrinsics
from semlt3d_ros.datasets.pandaset_files import CAMERAS, PandaSetSequence, WorldPoints
from semlt3d_ros.datasets.pandaset_labels import FrameTruth, TruthReader
from semlt3d_ros.datasets.pandaset_motion import T_BASE_LIDAR, VehicleMotion
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.decode_geometry import StampedTransform
from semlt3d_ros.messages.encode import (
    encode_camera_info,
    encode_labels,
    encode_labels_detection3d,
    encode_odometry,
    encode_point_cloud,
    encode_transforms,
)
from semlt3d_ros.messages.typestore import message_class

RIG_NAMES: dict[str, str] = dict(zip(CAMERAS, topics.NUSCENES_CAMERAS, strict=True))
"""PandaSet's camera -> its place in the default rig, under whose name it is written."""


class ImportSummary(TypedDict):
    """What an import wrote.

    Keys:
        bag: path of the bag.
        first_frame, frames: index of the first frame, and how many there are.
        images, points: number of images and of LiDAR points.
        boxes: number of boxes by class.
        boxes_dropped: number of boxes by PandaSet label that stands for none of the classes.
        boxes_duplicate: second boxes of the same objects, from the front LiDAR, which were left out.
        frames_lost: frames of which nothing could be used.
    """

    bag: str
    first_frame: int
    frames: int
    images: int
    points: int
    boxes: dict[str, int]
    boxes_dropped: dict[str, int]
    boxes_duplicate: int
    frames_lost: int


class _Message(NamedTuple):
    topic: str
    message: Any


class _Entry(NamedTuple):
    """Messages of one instant; made when they are written, so that only one image is in memory."""

    stamp: int
    make: Callable[[], Iterator[_Message]]


def import_pandaset(
    sequence_dir: Path | str,
    out: Path | str,
    frames: slice | range | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    faults: FaultLog | None = None,
) -> ImportSummary:
    """Write a PandaSet sequence as a bag.

    The bag appears under its name only when it is complete (see ``BagSink``).

    Args:
        sequence_dir: folder of one sequence, with ``camera/``, ``lidar/`` and ``annotations/cuboids/``.
        out: ``NAME.mcap``, or the name of a bag folder.
        frames: which frames; None for all.
        overwrite: replace a bag that is there.
        progress: called with how much is done and how much there is.
        faults: gets, by file, frame and row, what is missing, damaged or makes no sense, and was left out.

    Raises:
        ConfigurationError: it is no sequence, there are no such frames, nothing of them can be used, or the bag cannot
            be written.
    """
    sequence = PandaSetSequence(Path(sequence_dir))
    importer = _Importer(sequence, _chosen(frames, len(sequence), sequence.folder))
    faults = FaultLog() if faults is None else faults
    with BagSink(out, overwrite=overwrite) as sink:
        importer.write(sink, progress or (lambda done, total: None), faults)
    importer.summary["bag"] = str(out)
    return importer.summary


def _chosen(frames: slice | range | None, count: int, folder: Path) -> range:
    if frames is None:
        return range(count)
    bounds = [bound for bound in (frames.start, frames.stop) if bound is not None]
    chosen = range(count)[frames] if isinstance(frames, slice) else frames
    beyond = any(not -count <= bound <= count for bound in bounds)
    if beyond or not chosen or not 0 <= min(chosen) <= max(chosen) < count:
        asked = ":".join("" if bound is None else str(bound) for bound in (frames.start, frames.stop))
        raise ConfigurationError(f"{folder}: there are no frames {asked}; the sequence has frames 0:{count}")
    return chosen


class _Importer:
    def __init__(self, sequence: PandaSetSequence, frames: range) -> None:
        self._sequence = sequence
        self._frames = frames
        self._faults = sequence.faults
        self._motion = VehicleMotion(sequence)
        self._anchor = next(iter(sequence.cameras), None)
        self._used: Counter[int] = Counter()
        self._truth = TruthReader(sequence)
        self._boxes: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self.summary = ImportSummary(
            bag="",
            first_frame=min(frames),
            frames=len(frames),
            images=0,
            points=0,
            boxes={},
            boxes_dropped={},
            boxes_duplicate=0,
            frames_lost=0,
        )

    def write(self, sink: BagSink, progress: Callable[[int, int], None], faults: FaultLog) -> None:
        try:
            self._write(sink, progress)
        finally:
            faults.extend(self._faults)
        if not self._used:
            raise ConfigurationError(f"{self._sequence.folder}: nothing could be imported: {faults.reasons()}")

    def _write(self, sink: BagSink, progress: Callable[[int, int], None]) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry.stamp)
        for topic, message in self._mounts(entries[0].stamp):
            sink.write(topic, topics.TF_TYPE, message, entries[0].stamp)
        for done, entry in enumerate(entries, start=1):
            for topic, message in entry.make():
                type_name = topics.default_type(topic)
                assert type_name is not None
                sink.write(topic, type_name, message, entry.stamp)
            progress(done, len(entries))
        for frame in self._frames:
            if not self._used[frame]:
                self.summary["frames_lost"] += 1
                text = f"nothing of frame {frame} could be used: neither images nor points nor annotations"
                self._faults.add(str(self._sequence.folder), "frame", text)
        self.summary["boxes"] = dict(self._boxes.most_common())
        self.summary["boxes_dropped"] = dict(self._dropped.most_common())

    def _entries(self) -> Iterator[_Entry]:
        """In the order in which messages of the same stamp are written: poses before what they place."""
        for stamp, pose in self._motion.poses(self._frames).items():
            yield _Entry(stamp, partial(self._pose, stamp, pose))
        for frame in self._frames:
            yield _Entry(int(self._sequence.lidar.stamps[frame]), partial(self._odometry, frame))
            yield _Entry(self._anchor_stamp(frame), partial(self._points_and_truth, frame))
            for camera, track in self._sequence.cameras.items():
                yield _Entry(int(track.stamps[frame]), partial(self._image, camera, frame))

    def _anchor_stamp(self, frame: int) -> int:
        track = self._sequence.cameras[self._anchor] if self._anchor else self._sequence.lidar
        return int(track.stamps[frame])

    def _mounts(self, stamp: int) -> Iterator[_Message]:
        mounts = {RIG_NAMES[camera]: mount for camera, mount in self._motion.mounts.items()}
        mounts[topics.LIDAR_FRAME] = T_BASE_LIDAR
        yield _Message(
            topics.TF_STATIC,
            encode_transforms(
                [StampedTransform(topics.BASE_FRAME, name, stamp, mount) for name, mount in mounts.items()]
            ),
        )

    def _pose(self, stamp: int, pose: rigid.Matrix) -> Iterator[_Message]:
        yield _Message(
            topics.TF, encode_transforms([StampedTransform(topics.FIXED_FRAME, topics.BASE_FRAME, stamp, pose)])
        )

    def _odometry(self, frame: int) -> Iterator[_Message]:
        linear, angular = self._motion.velocity(frame)
        yield _Message(
            topics.ODOMETRY,
            encode_odometry(self._motion.at_lidar[frame], int(self._sequence.lidar.stamps[frame]), linear, angular),
        )

    def _image(self, camera: str, frame: int) -> Iterator[_Message]:
        try:
            content, model = self._sequence.image(camera, frame)
            unlikely = check_intrinsics(model)
        except InputRejected as error:
            self._reject(self._sequence.image_path(camera, frame), frame, error)
            return
        if unlikely:
            text = f"frame {frame}: {unlikely}"
            self._faults.add(str(self._sequence.intrinsics_path(camera)), "intrinsics", text)
        stamp, name = int(self._sequence.cameras[camera].stamps[frame]), RIG_NAMES[camera]
        yield _Message(topics.camera_info_topic(name), encode_camera_info(model, stamp, name))
        yield _Message(
            topics.camera_image_topic(name),
            message_class(topics.COMPRESSED_IMAGE_TYPE)(
                header=build_header(message_class, stamp, name),
                format="png" if content.startswith(b"\x89PNG") else "jpeg",
                data=np.frombuffer(content, np.uint8),
            ),
        )
        self.summary["images"] += 1
        self._used[frame] += 1

    def _points_and_truth(self, frame: int) -> Iterator[_Message]:
        stamp = self._anchor_stamp(frame)
        T_world_base = self._motion.at_camera(self._anchor, frame) if self._anchor else self._motion.at_lidar[frame]
        points = self._points(frame)
        if points is not None:
            T_lidar_world = rigid.inverse(T_world_base @ T_BASE_LIDAR)
            cloud = PointCloud(
                rigid.apply(T_lidar_world, points.xyz).astype(np.float32),
                points.intensity,
                ((points.stamps - stamp) * 1e-9).astype(np.float32),
            )
            yield _Message(topics.POINTS, encode_point_cloud(cloud, stamp, topics.LIDAR_FRAME))
            self.summary["points"] += len(cloud)
            self._used[frame] += 1
        try:
            truth = self._truth.read(frame, None if points is None else points.xyz, rigid.inverse(T_world_base))
        except InputRejected as error:
            self._reject(self._sequence.cuboids_path(frame), frame, error)
            return
        yield _Message(topics.TRUTH_LONG_TAIL, encode_labels(truth.labels, stamp, topics.BASE_FRAME))
        yield _Message(topics.TRUTH_OBJECTS, encode_labels_detection3d(truth.labels, stamp, topics.BASE_FRAME))
        self._used[frame] += 1
        self._count(truth)
        for row, what in truth.odd.items():
            text = f"frame {frame}, row {row}: {what} make no box; the row is left out"
            self._faults.add(str(self._sequence.cuboids_path(frame)), "box", text)

    def _points(self, frame: int) -> WorldPoints | None:
        try:
            points = self._sequence.points(frame)
        except InputRejected as error:
            self._reject(self._sequence.points_path(frame), frame, error)
            return None
        if len(points.odd):
            text = f"frame {frame}: rows whose place or time cannot be are left out, such as row {points.odd[0]}"
            self._faults.add(str(self._sequence.points_path(frame)), "point", text, len(points.odd))
        return points

    def _reject(self, path: Path, frame: int, error: InputRejected) -> None:
        self._faults.add(str(path), error.reason, f"frame {frame}: {error}; it is left out")

    def _count(self, truth: FrameTruth) -> None:
        self._boxes.update(truth.class_names)
        self._dropped.update(truth.dropped)
        self.summary["boxes_duplicate"] += truth.duplicates

"""A recorded PandaSet drive as a bag with this package's topics.

Frames, stamps and labels are explained, with the measurements behind them, in ``docs/pandaset.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import PointCloud, SampleInfo
from semlt3d_ros.core.plausibility import check_intrinsics
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.pandaset_files import CAMERAS, PandaSetSequence, WorldPoints
from semlt3d_ros.datasets.pandaset_labels import TruthReader
from semlt3d_ros.datasets.pandaset_motion import T_BASE_LIDAR, VehicleMotion
from semlt3d_ros.datasets.pandaset_points import PointLabels
from semlt3d_ros.datasets.recording import (
    ImportSummary,
    Instant,
    Progress,
    RecordingWriter,
    chosen_frames,
    write_recording,
)
from semlt3d_ros.messages import topics

RIG_NAMES: dict[str, str] = dict(zip(CAMERAS, topics.NUSCENES_CAMERAS, strict=True))
"""PandaSet's camera -> its place in the default rig, under whose name it is written."""


def import_pandaset(
    sequence_dir: Path | str,
    out: Path | str,
    frames: slice | range | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
    faults: FaultLog | None = None,
) -> ImportSummary:
    """Write a PandaSet sequence as a bag.

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
    recording = open_pandaset(Path(sequence_dir), frames)
    try:
        return write_recording(recording, out, overwrite=overwrite, progress=progress)
    finally:
        if faults is not None:
            faults.extend(recording.faults)


def open_pandaset(folder: Path, frames: slice | range | None = None) -> PandaSetRecording:
    """A sequence, ready to be written; arguments and errors as of ``import_pandaset``."""
    sequence = PandaSetSequence(folder)
    return PandaSetRecording(sequence, chosen_frames(frames, len(sequence), folder))


class PandaSetRecording:
    """A sequence as a ``Recording``."""

    def __init__(self, sequence: PandaSetSequence, frames: range) -> None:
        self.name = sequence.folder.resolve().name
        self.place = sequence.folder
        self.frames = len(frames)
        self.faults = sequence.faults
        self._sequence = sequence
        self._frames = frames
        self._motion = VehicleMotion(sequence)
        self._anchor = next(iter(sequence.cameras), None)
        self._used: Counter[int] = Counter()
        self._truth = TruthReader(sequence)
        self._point_labels = PointLabels(sequence)
        self._duplicates = 0
        self.mounts: dict[str, Matrix] = {RIG_NAMES[camera]: mount for camera, mount in self._motion.mounts.items()}
        self.mounts[topics.LIDAR_FRAME] = T_BASE_LIDAR

    def instants(self) -> Iterator[Instant]:
        """Poses before what they place."""
        for stamp, pose in self._motion.poses(self._frames).items():
            yield Instant(stamp, partial(RecordingWriter.pose, stamp=stamp, T_odom_base=pose))
        for frame in self._frames:
            yield Instant(int(self._sequence.lidar.stamps[frame]), partial(self._odometry, frame))
            yield Instant(self._anchor_stamp(frame), partial(self._points_and_truth, frame))
            for camera, track in self._sequence.cameras.items():
                yield Instant(int(track.stamps[frame]), partial(self._image, camera, frame))

    def finish(self, summary: ImportSummary) -> None:
        """Tell of frames of which nothing was left."""
        lost = [frame for frame in self._frames if not self._used[frame]]
        for frame in lost:
            text = f"nothing of frame {frame} could be used: neither images nor points nor annotations"
            self.faults.add(str(self.place), "frame", text)
        summary["first_frame"] = min(self._frames)
        summary["frames_lost"] = len(lost)
        summary["boxes_duplicate"] = self._duplicates

    def _anchor_stamp(self, frame: int) -> int:
        track = self._sequence.cameras[self._anchor] if self._anchor else self._sequence.lidar
        return int(track.stamps[frame])

    def _odometry(self, frame: int, writer: RecordingWriter) -> None:
        stamp = int(self._sequence.lidar.stamps[frame])
        writer.odometry(stamp, self._motion.at_lidar[frame], *self._motion.velocity(frame))

    def _image(self, camera: str, frame: int, writer: RecordingWriter) -> None:
        try:
            content, model = self._sequence.image(camera, frame)
            unlikely = check_intrinsics(model)
        except InputRejected as error:
            self._reject(self._sequence.image_path(camera, frame), frame, error)
            return
        if unlikely:
            text = f"frame {frame}: {unlikely}"
            self.faults.add(str(self._sequence.intrinsics_path(camera)), "intrinsics", text)
        writer.image(RIG_NAMES[camera], int(self._sequence.cameras[camera].stamps[frame]), content, model)
        self._used[frame] += 1

    def _points_and_truth(self, frame: int, writer: RecordingWriter) -> None:
        stamp = self._anchor_stamp(frame)
        T_world_base = self._motion.at_camera(self._anchor, frame) if self._anchor else self._motion.at_lidar[frame]
        points = self._points(frame)
        if points is not None:
            T_lidar_world = rigid.inverse(T_world_base @ T_BASE_LIDAR)
            cloud = PointCloud(
                rigid.apply(T_lidar_world, points.xyz).astype(np.float32),
                points.intensity,
                ((points.stamps - stamp) * 1e-9).astype(np.float32),
                self._point_labels.read(frame, points.rows, points.file_rows),
            )
            writer.sweep(stamp, cloud)
            self._used[frame] += 1
        try:
            truth = self._truth.read(frame, None if points is None else points.xyz, rigid.inverse(T_world_base))
        except InputRejected as error:
            self._reject(self._sequence.cuboids_path(frame), frame, error)
            return
        writer.truth(stamp, truth.labels, SampleInfo("PandaSet", self.name, f"{self.name}/{frame:02d}"), truth.unknown)
        self._used[frame] += 1
        self._duplicates += truth.duplicates
        for row, what in truth.odd.items():
            text = f"frame {frame}, row {row}: {what} make no box; the row is left out"
            self.faults.add(str(self._sequence.cuboids_path(frame)), "box", text)

    def _points(self, frame: int) -> WorldPoints | None:
        try:
            points = self._sequence.points(frame)
        except InputRejected as error:
            self._reject(self._sequence.points_path(frame), frame, error)
            return None
        if len(points.odd):
            text = f"frame {frame}: rows whose place or time cannot be are left out, such as row {points.odd[0]}"
            self.faults.add(str(self._sequence.points_path(frame)), "point", text, len(points.odd))
        return points

    def _reject(self, path: Path, frame: int, error: InputRejected) -> None:
        self.faults.add(str(path), error.reason, f"frame {frame}: {error}; it is left out")

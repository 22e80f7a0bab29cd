"""KITTI's recordings as bags with this package's topics.

Frames, stamps, labels and the labelled region are explained in ``docs/kitti.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels, PointCloud, SampleInfo
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.datasets.image_files import read_image
from semlt3d_ros.datasets.kitti_files import LABELLED_CAMERA, KittiCalibration, read_points
from semlt3d_ros.datasets.kitti_folder import is_drive
from semlt3d_ros.datasets.kitti_labels import LABELS, FrameObjects
from semlt3d_ros.datasets.kitti_layouts import Layout, ObjectSplit, RawDrive, camera_name, mounts_of
from semlt3d_ros.datasets.pandaset_labels import points_in_boxes
from semlt3d_ros.datasets.recording import (
    ImportSummary,
    Instant,
    Progress,
    RecordingWriter,
    chosen_frames,
    write_recording,
)

_USUAL_SIZE = (1242, 375)
"""Width and height of KITTI's images, where a frame to be labelled lacks its own."""


def import_kitti(
    folder: Path | str,
    out: Path | str,
    frames: slice | range | None = None,
    *,
    labels: Path | None = None,
    grey: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
    faults: FaultLog | None = None,
) -> ImportSummary:
    """Write a recording of KITTI as a bag.

    Args:
        folder: of a raw drive, or of the object benchmark's frames (``training``, ``testing``).
        out: ``NAME.mcap``, or the name of a bag folder.
        frames: which frames, by their places; None for all.
        labels: for a raw drive, the tracking benchmark's file with the labels of the same frames.
        grey: of a raw drive, take the grey cameras as well.
        overwrite: replace a bag that is there.
        progress: called with how much is done and how much there is.
        faults: gets, by file, what is missing, damaged or makes no sense, and was left out.

    Raises:
        ConfigurationError: it is no recording, there are no such frames, nothing of them can be used, or the bag cannot
            be written.
    """
    recording = open_kitti(Path(folder), frames, labels=labels, grey=grey)
    try:
        return write_recording(recording, out, overwrite=overwrite, progress=progress)
    finally:
        if faults is not None:
            faults.extend(recording.faults)


def open_kitti(
    folder: Path, frames: slice | range | None = None, *, labels: Path | None = None, grey: bool = False
) -> KittiRecording:
    """A recording, ready to be written; arguments and errors as of ``import_kitti``."""
    layout: Layout = RawDrive(folder, labels, grey) if is_drive(folder) else ObjectSplit(folder)
    return KittiRecording(layout, chosen_frames(frames, layout.count, folder))


class KittiRecording:
    """A recording as a ``Recording``. All of a frame has one stamp: KITTI's sensors are triggered together."""

    def __init__(self, layout: Layout, frames: range) -> None:
        self.name, self.place, self.faults = layout.name, layout.place, layout.faults
        self.mounts = layout.mounts
        self._layout = layout
        self._frames = [frame for frame in frames if layout.stamp(frame) >= 0]
        self.frames = len(self._frames)
        self._used: Counter[int] = Counter()
        self._size = _USUAL_SIZE

    def instants(self) -> Iterator[Instant]:
        """One for each frame."""
        for frame in self._frames:
            yield Instant(self._layout.stamp(frame), partial(self._frame, frame))

    def finish(self, summary: ImportSummary) -> None:
        """Tell of frames of which nothing was left."""
        lost = [frame for frame in self._frames if not self._used[frame]]
        for frame in lost:
            text = f"nothing of frame {self._layout.token(frame)} could be used: neither images nor points nor labels"
            self.faults.add(str(self.place), "frame", text)
        summary["first_frame"] = min(self._frames, default=0)
        summary["frames_lost"] = len(lost)

    def _frame(self, frame: int, writer: RecordingWriter) -> None:
        layout, stamp = self._layout, self._layout.stamp(frame)
        try:
            calibration = layout.calibration(frame)
        except InputRejected as error:
            self._reject(layout.place / "calib", frame, error)
            return
        pose, state = layout.pose(frame), layout.state(frame)
        if pose is not None:
            writer.pose(stamp, pose)
            if state is not None:
                writer.odometry(stamp, pose, state.linear, state.angular)
        cameras = tuple(number for number in layout.cameras if number in calibration.projections)
        for number in sorted(set(layout.cameras) - set(cameras)):
            missing = InputRejected(
                "calibration", f"'P{number}' of {camera_name(number)} is missing; download it again"
            )
            self._reject(layout.place / "calib", frame, missing)
        if not layout.mounts:
            writer.moving_mounts(stamp, mounts_of(calibration, cameras))
        points = self._points(frame, writer)
        for camera in cameras:
            self._image(frame, camera, calibration, writer)
        self._truth(frame, calibration, points, writer)

    def _image(self, frame: int, camera: int, calibration: KittiCalibration, writer: RecordingWriter) -> None:
        path = self._layout.image_path(frame, camera)
        try:
            content, width, height = read_image(path)
            model = CameraModel(width, height, calibration.intrinsics(camera))
        except InputRejected as error:
            self._reject(path, frame, error)
            return
        if camera == LABELLED_CAMERA:
            self._size = width, height
        writer.image(camera_name(camera), self._layout.stamp(frame), content, model)
        self._used[frame] += 1

    def _points(self, frame: int, writer: RecordingWriter) -> NDArray[np.float32] | None:
        """Write the sweep; gives its points (P, 3) in the LiDAR's frame."""
        points = self._read_points(frame)
        if points is None:
            return None
        writer.sweep(self._layout.stamp(frame), PointCloud(*points))
        self._used[frame] += 1
        return points[0]

    def _read_points(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        path = self._layout.points_path(frame)
        if path is None:
            return None
        try:
            xyz, intensity, odd = read_points(path)
        except InputRejected as error:
            self._reject(path, frame, error)
            return None
        if odd:
            text = f"frame {self._layout.token(frame)}: points whose place cannot be are left out"
            self.faults.add(str(path), "point", text, odd)
        return xyz, intensity

    def truth(self) -> Iterator[tuple[int, Labels, SampleInfo]]:
        """The ground truth alone, frame after frame: stamp, labels in ``base_link``, what KITTI says besides."""
        for frame in self._frames:
            try:
                calibration = self._layout.calibration(frame)
            except InputRejected as error:
                self._reject(self._layout.place / "calib", frame, error)
                continue
            points = self._read_points(frame)
            found = self._frame_truth(frame, calibration, None if points is None else points[0])
            if found is not None:
                yield self._layout.stamp(frame), found[0], found[1]

    def _truth(
        self, frame: int, calibration: KittiCalibration, points: NDArray[np.float32] | None, writer: RecordingWriter
    ) -> None:
        found = self._frame_truth(frame, calibration, points)
        if found is not None:
            writer.truth(self._layout.stamp(frame), *found)
            self._used[frame] += 1

    def _frame_truth(
        self, frame: int, calibration: KittiCalibration, points: NDArray[np.float32] | None
    ) -> tuple[Labels, SampleInfo, tuple[str, ...]] | None:
        """Labels, what else is said, and types that are none of KITTI's; None where nothing was labelled."""
        layout = self._layout
        if not layout.labelled:
            return None
        try:
            objects = layout.objects(frame)
            velocity = layout.velocities(frame)
        except InputRejected as error:
            self._reject(layout.labels_path(frame), frame, error)
            return None
        if objects is None:
            return None
        boxes = replace(objects.boxes, velocity=velocity)
        counts = [-1] * len(boxes)
        if points is not None:
            placed = rigid.apply(calibration.T_base_lidar, points)
            counts = [len(inside) for inside in points_in_boxes(boxes, placed)]
        labels = Labels(boxes, objects.class_ids, lidar_points=np.array(counts, np.int64), class_names=LABELS)
        if any(objects.track_ids):
            labels.track_ids = objects.track_ids
        region = _labelled_region(objects, calibration, self._size)
        sample = SampleInfo("KITTI", self.name, layout.token(frame), visibility=objects.visibility, region=region)
        return labels, sample, objects.unknown

    def _reject(self, path: Path, frame: int, error: InputRejected) -> None:
        self.faults.add(str(path), error.reason, f"frame {self._layout.token(frame)}: {error}; it is left out")


def _labelled_region(objects: FrameObjects, calibration: KittiCalibration, size: tuple[int, int]) -> LabelledRegion:
    """The left colour camera's image, less what of it was not labelled."""
    K, T_base_camera = calibration.intrinsics(LABELLED_CAMERA), calibration.T_base_camera(LABELLED_CAMERA)

    def window(left: float, top: float, right: float, bottom: float) -> ViewWindow:
        (left, right), (top, bottom) = (
            ((low - K[axis, 2]) / K[axis, axis], (high - K[axis, 2]) / K[axis, axis])
            for axis, low, high in ((0, left, right), (1, top, bottom))
        )
        return ViewWindow(T_base_camera, left, top, right, bottom)

    left_out = [bounds for bounds in objects.left_out if bounds[0] < bounds[2] and bounds[1] < bounds[3]]
    whole = window(-0.5, -0.5, size[0] - 0.5, size[1] - 0.5)
    return LabelledRegion((whole,), tuple(window(*bounds) for bounds in left_out))

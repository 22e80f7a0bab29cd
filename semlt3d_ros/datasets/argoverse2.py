"""Logs of Argoverse 2's sensor data set as bags with this package's topics.

Frames, stamps and labels are explained in ``docs/argoverse2.md``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from semlt3d_ros.core import rigid
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels, PointCloud, SampleInfo
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.argoverse2_files import Annotations, Argoverse2Log
from semlt3d_ros.datasets.argoverse2_folder import RING, STEREO
from semlt3d_ros.datasets.image_files import read_image
from semlt3d_ros.datasets.recording import (
    UNKNOWN_LABEL,
    ImportSummary,
    Instant,
    Progress,
    RecordingWriter,
    chosen_frames,
    write_recording,
)
from semlt3d_ros.messages import topics

_UNEVALUATED = ("ANIMAL", "OFFICIAL_SIGNALER", "RAILED_VEHICLE", "TRAFFIC_LIGHT_TRAILER")
"""Categories that are annotated, but not among the 26 of the detection task."""

LABELS: tuple[str, ...] = (*load_class_list("argoverse2").names, *_UNEVALUATED, UNKNOWN_LABEL)
"""Argoverse 2's categories, and what stands for any other."""

T_BASE_EGO: Matrix = rigid.transform((0.0, 0.0, 0.33))
"""``base_link`` <- Argoverse's ``egovehicle``: the middle of the rear axle, 33 cm above the road."""

_TOGETHER = 50_000_000
"""Nanoseconds: images that are farther from a sweep belong to another."""


def import_argoverse2(
    folder: Path | str,
    out: Path | str,
    frames: slice | range | None = None,
    *,
    key_frames: bool = False,
    stereo: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
    faults: FaultLog | None = None,
) -> ImportSummary:
    """Write a log of Argoverse 2 as a bag.

    Args:
        folder: of one log.
        out: ``NAME.mcap``, or the name of a bag folder.
        frames: which sweeps, with what belongs to them; None for all.
        key_frames: only the images nearest to the sweeps, not all at 20 Hz.
        stereo: take the stereo pair as well.
        overwrite: replace a bag that is there.
        progress: called with how much is done and how much there is.
        faults: gets, by file, what is missing, damaged or makes no sense, and was left out.

    Raises:
        ConfigurationError: it is no log, there are no such frames, nothing of them can be used, or the bag cannot be
            written; or pyarrow is not installed.
    """
    recording = open_argoverse2(Path(folder), frames, key_frames=key_frames, stereo=stereo)
    try:
        return write_recording(recording, out, overwrite=overwrite, progress=progress)
    finally:
        if faults is not None:
            faults.extend(recording.faults)


def open_argoverse2(
    folder: Path, frames: slice | range | None = None, *, key_frames: bool = False, stereo: bool = False
) -> Argoverse2Recording:
    """A log, ready to be written; arguments and errors as of ``import_argoverse2``."""
    log = Argoverse2Log(folder, (*RING, *STEREO) if stereo else RING)
    return Argoverse2Recording(log, frames, key_frames)


class Argoverse2Recording:
    """A log as a ``Recording``. A frame is a sweep, with the nearest image of each camera."""

    def __init__(self, log: Argoverse2Log, frames: slice | range | None, key_frames: bool) -> None:
        self.name, self.place, self.faults = log.folder.resolve().name, log.folder, log.faults
        self._log = log
        self._anchor = next(iter(log.images), None)
        stamps = self._frame_stamps()
        self._sweeps = [int(stamps[index]) for index in chosen_frames(frames, len(stamps), log.folder)]
        self.frames = len(self._sweeps)
        self.mounts: dict[str, Matrix] = {camera: T_BASE_EGO @ mount for camera, mount in log.mounts.items()}
        # The data set gives points in the vehicle's frame, and no longer those of one LiDAR.
        self.mounts[topics.LIDAR_FRAME] = T_BASE_EGO
        self._images = {camera: self._chosen(times, key_frames) for camera, times in log.images.items()}
        self._used: Counter[int] = Counter()
        self._tracks = _Tracks(log)
        if log.annotations is None and not log.annotations_path.is_file():
            self.faults.note(str(log.annotations_path), "missing_file", "the log has no ground truth")

    def instants(self) -> Iterator[Instant]:
        """Poses before what they place."""
        stamps = {stamp for each in (self._sweeps, *self._images.values()) for stamp in each}
        stamps |= {self._frame_stamp(stamp) for stamp in self._sweeps}
        for stamp in sorted(stamps):
            yield Instant(stamp, partial(RecordingWriter.pose, stamp=stamp, T_odom_base=self._pose(stamp)))
        for stamp in self._sweeps:
            yield Instant(stamp, partial(self._odometry, stamp))
            yield Instant(stamp, partial(self._points, stamp))
            yield Instant(self._frame_stamp(stamp), partial(self._truth, stamp))
        for camera, times in self._images.items():
            for stamp in times:
                yield Instant(stamp, partial(self._image, camera, stamp))

    def finish(self, summary: ImportSummary) -> None:
        """Nothing but the usual."""

    def _frame_stamps(self) -> NDArray[np.int64]:
        """Stamps of sweeps, those included that are annotated but not there; of images where there are none."""
        log = self._log
        annotated = np.zeros(0, np.int64) if log.annotations is None else log.annotations.stamps
        stamps = np.unique(np.r_[log.sweeps, annotated])
        if not len(log.sweeps):
            text = "there are no sweeps; annotations, or else the first camera's images, make the frames"
            self.faults.add(str(log.folder / "sensors" / "lidar"), "missing_file", text)
        return stamps if len(stamps) or self._anchor is None else log.images[self._anchor]

    def _chosen(self, times: NDArray[np.int64], key_frames: bool) -> list[int]:
        """The nearest image to each sweep; without ``key_frames`` all between the first and the last of them."""
        chosen = sorted({near for stamp in self._sweeps if (near := _nearest(times, stamp)) is not None})
        if chosen and not key_frames:
            return [int(stamp) for stamp in times if chosen[0] <= stamp <= chosen[-1]]
        return chosen

    def _frame_stamp(self, sweep: int) -> int:
        """The anchor camera's, which detections of the frame have as well; the sweep's where it has no image."""
        near = _nearest(self._log.images[self._anchor], sweep) if self._anchor else None
        return sweep if near is None else near

    def _pose(self, stamp: int) -> Matrix:
        """City <- ``base_link``."""
        return self._log.pose(stamp) @ rigid.inverse(T_BASE_EGO)

    def _odometry(self, stamp: int, writer: RecordingWriter) -> None:
        step = 50_000_000
        before, pose, after = (self._pose(stamp + offset) for offset in (-step, 0, step))
        linear = pose[:3, :3].T @ (after[:3, 3] - before[:3, 3]) / (2 * step * 1e-9)
        turn = pose[:3, :3].T @ Rotation.from_matrix(after[:3, :3] @ before[:3, :3].T).as_rotvec() / (2 * step * 1e-9)
        writer.odometry(stamp, pose, linear, turn)

    def _image(self, camera: str, stamp: int, writer: RecordingWriter) -> None:
        path = self._log.image_path(camera, stamp)
        model = self._log.model(camera)
        try:
            content, width, height = read_image(path)
            if (width, height) != (model.width, model.height):
                text = f"the image is {width}x{height}, its calibration for {model.width}x{model.height}"
                raise InputRejected("image_size", text)
        except InputRejected as error:
            self._reject(path, error)
            return
        writer.image(camera, stamp, content, model)

    def _points(self, stamp: int, writer: RecordingWriter) -> None:
        if not len(self._log.sweeps):
            return
        path = self._log.sweep_path(stamp)
        try:
            sweep = self._log.sweep(stamp)
        except InputRejected as error:
            self._reject(path, error)
            return
        if sweep.odd:
            self.faults.add(str(path), "point", "rows that make no point are left out", sweep.odd)
        writer.sweep(stamp, PointCloud(sweep.xyz, sweep.intensity, sweep.offsets), sweep.rings)

    def _truth(self, sweep: int, writer: RecordingWriter) -> None:
        """The boxes of a sweep, moved on to the frame's stamp by their own and the vehicle's motion."""
        annotations = self._log.annotations
        if annotations is None:
            return
        rows = self._tracks.rows(sweep)
        if not len(rows) and not self._tracks.annotated(sweep):
            return
        stamp = self._frame_stamp(sweep)
        pose = self._pose(sweep)
        boxes = annotations.boxes[rows].moved(T_BASE_EGO).moved(pose)
        velocity = self._tracks.velocities(sweep)
        moved = np.nan_to_num(velocity) * (stamp - sweep) * 1e-9
        boxes = replace(boxes, velocity=velocity, centers=boxes.centers + np.c_[moved, np.zeros(len(rows))])
        names = [str(name) for name in annotations.categories[rows]]
        labels = Labels(
            boxes.moved(rigid.inverse(self._pose(stamp))),
            np.array([LABELS.index(name if name in LABELS else UNKNOWN_LABEL) for name in names], np.int64),
            tuple(str(name) for name in annotations.tracks[rows]),
            annotations.points[rows],
            class_names=LABELS,
        )
        unknown = [name for name in names if name not in LABELS]
        writer.truth(stamp, labels, SampleInfo("Argoverse 2", self.name, f"{self.name}/{sweep}"), unknown)

    def _reject(self, path: Path, error: InputRejected) -> None:
        self.faults.add(str(path), error.reason, f"{error}; it is left out")


class _Tracks:
    """Rows of the annotations by sweep, and how fast their objects move."""

    def __init__(self, log: Argoverse2Log) -> None:
        self._log = log
        self._rows: defaultdict[int, list[int]] = defaultdict(list)
        annotations = log.annotations
        for row, stamp in enumerate([] if annotations is None else annotations.stamps):
            self._rows[int(stamp)].append(row)
        self._stamps = np.array(sorted(self._rows), np.int64)

    def annotated(self, sweep: int) -> bool:
        """Whether a sweep without boxes lies between some that have them: then there was nothing."""
        return bool(len(self._stamps)) and self._stamps[0] <= sweep <= self._stamps[-1]

    def rows(self, sweep: int) -> NDArray[np.int64]:
        """The boxes of a sweep."""
        return np.array(self._rows.get(sweep, []), np.int64)

    def velocities(self, sweep: int) -> NDArray[np.float64]:
        """(N, 2) m/s over ground in the city frame, from the sweeps before and after; NaN where seen in one only."""
        annotations = self._log.annotations
        rows = self.rows(sweep)
        found = np.full((len(rows), 2), np.nan)
        if annotations is None or not len(rows):
            return found
        around = self._around(annotations, sweep)
        for place, row in enumerate(rows):
            track = annotations.tracks[row]
            seen = [stamp for stamp in around if track in around[stamp]]
            if track and seen[0] < seen[-1]:
                moved = around[seen[-1]][track] - around[seen[0]][track]
                found[place] = moved[:2] / ((seen[-1] - seen[0]) * 1e-9)
        return found

    def _around(self, annotations: Annotations, sweep: int) -> dict[int, dict[str, NDArray[np.float64]]]:
        place = int(np.searchsorted(self._stamps, sweep))
        around = {}
        for stamp in map(int, self._stamps[max(place - 1, 0) : place + 2]):
            rows = self.rows(stamp)
            centers = rigid.apply(self._log.pose(stamp), annotations.boxes.centers[rows])
            around[stamp] = dict(zip(annotations.tracks[rows], centers, strict=True))
        return around


def _nearest(times: NDArray[np.int64], stamp: int) -> int | None:
    place = int(np.searchsorted(times, stamp))
    near = times[max(place - 1, 0) : place + 1]
    best = int(near[np.argmin(np.abs(near - stamp))]) if len(near) else None
    return best if best is not None and abs(best - stamp) <= _TOGETHER else None

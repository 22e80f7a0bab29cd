"""KITTI's ground truth: label files of the object and tracking benchmarks, and the tracklets of raw drives.

Only what the left colour camera sees is labelled, less what is marked ``DontCare``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.kitti_text import T_BASE_CAMERA0, KittiObject, boxes_from, parse_line
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.pickles import read_file
from semlt3d_ros.datasets.recording import UNKNOWN_LABEL

_TYPES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
_SPELLINGS = {"Person": "Person_sitting", "Person (sitting)": "Person_sitting"}
"""As the tracking benchmark and the tracklets have it."""

LABELS: tuple[str, ...] = (*_TYPES, UNKNOWN_LABEL)
"""KITTI's types, and what stands for any other."""

_VISIBLE, _IN_IMAGE = "0", "0"


@dataclass(frozen=True)
class FrameObjects:
    """What is labelled in one frame.

    Attributes:
        boxes: N boxes in ``base_link``, velocities unknown.
        types: N types, as the files spell them.
        track_ids: N names that objects keep; empty where they have none.
        visibility: N shares in [0, 1], NaN where unknown.
        left_out: rectangles (left, top, right, bottom in pixels of camera 2) in which objects are not labelled.
    """

    boxes: Boxes3D = field(default_factory=Boxes3D.empty)
    types: tuple[str, ...] = ()
    track_ids: tuple[str, ...] = ()
    visibility: tuple[float, ...] = ()
    left_out: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """(N,) indices into ``LABELS``."""
        return np.array([LABELS.index(self._known(name)) for name in self.types], np.int64)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The types of boxes that are none of KITTI's."""
        return tuple(name for name in self.types if self._known(name) == UNKNOWN_LABEL)

    @staticmethod
    def _known(name: str) -> str:
        name = _SPELLINGS.get(name, name)
        return name if name in _TYPES else UNKNOWN_LABEL


class FrameLabels(Protocol):
    """Labels of a recording."""

    def read(self, frame: int) -> FrameObjects | None:
        """The labels of a frame; None where it was not labelled.

        Raises:
            InputRejected: its file is missing or damaged.
        """


class ObjectLabels:
    """``label_2/NNNNNN.txt``: a file for each frame, by its number. What is wrong in them is told to ``faults``."""

    def __init__(self, folder: Path, faults: FaultLog) -> None:
        self._folder = folder
        self._faults = faults

    def path(self, frame: int) -> Path:
        """The file of a frame."""
        return self._folder / f"{frame:06d}.txt"

    def read(self, frame: int) -> FrameObjects | None:
        """The labels of a frame, by its number."""
        path = self.path(frame)
        return _frame_objects(_parsed(path, False, self._faults), lambda found: "")


class TrackingLabels:
    """``label_02/NNNN.txt`` of the tracking benchmark: all frames of a drive in one file.

    Args:
        path: the file.
        faults: gets its lines that make no label.

    Raises:
        InputRejected: it is missing, or holds no label.
    """

    def __init__(self, path: Path, faults: FaultLog) -> None:
        self._frames: defaultdict[int, list[KittiObject]] = defaultdict(list)
        for found in _parsed(path, True, faults):
            self._frames[found.frame].append(found)
        if not self._frames:
            raise InputRejected("label", "no line is a label of the tracking benchmark")
        self.last = max(self._frames)

    def read(self, frame: int) -> FrameObjects | None:
        """The labels of a frame, by its index; nobody labelled those behind the last that the file names."""
        if frame > self.last:
            return None
        return _frame_objects(self._frames.get(frame, []), lambda found: f"{found.track}")


class Tracklets:
    """``tracklet_labels.xml`` of a raw drive: boxes in the LiDAR's frame.

    Args:
        path: the file.
        T_base_lidar: (4, 4) ``base_link`` <- LiDAR.
        faults: gets tracklets that make no boxes.

    Raises:
        InputRejected: it is missing or damaged.
    """

    def __init__(self, path: Path, T_base_lidar: Matrix, faults: FaultLog) -> None:
        self._T_base_lidar = T_base_lidar
        self._frames: defaultdict[int, list[tuple[str, str, list[float], float]]] = defaultdict(list)
        try:
            root = ElementTree.fromstring(read_file(path))
        except ElementTree.ParseError as error:
            raise InputRejected("damaged_file", f"not XML ({error}); download it again") from None
        tracklets = root.find("tracklets")
        if tracklets is None:
            raise InputRejected("label", "there are no tracklets in it")
        for number, item in enumerate(tracklets.findall("item")):
            try:
                self._add(number, item)
            except (TypeError, ValueError, OverflowError) as error:
                faults.add(str(path), "label", f"tracklet {number} is left out: {error}")

    def read(self, frame: int) -> FrameObjects | None:
        """The boxes of a frame, by its index."""
        rows = self._frames.get(frame, [])
        values = np.array([row[2] for row in rows], np.float64).reshape(-1, 7)
        boxes = Boxes3D(values[:, :3], values[:, 3:6], values[:, 6], np.full((len(rows), 2), np.nan))
        kinds, tracks = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
        return FrameObjects(boxes.moved(self._T_base_lidar), kinds, tracks, tuple(row[3] for row in rows))

    def _add(self, number: int, item: ElementTree.Element) -> None:
        kind = item.findtext("objectType") or UNKNOWN_LABEL
        height, width, length = (_number(item, name) for name in "hwl")
        first = int(_number(item, "first_frame"))
        poses = item.find("poses")
        rows = []
        for offset, pose in enumerate([] if poses is None else poses.findall("item")):
            x, y, z, yaw = (_number(pose, name) for name in ("tx", "ty", "tz", "rz"))
            whole = pose.findtext("occlusion") == _VISIBLE and pose.findtext("truncation") == _IN_IMAGE
            rows.append((first + offset, [x, y, z + height / 2, length, width, height, yaw], whole))
        values = np.array([row for _, row, _ in rows], np.float64).reshape(-1, 7)
        if not np.isfinite(values).all() or (values[:, 3:6] <= 0).any() or np.abs(values).max(initial=0.0) > 1e6:
            raise ValueError("places and sizes make no boxes")
        for frame, row, whole in rows:
            self._frames[frame].append((kind, f"{number}", row, 1.0 if whole else float("nan")))


def velocities(
    frame: int, labels: Callable[[int], FrameObjects | None], poses: Mapping[int, Matrix], stamps: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(N, 2) velocities over ground in m/s along the axes of ``base_link``, from the frames before and after.

    Args:
        frame: index of the frame.
        labels: gives the objects of a frame.
        poses: frame -> (4, 4) ``odom`` <- ``base_link``.
        stamps: stamp of each frame in nanoseconds.

    Returns:
        NaN for an object that is seen in one frame only, and where poses are unknown.
    """
    objects = labels(frame)
    count = 0 if objects is None else len(objects.types)
    found = np.full((count, 2), np.nan)
    if objects is None or not any(objects.track_ids) or frame not in poses:
        return found
    around = {}
    for other in (frame - 1, frame, frame + 1):
        there = labels(other) if other in poses else None
        if there is not None:
            placed = there.boxes.moved(poses[other]).centers
            around[other] = dict(zip(there.track_ids, placed, strict=True))
    for row, name in enumerate(objects.track_ids):
        seen = [other for other in around if name in around[other]]
        first, last = seen[0], seen[-1]
        if first < last and stamps[last] > stamps[first]:
            moved = around[last][name] - around[first][name]
            found[row] = (poses[frame][:3, :3].T @ moved)[:2] / ((stamps[last] - stamps[first]) * 1e-9)
    return found


def _number(item: Any, name: str) -> float:
    text = item.findtext(name)
    if text is None:
        raise ValueError(f"it has no {name}")
    return float(text)


def _parsed(path: Path, tracking: bool, faults: FaultLog) -> list[KittiObject]:
    found = []
    for number, line in enumerate(read_file(path).decode("utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found.append(parse_line(line, tracking))
        except ValueError as error:
            faults.add(str(path), "label", f"line {number} is left out: {error}")
    return found


def _frame_objects(lines: Iterable[KittiObject], track: Callable[[KittiObject], str]) -> FrameObjects:
    lines = list(lines)
    objects = [each for each in lines if each.labelled]
    return FrameObjects(
        boxes_from(objects, T_BASE_CAMERA0),
        tuple(each.type for each in objects),
        tuple(map(track, objects)),
        tuple(each.visibility for each in objects),
        tuple(each.window for each in lines if not each.labelled),
    )

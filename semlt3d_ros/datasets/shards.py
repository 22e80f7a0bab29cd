"""Training frames on disk: rendered or imported once, read many times through memory maps.

A shard is a folder: ``images.npy`` (N, V, H, W, 3) uint8, ``points.npy`` (P, 3) in the ego frame of all frames one
after the other (see ``shard_points``), and ``frames.npz`` with everything else, labels ragged in the same way; where
asked for, ``regions.npy`` (R, S, S, 3) uint8 holds image regions of the objects, ``regions.npz`` says whose. It is
written next to its place and renamed, so a shard that is there is whole.

All frames have room for every camera of the rig; which are there, whether a frame has labels at all, what their classes
are called and where they are complete is kept with them. Shards that say nothing of it have every camera, and complete
labels of the default classes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import CameraView, Frame, Labels, PointCloud
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.datasets.shard_points import check_points, read_points, write_points, write_positions

SHARD_SUFFIX = ".shard"
_LABEL_KEYS = ("centers", "sizes", "yaw", "velocity", "class_ids", "lidar_points", "visible_pixels")
_WINDOW = 20
"""Numbers of a window: pose and bounds."""


@dataclass(frozen=True)
class FrameRegions:
    """Image regions of a frame's objects.

    Attributes:
        crops: (R, S, S, 3) uint8 RGB.
        labels: (R,) int64, which of the frame's labels each shows; ascending.
    """

    crops: NDArray[np.uint8]
    labels: NDArray[np.int64]


def write_shard(
    path: Path,
    frames: Iterable[Frame],
    sequences: Sequence[int],
    point_limit: int | None = None,
    regions: Sequence[FrameRegions] | None = None,
) -> None:
    """Write frames of one rig as a shard.

    Args:
        path: the folder to create, by convention ``NAME.shard``; its parents are created too.
        frames: frames of the same cameras, some of which may be missing, and of one image size, without distortion.
            Where a frame has no ego pose or no labels, it comes back without. Consumed one at a time.
        sequences: one number per frame; frames of a drive share it and follow each other.
        point_limit: points kept per frame, with intensity, time and class, see ``shard_points``; None keeps the
            positions alone of an even subsample, which is what the student's losses need.
        regions: image regions of each frame's objects, all of one size; read when ``frames`` is consumed.

    Raises:
        ConfigurationError: the folder exists, there is no frame, or frames do not fit together.
    """
    path = Path(path)
    if path.exists():
        raise ConfigurationError(f"{path} exists already; remove it to write it anew")
    with whole(path, folder=True) as draft:
        _write(draft, list(frames), np.asarray(sequences, np.int64), point_limit)
        if regions is not None:
            _write_regions(draft, regions, len(sequences))


def _write(folder: Path, frames: list[Frame], sequences: NDArray[np.int64], point_limit: int | None) -> None:
    if not frames or len(sequences) != len(frames):
        raise ConfigurationError(f"a shard needs frames and one sequence number each, not {len(frames)} frames")
    names = _camera_names(frames)
    shape = _image_shape(frames)
    images = np.zeros((len(frames), len(names), *shape), np.uint8)
    present = np.zeros((len(frames), len(names)), np.bool_)
    stamps = np.zeros((len(frames), 1 + len(names)), np.int64)
    K, poses = np.tile(np.eye(3), (*present.shape, 1, 1)), np.tile(np.eye(4), (*present.shape, 1, 1))
    for row, frame in enumerate(frames):
        stamps[row, 0] = frame.stamp
        for view in frame.views:
            at = row, names.index(view.name)
            images[at], present[at], K[at], poses[at] = view.image, True, view.camera.K, view.T_ego_camera
            stamps[row, 1 + at[1]] = view.stamp
    np.save(folder / "images.npy", images)
    clouds = [PointCloud(np.zeros((0, 3), np.float32)) if frame.points is None else frame.points for frame in frames]
    point_ends = write_positions(folder, clouds) if point_limit is None else write_points(folder, clouds, point_limit)
    class_names = tuple(dict.fromkeys(name for frame in frames if frame.labels for name in frame.labels.class_names))
    labels = [_in_terms_of(class_names, frame.labels) for frame in frames]
    unknown = np.full((4, 4), np.nan)
    windows: dict[str, Any] = {
        **_windows("labelled_windows", [frame.region.windows for frame in frames]),
        **_windows("left_out", [frame.region.left_out for frame in frames]),
    }
    np.savez(
        folder / "frames.npz",
        names=np.array(names),
        sequences=sequences,
        stamps=stamps,
        present=present,
        K=K,
        T_ego_camera=poses,
        T_world_ego=np.array([unknown if frame.T_world_ego is None else frame.T_world_ego for frame in frames]),
        point_ends=point_ends,
        labelled=np.array([frame.labels is not None for frame in frames]),
        class_names=np.array(class_names, dtype=np.str_),
        label_ends=np.cumsum([len(label.boxes) for label in labels]),
        track_ids=np.array([track for label in labels for track in label.track_ids], dtype=np.str_),
        centers=np.concatenate([label.boxes.centers for label in labels]),
        sizes=np.concatenate([label.boxes.sizes for label in labels]),
        yaw=np.concatenate([label.boxes.yaw for label in labels]),
        velocity=np.concatenate([label.boxes.velocity for label in labels]),
        class_ids=np.concatenate([label.class_ids for label in labels]),
        lidar_points=np.concatenate([label.lidar_points for label in labels]),
        visible_pixels=np.concatenate([label.visible_pixels for label in labels]),
        region_range=np.array([frame.region.range_m for frame in frames]),
        **windows,
    )


def _camera_names(frames: Sequence[Frame]) -> list[str]:
    """The cameras of a rig in its order: those of the frame with the most, or whose frame says which it lacks."""
    rigs = [{*(view.name for view in frame.views), *frame.missing} for frame in frames]
    fullest = max(frames, key=lambda frame: len(frame.views))
    names = [view.name for view in fullest.views]
    names += [name for name in fullest.missing if name not in names]
    if any(rig != set(names) for rig in rigs):
        raise ConfigurationError("the frames of a shard must be of the same cameras")
    return names


def _image_shape(frames: Sequence[Frame]) -> tuple[int, ...]:
    views = [view for frame in frames for view in frame.views]
    if not views:
        return 1, 1, 3
    if len({view.image.shape for view in views}) != 1 or not all(view.camera.is_pinhole for view in views):
        raise ConfigurationError("the images of a shard must have one size and no distortion")
    return views[0].image.shape


def _in_terms_of(class_names: tuple[str, ...], labels: Labels | None) -> Labels:
    if labels is None:
        return Labels(Boxes3D.empty(), np.zeros(0, np.int64), class_names=class_names)
    return labels.as_classes([class_names.index(name) for name in labels.class_names], class_names)


def _windows(name: str, windows: Sequence[Sequence[ViewWindow]]) -> dict[str, NDArray]:
    """Windows of all frames one after the other, and where those of each frame end."""
    rows = [
        [*window.T_ego_camera.reshape(-1), window.left, window.top, window.right, window.bottom]
        for each in windows
        for window in each
    ]
    return {
        name: np.array(rows, np.float64).reshape(-1, _WINDOW),
        f"{name}_ends": np.cumsum([len(each) for each in windows]),
    }


def _write_regions(folder: Path, regions: Sequence[FrameRegions], frames: int) -> None:
    if len(regions) != frames:
        raise ConfigurationError(f"a shard of {frames} frames needs the regions of each, not of {len(regions)}")
    np.save(folder / "regions.npy", np.concatenate([region.crops for region in regions]))
    ends = np.cumsum([len(region.labels) for region in regions])
    np.savez(folder / "regions.npz", ends=ends, labels=np.concatenate([region.labels for region in regions]))


class _Shard:
    """One shard. Its arrays are opened when they are read: a file stays open as long as its memory map does, and a data
    set has more shards than a process may have files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._count = len(self._opened("images.npy"))
            check_points(path)
            with np.load(path / "frames.npz") as archive:
                self.rest: dict[str, Any] = {key: archive[key] for key in archive.files}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ConfigurationError(f"{path} is not a readable shard ({error}); write it anew") from error
        self.names = [str(name) for name in self.rest["names"]]
        self._regions: tuple[NDArray, NDArray] | None = None
        if (path / "regions.npz").exists():
            with np.load(path / "regions.npz") as archive:
                self._regions = archive["ends"], archive["labels"]

    def _opened(self, name: str) -> NDArray:
        array: NDArray = np.load(self._path / name, mmap_mode="r")
        return array

    def __len__(self) -> int:
        return self._count

    def frame(self, index: int) -> Frame:
        rest = self.rest
        images = np.array(self._opened("images.npy")[index])
        height, width = images.shape[1:3]
        stamps = rest["stamps"][index]
        present = rest["present"][index] if "present" in rest else np.ones(len(self.names), np.bool_)
        views = tuple(
            CameraView(
                name,
                int(stamps[1 + v]),
                images[v],
                CameraModel(width, height, rest["K"][index, v]),
                rest["T_ego_camera"][index, v],
            )
            for v, name in enumerate(self.names)
            if present[v]
        )
        missing = tuple(name for name, there in zip(self.names, present, strict=True) if not there)
        first, last = _span(rest["point_ends"], index)
        points = read_points(self._path, first, last, index)
        pose = rest["T_world_ego"][index]
        ego = pose if np.isfinite(pose).all() else None
        return Frame(int(stamps[0]), views, missing, ego, points, self.labels(index), self.region(index))

    def region(self, index: int) -> LabelledRegion:
        if "region_range" not in self.rest:
            return LabelledRegion()
        windows, left_out = (self._windows(name, index) for name in ("labelled_windows", "left_out"))
        return LabelledRegion(windows, left_out, float(self.rest["region_range"][index]))

    def _windows(self, name: str, index: int) -> tuple[ViewWindow, ...]:
        first, last = _span(self.rest[f"{name}_ends"], index)
        rows = self.rest[name][first:last]
        return tuple(ViewWindow(row[:16].reshape(4, 4), *map(float, row[16:])) for row in rows)

    def regions(self, index: int) -> FrameRegions:
        if self._regions is None:
            return FrameRegions(np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.int64))
        ends, labels = self._regions
        first, last = _span(ends, index)
        return FrameRegions(np.array(self._opened("regions.npy")[first:last]), labels[first:last])

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(map(str, self.rest["class_names"])) if "class_names" in self.rest else CLASS_NAMES

    def labels(self, index: int) -> Labels | None:
        if "labelled" in self.rest and not self.rest["labelled"][index]:
            return None
        first, last = _span(self.rest["label_ends"], index)
        centers, sizes, yaw, velocity, class_ids, lidar_points, visible = (
            self.rest[key][first:last] for key in _LABEL_KEYS
        )
        tracks = tuple(str(track) for track in self.rest["track_ids"][first:last])
        boxes = Boxes3D(centers, sizes, yaw, velocity)
        return Labels(boxes, class_ids, tracks, lidar_points, visible, self.class_names)


def _span(ends: NDArray[np.int64], index: int) -> tuple[int, int]:
    return (int(ends[index - 1]) if index else 0), int(ends[index])


class ShardDataset:
    """Random access to the frames of many shards."""

    def __init__(self, paths: Sequence[Path | str]) -> None:
        """``paths`` are shards, or folders that hold shards, taken in the order of their names.

        Raises:
            ConfigurationError: a path holds no shard, or one that cannot be read.
        """
        self._shards = [_Shard(shard) for path in paths for shard in _shards_of(Path(path))]
        self._ends = np.cumsum([len(shard) for shard in self._shards])
        self.sequences: NDArray[np.int64] = np.concatenate([shard.rest["sequences"] for shard in self._shards])
        """(N,) number of the drive each frame belongs to."""
        self.class_lists = list(dict.fromkeys(shard.class_names for shard in self._shards))
        """Every list of class names that labels are given in."""

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Frame:
        """Frame ``index`` with images, points and labels; distortion-free cameras."""
        shard, local = self._locate(index)
        return shard.frame(local)

    def labels(self, index: int) -> Labels | None:
        """The labels of frame ``index`` alone, without touching its images."""
        shard, local = self._locate(index)
        return shard.labels(local)

    def regions(self, index: int) -> FrameRegions:
        """The image regions of frame ``index``'s objects; none where none were stored."""
        shard, local = self._locate(index)
        return shard.regions(local)

    def _locate(self, index: int) -> tuple[_Shard, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self._shards[number], index - int(self._ends[number] - len(self._shards[number]))


def _shards_of(path: Path) -> list[Path]:
    if path.suffix == SHARD_SUFFIX and path.is_dir():
        return [path]
    found = sorted(path.glob(f"*{SHARD_SUFFIX}"))
    if not found:
        raise ConfigurationError(
            f"{path} holds no shards (folders named *{SHARD_SUFFIX}); generate or import some first"
        )
    return found

"""Objects cut out of labelled clouds, to be pasted into others.

A bank is a folder of blocks, each of some drives and one ``.npz`` file that is written whole or not at all, so that
collecting goes on where it was interrupted, and finds what is there.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame, Labels, PointCloud
from semlt3d_ros.core.outputs import whole

_BLOCK = 20
_MARGIN = 0.05
_MOST_POINTS = 3000


@dataclass(frozen=True)
class ObjectBank:
    """K objects with P points in all.

    Attributes:
        class_names: (C,) the classes.
        seen: (C,) int64 objects of each class that were seen, whether they are here or not.
        class_ids: (K,) int64.
        centers, sizes: (K, 3) float64 of the boxes, metres, in the ego frame that each was seen in.
        yaw: (K,) float64. velocity: (K, 2) float64, m/s in that frame.
        light: (K,) float64 mean intensity of the cloud that each is from, NaN without.
        density: (K,) int64 points that this cloud had in its last turn.
        ends: (K,) int64 where the points of each end.
        xyz: (P, 3) float32 in that ego frame. intensity: (P,) float32. time: (P,) float32 seconds, 0 or before.
    """

    class_names: NDArray[np.str_]
    seen: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    centers: NDArray[np.float64]
    sizes: NDArray[np.float64]
    yaw: NDArray[np.float64]
    velocity: NDArray[np.float64]
    light: NDArray[np.float64]
    density: NDArray[np.int64]
    ends: NDArray[np.int64]
    xyz: NDArray[np.float32]
    intensity: NDArray[np.float32]
    time: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.class_ids)

    def points(self, number: int) -> slice:
        """Where the points of an object are."""
        return slice(int(self.ends[number - 1]) if number else 0, int(self.ends[number]))

    @classmethod
    def joined(cls, banks: Sequence[ObjectBank]) -> ObjectBank:
        """All objects of one or more banks of the same classes.

        Raises:
            ConfigurationError: there is none, or their classes differ.
        """
        if not banks or any(list(bank.class_names) != list(banks[0].class_names) for bank in banks):
            raise ConfigurationError("banks of objects can be joined where there are any, and all of the same classes")
        offsets = np.cumsum([0] + [len(bank.xyz) for bank in banks])
        values = {entry.name: np.concatenate([getattr(bank, entry.name) for bank in banks]) for entry in fields(cls)}
        values["ends"] = np.concatenate([bank.ends + offset for bank, offset in zip(banks, offsets, strict=False)])
        values["seen"] = np.sum([bank.seen for bank in banks], axis=0)
        values["class_names"] = banks[0].class_names
        return cls(**values)


def collected(
    folder: Path,
    drives: Sequence[Sequence[int]],
    frame: Callable[[int], Frame],
    per_class: int = 400,
    fewest: int = 5,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> ObjectBank:
    """The objects of the last frame of each drive, with their points of the frames before.

    Args:
        folder: where the bank is kept; blocks that are there already are taken as they are, so each selection of frames
            needs a folder of its own.
        drives: numbers of the frames of drives, in order of time.
        frame: gives a frame by its number, with points and labels of one list of classes.
        per_class: about as many objects are kept of each class at most.
        fewest: objects with fewer points in the last frame are left out.
        progress: called with the number of drives that are done and their number.

    Raises:
        ConfigurationError: a block cannot be read, or the frames are of different classes.
    """
    blocks = [drives[first : first + _BLOCK] for first in range(0, len(drives), _BLOCK)]
    share = -(-per_class // max(1, len(blocks)))
    banks = []
    for number, block in enumerate(blocks):
        path = folder / f"objects-{number:05d}.npz"
        if not path.exists():
            found = [objects_of([frame(index) for index in drive], fewest) for drive in block]
            bank = _fewer(ObjectBank.joined([each for each in found if each is not None]), share)
            with whole(path) as draft:
                np.savez(draft, **{entry.name: getattr(bank, entry.name) for entry in fields(bank)})
        banks.append(_read(path))
        progress(min(len(drives), (number + 1) * _BLOCK), len(drives))
    return ObjectBank.joined(banks)


def objects_of(frames: Sequence[Frame], fewest: int) -> ObjectBank | None:
    """The objects of the last of frames that follow each other, each with its points in all of them.

    Points of earlier frames are those in the object's box of then, as the cloud of now shows them: behind it, where it
    moves. None where the last frame has no labels or no points.
    """
    now = frames[-1]
    if now.labels is None or now.points is None:
        return None
    labels, cloud = now.labels, now.points
    seen = np.bincount(labels.class_ids[labels.class_ids >= 0], minlength=len(labels.class_names))
    parts: list[PointCloud] = []
    chosen: list[int] = []
    for row in np.flatnonzero(labels.class_ids >= 0):
        own = _on(labels.boxes[row : row + 1], cloud)
        if len(own) < fewest:
            continue
        past = [_then(now, frame, labels.track_ids[row]) for frame in frames[:-1]]
        together = PointCloud.joined([_complete(own), *(part for part in past if part is not None)])
        parts.append(together[:: -(-len(together) // _MOST_POINTS)])
        chosen.append(int(row))
    return _bank(labels[np.array(chosen, np.int64)], seen, cloud, parts)


def _bank(labels: Labels, seen: NDArray[np.int64], cloud: PointCloud, parts: list[PointCloud]) -> ObjectBank:
    boxes, count = labels.boxes, len(labels.boxes)
    joined = PointCloud.joined([_complete(PointCloud(np.zeros((0, 3), np.float32))), *parts])
    assert joined.intensity is not None and joined.time is not None
    light = np.nan if cloud.intensity is None or not len(cloud) else float(cloud.intensity.mean())
    return ObjectBank(
        class_names=np.array(labels.class_names, dtype=np.str_),
        seen=seen,
        class_ids=labels.class_ids,
        centers=boxes.centers,
        sizes=boxes.sizes,
        yaw=boxes.yaw,
        velocity=boxes.velocity,
        light=np.full(count, light),
        density=np.full(count, len(cloud)),
        ends=np.cumsum([len(part) for part in parts], dtype=np.int64),
        xyz=joined.xyz,
        intensity=joined.intensity,
        time=joined.time,
    )


def _then(now: Frame, then: Frame, track: str) -> PointCloud | None:
    """The points of a tracked object in an earlier frame, in the ego frame of now."""
    if then.labels is None or then.points is None or then.T_world_ego is None or now.T_world_ego is None:
        return None
    rows = [row for row, name in enumerate(then.labels.track_ids) if name == track]
    if not rows:
        return None
    cloud = _complete(_on(then.labels.boxes[np.array(rows[:1])], then.points))
    T_now_then = rigid.inverse(now.T_world_ego) @ then.T_world_ego
    assert cloud.time is not None
    time = cloud.time + np.float32((then.stamp - now.stamp) / 1e9)
    return PointCloud(rigid.apply(T_now_then, cloud.xyz).astype(np.float32), cloud.intensity, time)


def _on(box: Boxes3D, cloud: PointCloud) -> PointCloud:
    """The points in one box."""
    reach = np.float32(np.linalg.norm(box.sizes[0]) / 2 + 2 * _MARGIN)
    near = np.flatnonzero((np.abs(cloud.xyz - box.centers[0].astype(np.float32)) < reach).all(axis=1))
    return cloud[near[box.contains(cloud.xyz[near], _MARGIN)[0]]]


def _complete(cloud: PointCloud) -> PointCloud:
    """A cloud with intensity and time; what classes say is known here anyway."""
    nothing = np.zeros(len(cloud), np.float32)
    intensity = nothing if cloud.intensity is None else cloud.intensity
    return PointCloud(cloud.xyz, intensity, nothing if cloud.time is None else cloud.time)


def _fewer(bank: ObjectBank, per_class: int) -> ObjectBank:
    """At most so many objects of each class, evenly from all drives."""
    kept: list[int] = []
    for class_id in range(len(bank.class_names)):
        own = np.flatnonzero(bank.class_ids == class_id)
        kept += own[np.linspace(0, len(own) - 1, min(len(own), per_class)).astype(np.int64)].tolist()
    return _chosen(bank, np.array(sorted(kept), np.int64))


def _chosen(bank: ObjectBank, rows: NDArray[np.int64]) -> ObjectBank:
    places = [np.arange(bank.points(int(row)).start, bank.points(int(row)).stop) for row in rows]
    points = np.concatenate([np.zeros(0, np.int64), *places])
    ends = np.cumsum([len(place) for place in places], dtype=np.int64)
    of_objects = ("class_ids", "centers", "sizes", "yaw", "velocity", "light", "density")
    values = {name: getattr(bank, name)[rows] for name in of_objects}
    values |= {name: getattr(bank, name)[points] for name in ("xyz", "intensity", "time")}
    return ObjectBank(class_names=bank.class_names, seen=bank.seen, ends=ends, **values)


def _read(path: Path) -> ObjectBank:
    try:
        with np.load(path) as archive:
            return ObjectBank(**{entry.name: archive[entry.name] for entry in fields(ObjectBank)})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"{path} holds no objects ({error}); remove it to collect them anew") from error

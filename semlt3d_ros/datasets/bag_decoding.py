"""Bags that are decoded once, to the student's images, into shards.

A bag's shards lie in a folder of their own with ``bag.json``, which says what became of its messages. The folder is
written as a whole, so that an interrupted run goes on with the bag that it was at.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.samples import read_samples
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.core.frame import Frame, SampleInfo
from semlt3d_ros.core.outputs import whole, write_whole
from semlt3d_ros.datasets.bag_jobs import INDEX_NAME, BagJob
from semlt3d_ros.datasets.shards import SHARD_SUFFIX, write_shard
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.messages import topics
from semlt3d_ros.sensing.finisher import BuilderConfig
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import Rig, load_rig, rig_from_topics

_SHARD_BYTES = 96 << 20
_POINT_BYTES = 20
_LONGEST_GAP_S = 2.0

Progress = Callable[[float], None]
"""Called with the share, in [0, 1], of the bag that is done."""


def decode_bag(job: BagJob, progress: Progress = lambda share: None) -> None:
    """Write the frames of a bag.

    Frames that follow each other share a number, which changes where the memory has to start anew: after a jump or a
    gap of time, where another scene begins, and for every frame that has no ego pose.

    Raises:
        ConfigurationError: it is no bag, its cameras are not found, or there is no room.
    """
    try:
        with whole(job.folder, folder=True, durable=False) as draft:
            if job.is_done:  # another process was faster
                raise _AlreadyThere
            with BagSource(job.bag) as source:
                _decode(job, source, draft, progress)
    except _AlreadyThere:
        pass


class _AlreadyThere(Exception):
    pass


def _decode(job: BagJob, source: BagSource, folder: Path, progress: Progress) -> None:
    reading = _Reading(job, source)
    limit = job.spec.cloud_points
    count = sum(_write_shard(folder, number, part, limit) for number, part in enumerate(reading.parts(progress)))
    values = {
        "bag": job.bag.name,
        "frames": count,
        "left_out": dict(reading.left_out),
        "data_sets": sorted({name for name, _ in reading.scenes}),
        "scenes": [scene for _, scene in reading.scenes],
        "faults": [fault.to_json() for fault in reading.faults()],
    }
    write_whole(folder / INDEX_NAME, json.dumps(values, indent=1))


@dataclass
class _Stretch:
    """Frames with the number of the stretch that each belongs to."""

    frames: list[Frame] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


class _Reading:
    def __init__(self, job: BagJob, source: BagSource) -> None:
        self._job, self._source = job, source
        rig = rig_for(job.spec, source)
        labelled = job.spec.labelled
        if labelled and rig.labels_topic not in source.topics:
            raise ConfigurationError(
                f"{job.bag} has no ground truth to learn from: there is no topic {rig.labels_topic}; it has "
                f"{', '.join(sorted(source.topics)) or 'no topics'}"
            )
        self._builder = FrameBuilder(rig, job.image_spec, with_points=True, with_labels=labelled)
        self._unread = FaultLog()
        self._samples = read_samples(source, self._unread)
        self._sample_stamps = sorted(self._samples)
        self.left_out: Counter[str] = Counter()
        self.scenes: dict[tuple[str, str], None] = {}
        self._stretch, self._scene = -1, ("", "")
        self._last: int | None = None
        self._tolerance = round(BuilderConfig().labels_tolerance_s * 1e9)

    def parts(self, progress: Progress) -> Iterator[_Stretch]:
        """All usable frames, as many at a time as a shard holds."""
        spec, part, size = self._job.image_spec, _Stretch(), 0
        for frame, number in self._frames(progress):
            part.frames.append(frame)
            part.numbers.append(number)
            size += (len(frame.views) + len(frame.missing)) * spec.width * spec.height * 3
            size += 0 if frame.points is None else len(frame.points) * _POINT_BYTES
            if size >= _SHARD_BYTES:
                yield part
                part, size = _Stretch(), 0
        if part.frames:
            yield part

    def faults(self) -> list[Fault]:
        """What of the bag could not be used."""
        found = FaultLog([*self._source.faults, *self._unread, *self._builder.faults])
        place = str(self._job.bag)
        for reason, count in self._builder.dropped_sets.items():
            found.add(place, reason, "sets of images were left out", count)
        return list(found)

    def _frames(self, progress: Progress) -> Iterator[tuple[Frame, int]]:
        source, builder = self._source, self._builder
        length, broken = max(source.end - source.start, 1), False
        for entry, message in decoded(source.messages(topics=list(builder.topics)), self._unread):
            progress((entry.stamp - source.start) / length)
            for frame in builder.add(entry.topic, entry.type_name, message):
                broken |= bool(builder.reset_before(frame))
                if self._is_wanted(frame):
                    yield self._numbered(frame, broken)
                    broken = False
        for frame in builder.flush():
            broken |= bool(builder.reset_before(frame))
            if self._is_wanted(frame):
                yield self._numbered(frame, broken)
                broken = False

    def _is_wanted(self, frame: Frame) -> bool:
        if frame.labels is None and self._job.spec.key_frames and self._job.spec.labelled:
            self.left_out["without ground truth"] += 1
            return False
        return True

    def _numbered(self, frame: Frame, broken: bool) -> tuple[Frame, int]:
        sample = self._sample_of(frame.stamp)
        if sample is not None:
            if self._job.spec.labelled:
                frame = replace(frame, region=sample.region)
            scene = sample.data_set, sample.scene
            broken |= scene != self._scene and self._last is not None
            self._scene = scene
            self.scenes[scene] = None
        late = self._last is not None and frame.stamp - self._last > _LONGEST_GAP_S * 1e9
        if self._last is None or broken or late or frame.T_world_ego is None:
            self._stretch += 1
        self._last = frame.stamp
        return frame, self._stretch

    def _sample_of(self, stamp: int) -> SampleInfo | None:
        place = bisect_left(self._sample_stamps, stamp - self._tolerance)
        near = self._sample_stamps[place : place + 1]
        return self._samples[near[0]] if near and near[0] <= stamp + self._tolerance else None


def rig_for(spec: DataSpec, source: BagSource) -> Rig:
    """The rig that a source's bags are read with.

    Raises:
        ConfigurationError: the rig file cannot be used, or no camera is found.
    """
    try:
        rig = load_rig(spec.rig) if spec.rig is not None else rig_from_topics(source.topics)
    except ConfigurationError as error:
        why = source.faults.reasons()
        raise ConfigurationError(f"{source.path}: {error}{'; ' + why if why else ''}") from error
    return replace(rig, labels_topic=spec.labels or rig.labels_topic or topics.TRUTH_LONG_TAIL)


def _write_shard(folder: Path, number: int, part: _Stretch, point_limit: int | None) -> int:
    write_shard(folder / f"{number:05d}{SHARD_SUFFIX}", part.frames, part.numbers, point_limit)
    return len(part.frames)

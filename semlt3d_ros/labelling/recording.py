"""A recording through a teacher: labels, classes of points, and what students learn from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import Semlt3dError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels, PointCloud
from semlt3d_ros.core.sweeps import Sweep, accumulated
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.inference.teacher_cache import TeacherCache, digest_of
from semlt3d_ros.labelling.clouds import CloudReader, Progress, SeenCloud, with_sweeps
from semlt3d_ros.labelling.consistent import Consistent, consistent
from semlt3d_ros.labelling.settings import LabelSettings
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_detection3d, encode_labels, encode_long_tail
from semlt3d_ros.messages.encode_colored import encode_colored_cloud
from semlt3d_ros.sensing.rig import Rig


@dataclass(frozen=True)
class LabelJob:
    """What is labelled, and how.

    Attributes:
        bag: the recording.
        out: the bag of labels.
        settings: how detections are made consistent.
        score: least confidence of a box that students are to take for an object.
        doubt: from this confidence on, up to ``score``, a box is neither an object nor background to them.
        cache: folder for what students learn from; None keeps nothing.
        cache_gib: at most so much of it.
        with_recording: write all of the recording into ``out`` too, so that it can be learnt from.
        overwrite: replace ``out``.
    """

    bag: Path
    out: Path
    settings: LabelSettings = field(default_factory=LabelSettings)
    score: float = 0.3
    doubt: float = 0.1
    cache: Path | None = None
    cache_gib: float = 20.0
    with_recording: bool = False
    overwrite: bool = False


@dataclass
class Labelled:
    """What came of it.

    Attributes:
        counts: ``clouds`` that were looked at, ``without_cloud`` frames, ``empty`` clouds, ``without_pose``,
            ``objects`` and ``doubted`` in the labels, clouds ``kept`` for students or ``known`` to them before, and
            those of ``Consistent``.
        faults: what could not be used.
    """

    counts: Counter[str]
    faults: FaultLog

    def to_json(self) -> dict[str, Any]:
        """For people and for JSON."""
        return {**self.counts, "faults": self.faults.to_json()}


def label_recording(
    job: LabelJob, detector: TeacherDetector, rig: Rig | None = None, progress: Progress = lambda done, of: None
) -> Labelled:
    """Label a recording.

    Raises:
        ConfigurationError: it has no cloud, cannot be read, or ``out`` cannot be written.
        Semlt3dError: nothing in it could be labelled.
    """
    with BagSource(job.bag) as source:
        reader = CloudReader(source, rig)
        with BagSink(job.out, overwrite=job.overwrite) as sink:
            pass_ = _Pass(job, detector, reader, sink)
            pass_.look(progress)
            if not pass_.counts["clouds"]:
                # Within the context: labels of an earlier run are worth more than none.
                reasons = FaultLog([*source.faults, *reader.faults]).reasons()
                none = f"{pass_.counts['without_cloud']} frames of images have no cloud near them in time"
                raise Semlt3dError(f"no cloud of {job.bag} could be labelled: {reasons or none}")
            pass_.write()
            if job.with_recording:
                for entry in source.messages(topics=sorted(source.topics.keys() - _WRITTEN)):
                    sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
        return Labelled(pass_.counts, FaultLog([*source.faults, *reader.faults]))


class _Pass:
    def __init__(self, job: LabelJob, detector: TeacherDetector, reader: CloudReader, sink: BagSink) -> None:
        self._job, self._detector, self._reader, self._sink = job, detector, reader, sink
        self._cache = None if job.cache is None else TeacherCache(job.cache, detector, job.cache_gib * 2**30)
        self._drives: list[list[tuple[SeenCloud, Detections]]] = []
        self.counts: Counter[str] = Counter()

    def look(self, progress: Progress) -> None:
        """Everything that is said of single clouds."""
        for cloud, past in with_sweeps(self._reader.clouds(progress), self._detector.config.sweeps):
            if cloud.points is None:
                self.counts["without_cloud"] += 1
                continue
            self.counts["clouds"] += 1
            self.counts["empty"] += not len(cloud.points)
            self.counts["without_pose"] += cloud.T_world_ego is None
            now, *before = (Sweep(each.points or _NOTHING, each.T_world_ego, each.stamp) for each in (cloud, *past))
            sight = self._detector.look(accumulated(now, before), cloud.stamp)
            if self._cache is not None and len(cloud.points):
                digest = digest_of(now, before)
                known = self._cache.knows(digest)
                self.counts["known" if known else "kept"] += 1
                if not known:
                    self._cache.keep(digest, sight)
            if not cloud.follows or not self._drives:
                self._drives.append([])
            self._drives[-1].append((replace(cloud, points=None), sight.detections))
            if sight.point_classes is not None:
                self._write_points(cloud.points, sight.point_classes[: len(cloud.points)], cloud.stamp)

    def _write_points(self, points: PointCloud, classes: NDArray[np.int16], stamp: int) -> None:
        names, frame = self._detector.config.point_classes, self._reader.base_frame
        message = encode_colored_cloud(points, classes, names, stamp, frame)
        self._sink.write(topics.TEACHER_POINTS, topics.POINT_CLOUD_TYPE, message, stamp)

    def write(self) -> None:
        """What the clouds of a drive say together."""
        families = [info.family for info in self._detector.classes.classes]
        for number, drive in enumerate(self._drives):
            found, poses = [said for _, said in drive], [cloud.T_world_ego for cloud, _ in drive]
            agreed = consistent(found, poses, families, self._job.settings, f"{number}.")
            self.counts += agreed.counts
            self._write(agreed)

    def _write(self, agreed: Consistent) -> None:
        base, sink = self._reader.base_frame, self._sink
        for said, names in zip(agreed.frames, agreed.track_ids, strict=True):
            labels = labels_of(said, names, self._job.score, self._job.doubt)
            self.counts["objects"] += int((labels.class_ids != ABSENT).sum())
            self.counts["doubted"] += int((labels.class_ids == ABSENT).sum())
            for topic, kind, message in (
                (topics.LONG_TAIL, topics.LONG_TAIL_TYPE, encode_long_tail(said, base, names)),
                (topics.DETECTIONS, topics.DETECTION_3D_TYPE, encode_detection3d(said, base, track_ids=names)),
                (topics.TEACHER_LABELS, topics.LONG_TAIL_TYPE, encode_labels(labels, said.stamp, base)),
            ):
                sink.write(topic, kind, message, said.stamp)


_WRITTEN = {topics.LONG_TAIL, topics.DETECTIONS, topics.TEACHER_LABELS, topics.TEACHER_POINTS}
"""What a recording has of these is of another run."""
_NOTHING = PointCloud(np.zeros((0, 3), np.float32))


def labels_of(said: Detections, names: tuple[str, ...], score: float, doubt: float) -> Labels:
    """Boxes as ground truth: of their class from ``score`` on, of none, so not judged, from ``doubt`` on."""
    kept = np.flatnonzero(said.scores >= doubt)
    kinds = np.where(said.scores[kept] >= score, said.class_ids[kept], ABSENT)
    return Labels(said.boxes[kept], kinds, tuple(names[row] for row in kept), class_names=said.class_names)

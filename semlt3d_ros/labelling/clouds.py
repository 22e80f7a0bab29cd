"""The clouds of a recording as a teacher looks at them: at the stamps of images, or without any, each at its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.messages import decode, topics
from semlt3d_ros.sensing.clouds import POINTS_REMEDY, placed_cloud
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.recorded_transforms import TRANSFORM_TOPICS, recorded_transforms
from semlt3d_ros.sensing.rig import Rig, rig_from_topics
from semlt3d_ros.sensing.transform_tree import TransformError

_IMAGES = ImageSpec(16, 8, 0.0)
"""Nobody looks at them, but they say when frames are."""
_LONGEST_GAP_S = 2.0

Progress = Callable[[int, int], None]


@dataclass
class SeenCloud:
    """A cloud in the ego frame.

    Attributes:
        stamp: what it was brought to, integer nanoseconds.
        T_world_ego: (4, 4) the ego pose, or None where nothing tells it.
        points: the cloud; None of a frame of images without one.
        follows: whether the cloud before it is of the same drive, at most two seconds before.
    """

    stamp: int
    T_world_ego: rigid.Matrix | None
    points: PointCloud | None
    follows: bool


class CloudReader:
    """The clouds of a bag.

    Args:
        source: the bag.
        rig: where everything is; None finds it by the names of the topics.

    Attributes:
        base_frame: the ego frame.
        faults: what could not be used.

    Raises:
        ConfigurationError: there is no cloud in the bag, or the rig has none.
    """

    def __init__(self, source: BagSource, rig: Rig | None = None) -> None:
        self._source, self.faults = source, FaultLog()
        self._rig = rig or _rig_of(source)
        clouds = [topic for topic, kind in source.topics.items() if kind == topics.POINT_CLOUD_TYPE]
        wanted = topics.POINTS if self._rig is None else self._rig.points_topic
        if wanted not in clouds and rig is None and len(clouds) == 1:
            wanted = clouds[0]
        if wanted not in clouds:
            have = f"it has {', '.join(clouds)}; name one in a rig file (points_topic)" if clouds else "it has none"
            place = wanted or "points_topic of the rig"
            raise ConfigurationError(f"{source.path}: no cloud to label on {place}: {have}")
        self._topic = wanted
        if self._rig is not None:
            self._rig = replace(self._rig, points_topic=wanted)
        self.base_frame = topics.BASE_FRAME if self._rig is None else self._rig.base_frame

    def clouds(self, progress: Progress) -> Iterator[SeenCloud]:
        """All of them, in order; ``progress`` is told of nanoseconds that are read, and of how many there are."""
        seen = self._alone(progress) if self._rig is None else self._of_frames(self._rig, progress)
        last: SeenCloud | None = None
        for cloud in seen:
            near = last is not None and 0 < cloud.stamp - last.stamp <= _LONGEST_GAP_S * 1e9
            both = last is not None and (last.T_world_ego is None) == (cloud.T_world_ego is None)
            last = replace(cloud, follows=cloud.follows and near and both)
            yield last

    def _of_frames(self, rig: Rig, progress: Progress) -> Iterator[SeenCloud]:
        builder = FrameBuilder(rig, _IMAGES, with_points=True)
        source, unread = self._source, self.faults

        def seen(frames: list[Any]) -> Iterator[SeenCloud]:
            for frame in frames:
                yield SeenCloud(frame.stamp, frame.T_world_ego, frame.points, not builder.reset_before(frame))

        for entry, message in decoded(source.messages(topics=list(builder.topics)), unread):
            progress(entry.stamp - source.start, source.end - source.start)
            yield from seen(builder.add(entry.topic, entry.type_name, message))
        yield from seen(builder.flush())
        self.faults.extend(builder.faults)
        for reason, count in builder.dropped_sets.items():
            self.faults.add(str(source.path), reason, "sets of images were left out", count)

    def _alone(self, progress: Progress) -> Iterator[SeenCloud]:
        """Of a bag without cameras: each cloud at its own stamp."""
        source = self._source
        moves = decoded(source.messages(topics=list(TRANSFORM_TOPICS)), self.faults)
        tree = recorded_transforms(((entry.topic, message) for entry, message in moves), self.faults)
        for entry, message in decoded(source.messages(topics=[self._topic]), self.faults):
            progress(entry.stamp - source.start, source.end - source.start)
            if entry.type_name != topics.POINT_CLOUD_TYPE:
                continue
            stamp = decode.stamp_of(message)
            try:
                T_ego_sensor = tree.lookup(self.base_frame, message.header.frame_id, stamp)
                cloud = placed_cloud(message, T_ego_sensor, stamp, self._topic, self.faults)
            except TransformError as error:
                self.faults.add(self._topic, "points_no_transform", f"{error}; {POINTS_REMEDY}")
                continue
            except InputRejected as error:
                self.faults.reject(self._topic, error)
                continue
            try:
                pose = tree.lookup(topics.FIXED_FRAME, self.base_frame, stamp)
            except TransformError:
                pose = None
            yield SeenCloud(stamp, pose, cloud, True)


def _rig_of(source: BagSource) -> Rig | None:
    """The rig of a bag with cameras; None of one without."""
    try:
        return rig_from_topics(source.topics)
    except ConfigurationError:
        if any(kind.endswith("Image") for kind in source.topics.values()):
            raise
        return None


def with_sweeps(clouds: Iterator[SeenCloud], sweeps: int) -> Iterator[tuple[SeenCloud, list[SeenCloud]]]:
    """Each cloud that is there, with the ``sweeps - 1`` before it in the same drive, the oldest first."""
    past: deque[SeenCloud] = deque(maxlen=max(sweeps - 1, 0) or None)
    for cloud in clouds:
        if not cloud.follows:
            past.clear()
        yield cloud, list(past) if sweeps > 1 else []
        if cloud.points is not None:
            past.append(cloud)

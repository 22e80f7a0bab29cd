"""What the messages of a rig hold: rates, stamps, calibrations, poses, points, labels; from a bag or live."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.messages.decode_geometry import stamp_of
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import Rig

PICTURE = ImageSpec(448, 252)
"""Large enough to see whether points lie on things, small enough to go through a long recording."""


@dataclass
class Arrivals:
    """When the messages of one topic were made and when they were recorded or received.

    Attributes:
        stamps: header stamps in nanoseconds, in the order of arrival.
        received: log times, or times of reception, in nanoseconds.
    """

    stamps: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def period_s(self) -> float | None:
        """Median time between two stamps; None where there are fewer than two different ones."""
        steps = np.diff(np.unique(self.stamps))
        return float(np.median(steps)) * 1e-9 if len(steps) else None

    @property
    def delay_s(self) -> float | None:
        """Median time from stamp to reception; None without messages."""
        if not self.stamps:
            return None
        return float(np.median(np.subtract(self.received, self.stamps))) * 1e-9


@dataclass(frozen=True)
class Moment:
    """One frame, without its images and points.

    Attributes:
        stamp: nanoseconds.
        cameras: names of the cameras that it has.
        T_world_ego: (4, 4) ego pose, or None.
        points: LiDAR points; None without a cloud.
        boxes: labelled boxes; None without labels.
    """

    stamp: int
    cameras: frozenset[str]
    T_world_ego: Matrix | None
    points: int | None
    boxes: int | None


class Survey:
    """Takes the messages of a rig, as they come, and remembers what a verdict needs. Not thread-safe.

    Attributes:
        builder: the frame builder that the messages go through, as they would in front of the detector.
        arrivals: by topic, of the messages that have a header.
        moments: the frames that came out.
        calibrations: by camera, how many different ones came.
        classes: labelled boxes by the name of their class; ``""`` counts those of none.
        sample: the newest of the frames that have most: cameras, points, labels. None without a frame.
        faults: what was wrong with messages; those of the builder after the end.
    """

    def __init__(self, rig: Rig) -> None:
        self.builder = FrameBuilder(rig, PICTURE, with_points=True, with_labels=True)
        self.arrivals: dict[str, Arrivals] = {topic: Arrivals() for topic in self.builder.topics}
        self.moments: list[Moment] = []
        self.classes: Counter[str] = Counter()
        self.sample: Frame | None = None
        self.faults = FaultLog()
        self._infos = {camera.info_topic: camera.name for camera in rig.cameras}
        self._calibrations: dict[str, set[bytes]] = {camera.name: set() for camera in rig.cameras}

    @property
    def rig(self) -> Rig:
        """The rig."""
        return self.builder.rig

    @property
    def calibrations(self) -> dict[str, int]:
        """By camera, how many different calibrations came."""
        return {name: len(found) for name, found in self._calibrations.items()}

    def add(self, topic: str, type_name: str, message: Any, received: int) -> None:
        """Take a message; ``received`` is its log time or when it was received, in nanoseconds."""
        if topic not in self.arrivals:
            return
        if hasattr(message, "header"):
            self.arrivals[topic].stamps.append(stamp_of(message))
            self.arrivals[topic].received.append(received)
        if topic in self._infos:
            self._calibrations[self._infos[topic]].add(np.asarray(message.k, np.float64).tobytes())
        self._keep(self.builder.add(topic, type_name, message))

    def poll(self, now: int) -> None:
        """Of a live stream: take what waits when it has stalled; ``now`` in nanoseconds of any one clock."""
        self._keep(self.builder.poll(now))

    def finish(self) -> None:
        """The stream has ended."""
        self._keep(self.builder.flush())
        self.faults.extend(self.builder.faults)

    def share_of(self, camera: str) -> float:
        """Share of the frames that a camera is in, in [0, 1]; 0 without a frame."""
        return sum(camera in moment.cameras for moment in self.moments) / max(len(self.moments), 1)

    def positions(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Where the vehicle was: seconds (N,), positions (N, 3) m in the fixed frame, rotations (N, 3, 3) from it."""
        known = [(moment.stamp, moment.T_world_ego) for moment in self.moments if moment.T_world_ego is not None]
        seconds = np.array([stamp for stamp, _ in known], np.float64) * 1e-9
        poses = np.array([pose for _, pose in known], np.float64).reshape(-1, 4, 4)
        return seconds, poses[:, :3, 3], poses[:, :3, :3]

    def _keep(self, frames: list[Frame]) -> None:
        for frame in frames:
            labels = frame.labels
            self.moments.append(
                Moment(
                    frame.stamp,
                    frozenset(view.name for view in frame.views),
                    frame.T_world_ego,
                    None if frame.points is None else len(frame.points),
                    None if labels is None else len(labels.boxes),
                )
            )
            if labels is not None:
                self.classes.update(labels.names)
            if self.sample is None or _content(frame) >= _content(self.sample):
                self.sample = frame


def _content(frame: Frame) -> tuple[int, bool, bool]:
    return len(frame.views), frame.points is not None, frame.labels is not None

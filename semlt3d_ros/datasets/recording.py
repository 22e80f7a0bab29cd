"""A drive of a data set on its way into a bag: what every importer writes, under this package's topics.

An importer gives a ``Recording``: where its sensors sit, and, instant by instant, what is to be written. A
``RecordingWriter`` turns that into messages and counts them, so that no importer knows a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels, PointCloud, SampleInfo
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.dataset_sample import encode_sample
from semlt3d_ros.messages.decode_geometry import StampedTransform
from semlt3d_ros.messages.encode import (
    encode_camera_info,
    encode_labels,
    encode_labels_detection3d,
    encode_odometry,
    encode_point_cloud,
    encode_transforms,
)
from semlt3d_ros.messages.typestore import message_class

UNKNOWN_LABEL = "other"
"""The label of boxes whose own label the data set's list does not have; label maps ignore it."""

_STAMPS_END = 2**31 * 1_000_000_000
"""ROS messages hold seconds as int32."""

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""


class ImportSummary(TypedDict, total=False):
    """What the import of one recording wrote.

    Keys:
        scene: the recording's name.
        bag: path of the bag.
        frames: synchronized sets, of which truth is given where the data set has any.
        images, sweeps, points: number of images, LiDAR sweeps and points in them.
        labelled: frames with truth.
        boxes: number of boxes by the data set's own label.
        boxes_unknown: number of boxes by label that the data set's list does not have; they are ``other`` in the bag.
        first_frame, frames_lost, boxes_duplicate: where an importer tells them: index of the first frame, frames of
            which nothing could be used, second boxes of the same objects that were left out.
    """

    scene: str
    bag: str
    frames: int
    images: int
    sweeps: int
    points: int
    labelled: int
    boxes: dict[str, int]
    boxes_unknown: dict[str, int]
    first_frame: int
    frames_lost: int
    boxes_duplicate: int


class Instant(NamedTuple):
    """What is written at one time; made when its turn comes, so that only one image is in memory.

    Attributes:
        stamp: nanoseconds.
        write: writes it; counts what it had to leave out itself.
    """

    stamp: int
    write: Callable[[RecordingWriter], None]


class Recording(Protocol):
    """One drive of a data set.

    Attributes:
        name: of the drive, as the data set calls it; a bag may be named after it.
        place: the folder or file it comes from, for messages.
        frames: how many synchronized sets it has.
        mounts: child frame (a camera's name, ``topics.LIDAR_FRAME``) -> ``base_link`` <- that frame.
        faults: what is missing, damaged or makes no sense, and was left out; grows while it is written.
    """

    name: str
    place: Path
    frames: int
    mounts: dict[str, Matrix]
    faults: FaultLog

    def instants(self) -> Iterable[Instant]:
        """In the order in which those of the same stamp are written: poses before what they place."""

    def finish(self, summary: ImportSummary) -> None:
        """All is written: add what only this data set tells."""


class RecordingWriter:
    """Writes what data sets give as this package's messages, each at its own stamp (nanoseconds), and counts it.

    All methods raise ConfigurationError where a stamp is no time in whole nanoseconds.
    """

    def __init__(self, sink: BagSink) -> None:
        self._sink = sink
        self.images = self.sweeps = self.points = self.labelled = 0
        self.boxes: Counter[str] = Counter()
        self.boxes_unknown: Counter[str] = Counter()

    @property
    def anything(self) -> bool:
        """Whether anything of a sensor or an annotator was written."""
        return bool(self.images or self.sweeps or self.labelled)

    def mounts(self, mounts: Mapping[str, Matrix], stamp: int) -> None:
        """Where the sensors sit: child frame -> (4, 4) ``base_link`` <- child."""
        stamp = _nanoseconds(stamp)
        placed = [StampedTransform(topics.BASE_FRAME, name, stamp, mount) for name, mount in mounts.items()]
        self._write(topics.TF_STATIC, encode_transforms(placed), stamp)

    def moving_mounts(self, stamp: int, mounts: Mapping[str, Matrix]) -> None:
        """The same for frames whose sensors sit differently from one to the next, each at its own stamp."""
        stamp = _nanoseconds(stamp)
        placed = [StampedTransform(topics.BASE_FRAME, name, stamp, mount) for name, mount in mounts.items()]
        self._write(topics.TF, encode_transforms(placed), stamp)

    def pose(self, stamp: int, T_odom_base: Matrix) -> None:
        """Where the vehicle is: (4, 4) ``odom`` <- ``base_link``; ``odom`` is any fixed frame of the data set."""
        stamp = _nanoseconds(stamp)
        placed = StampedTransform(topics.FIXED_FRAME, topics.BASE_FRAME, stamp, T_odom_base)
        self._write(topics.TF, encode_transforms([placed]), stamp)

    def odometry(
        self,
        stamp: int,
        T_odom_base: Matrix,
        linear: Iterable[float] = (0.0, 0.0, 0.0),
        angular: Iterable[float] = (0.0, 0.0, 0.0),
    ) -> None:
        """The vehicle's pose, its speed (3,) in m/s and turn rates (3,) in rad/s along the axes of ``base_link``."""
        stamp = _nanoseconds(stamp)
        self._write(topics.ODOMETRY, encode_odometry(T_odom_base, stamp, linear, angular), stamp)

    def image(self, name: str, stamp: int, content: bytes, camera: CameraModel) -> None:
        """A camera's JPEG or PNG, as it is, with its intrinsics; ``name`` is its frame and part of its topic.

        Raises:
            ConfigurationError: the name is none of a camera, as one with ``/`` in it.
        """
        stamp = _nanoseconds(stamp)
        if topics.default_type(topics.camera_image_topic(name)) is None:
            raise ConfigurationError(f"camera '{name}': its name is part of a topic and may hold no '/'; give another")
        self._write(topics.camera_info_topic(name), encode_camera_info(camera, stamp, name), stamp)
        message = message_class(topics.COMPRESSED_IMAGE_TYPE)(
            header=build_header(message_class, stamp, name),
            format="png" if content.startswith(b"\x89PNG") else "jpeg",
            data=np.frombuffer(content, np.uint8),
        )
        self._write(topics.camera_image_topic(name), message, stamp)
        self.images += 1

    def sweep(self, stamp: int, cloud: PointCloud, rings: NDArray[np.uint16] | None = None) -> None:
        """A LiDAR sweep in the frame ``lidar``.

        Args:
            stamp: nanoseconds; the times of the points are relative to it.
            cloud: the points.
            rings: (N,) which of the LiDAR's beams measured each point.
        """
        stamp = _nanoseconds(stamp)
        self._write(topics.POINTS, encode_point_cloud(cloud, stamp, topics.LIDAR_FRAME, rings=rings), stamp)
        self.sweeps += 1
        self.points += len(cloud)

    def truth(self, stamp: int, labels: Labels, sample: SampleInfo, unknown: Sequence[str] = ()) -> None:
        """The boxes of a frame, in ``base_link`` at the frame's stamp, and what the data set says of it besides.

        Args:
            stamp: of the frame: that of its anchor camera's image, which detections have as well.
            labels: in terms of the data set's own labels.
            sample: attributes and visibility of the same boxes, token, labelled region.
            unknown: the labels of those boxes that are written as ``other``.
        """
        frame, stamp = topics.BASE_FRAME, _nanoseconds(stamp)
        self._write(topics.TRUTH_LONG_TAIL, encode_labels(labels, stamp, frame), stamp)
        self._write(topics.TRUTH_OBJECTS, encode_labels_detection3d(labels, stamp, frame), stamp)
        self.sample(stamp, sample)
        self.labelled += 1
        self.boxes.update(name or "of no class" for name in labels.names)
        self.boxes_unknown.update(unknown)

    def sample(self, stamp: int, sample: SampleInfo) -> None:
        """What the data set says of a frame without truth, as those of test splits are."""
        stamp = _nanoseconds(stamp)
        self._write(topics.TRUTH_SAMPLE, encode_sample(sample, stamp, topics.BASE_FRAME), stamp)

    def _write(self, topic: str, message: Any, stamp: int) -> None:
        type_name = topics.default_type(topic)
        assert type_name is not None
        self._sink.write(topic, type_name, message, stamp)


@contextmanager
def recording_to(out: Path | str, overwrite: bool = False) -> Iterator[RecordingWriter]:
    """A writer of a new bag, for data of one's own; the bag takes its name when the context ends (see ``BagSink``).

    Args:
        out: ``NAME.mcap``, or the name of a bag folder.
        overwrite: replace a bag that is there.
    """
    with BagSink(out, overwrite=overwrite) as sink:
        yield RecordingWriter(sink)


def write_recording(
    recording: Recording, out: Path | str, *, overwrite: bool = False, progress: Progress = lambda done, total: None
) -> ImportSummary:
    """Write a recording as a bag, which appears under its name when it is complete (see ``BagSink``).

    Args:
        recording: the drive.
        out: ``NAME.mcap``, or the name of a bag folder.
        overwrite: replace a bag that is there.
        progress: called with how much is done and how much there is.

    Raises:
        ConfigurationError: nothing of it can be used, or the bag cannot be written.
    """
    with BagSink(out, overwrite=overwrite) as sink:
        writer = RecordingWriter(sink)
        instants = sorted(recording.instants(), key=lambda instant: instant.stamp)
        if instants:
            writer.mounts(recording.mounts, instants[0].stamp)
        for done, instant in enumerate(instants, start=1):
            instant.write(writer)
            progress(done, len(instants))
        summary = ImportSummary(
            scene=recording.name,
            bag=str(out),
            frames=recording.frames,
            images=writer.images,
            sweeps=writer.sweeps,
            points=writer.points,
            labelled=writer.labelled,
            boxes=dict(writer.boxes.most_common()),
            boxes_unknown=dict(writer.boxes_unknown.most_common()),
        )
        recording.finish(summary)
        if not writer.anything:
            why = recording.faults.reasons() or "it is empty"
            raise ConfigurationError(f"{recording.place}: nothing could be imported: {why}")
    return summary


def _nanoseconds(stamp: int) -> int:
    """A stamp as a plain integer, whatever kind of number it is."""
    if not 0 <= stamp < _STAMPS_END or stamp != int(stamp):
        raise ConfigurationError(
            f"stamp {stamp!r}: whole nanoseconds since 1970 are needed; convert what the files say"
        )
    return int(stamp)


def chosen_frames(frames: slice | range | None, count: int, place: Path | str, clip: bool = False) -> range:
    """The frames asked for, of ``count``; None for all.

    Args:
        frames: which.
        count: how many there are.
        place: the recording, for messages.
        clip: take those of them that there are, as recordings of unlike lengths call for.

    Raises:
        ConfigurationError: there are no such frames.
    """
    if frames is None:
        return range(count)
    bounds = [bound for bound in (frames.start, frames.stop) if bound is not None]
    chosen = range(count)[frames] if isinstance(frames, slice) else frames
    beyond = any(not -count <= bound <= count for bound in bounds)
    if (beyond and not clip) or not chosen or not 0 <= min(chosen) <= max(chosen) < count:
        asked = ":".join("" if bound is None else str(bound) for bound in (frames.start, frames.stop))
        raise ConfigurationError(f"{place}: there are no frames {asked}; the sequence has frames 0:{count}")
    return chosen

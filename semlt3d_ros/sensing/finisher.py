"""From a set of images to a frame: waits for the transforms, points and ground truth that belong to it."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.core.frame import CameraView, Frame, Labels, PointCloud
from semlt3d_ros.core.plausibility import check_mounting
from semlt3d_ros.messages import decode
from semlt3d_ros.sensing.assembler import AssembledSet
from semlt3d_ros.sensing.camera_input import PreparedImage
from semlt3d_ros.sensing.clouds import POINTS_REMEDY, placed_cloud
from semlt3d_ros.sensing.companions import Companions
from semlt3d_ros.sensing.rig import Rig
from semlt3d_ros.sensing.transform_tree import TransformError, TransformTree

_SECOND = 1_000_000_000

ImageSet = AssembledSet[PreparedImage]

_EGO_REMEDY = "publish it in time, or name another fixed_frame in the rig (null does without ego motion)"
_CAMERA_REMEDY = "publish it on /tf_static, or correct the camera's frame_id in the rig"


@dataclass(frozen=True)
class BuilderConfig:
    """How long things are waited for, in seconds of the images' stamps.

    Attributes:
        wait_s: longest wait of a set for transforms, points and ground truth.
        max_pending: sets that may wait; more end the wait of the oldest.
        points_tolerance_s: largest distance of a point cloud from the frame.
        labels_tolerance_s: largest distance of ground truth from the frame.
        stopped_after_s: a camera that the others go on without for this long counts as stopped.

    Raises:
        ConfigurationError: lists all values that do not fit.
    """

    wait_s: float = 0.5
    max_pending: int = 8
    points_tolerance_s: float = 0.06
    labels_tolerance_s: float = 0.001
    stopped_after_s: float = 1.0

    def __post_init__(self) -> None:
        faults = [
            f"{name} must be a positive number of seconds, not {getattr(self, name)}"
            for name in ("wait_s", "points_tolerance_s", "labels_tolerance_s", "stopped_after_s")
            if not 0 < getattr(self, name) < float("inf")
        ]
        if self.max_pending < 1:
            faults.append(f"max_pending must be at least 1, not {self.max_pending}")
        if faults:
            raise ConfigurationError("frames: " + "; ".join(faults))


@dataclass
class _Poses:
    """Where things are at a set's stamps, as far as it is known."""

    ego: rigid.Matrix | None = None
    cameras: dict[str, rigid.Matrix] = field(default_factory=dict)
    ego_fault: TransformError | None = None
    camera_faults: dict[str, TransformError] = field(default_factory=dict)
    misplaced: set[str] = field(default_factory=set)


class FrameFinisher:
    """Holds sets, in order, until they can become frames. Not thread-safe.

    Attributes:
        drops: images and clouds dropped, by reason: ``no_transform``, ``mounting``, ``points_no_transform``,
            ``cloud_far``, faults of messages.
        dropped_sets: sets dropped, by reason: ``no_transform``, ``mounting``.
        transform_faults: by camera, why its pose could not be looked up the last time, or is no camera's; absent if it
            could be used.
        mounting_doubts: by camera, what is most unlikely about its pose.
    """

    def __init__(
        self,
        rig: Rig,
        tree: TransformTree,
        min_cameras: int,
        points: Companions | None,
        labels: Companions | None,
        config: BuilderConfig,
        faults: FaultLog,
    ) -> None:
        """Set up for a rig; ``points`` and ``labels`` are None where frames need none; ``faults`` gets what is lost."""
        self.drops: Counter[str] = Counter()
        self.dropped_sets: Counter[str] = Counter()
        self.transform_faults: dict[str, Fault] = {}
        self.mounting_doubts: dict[str, Fault] = {}
        self._image_topics = {camera.name: camera.image_topic for camera in rig.cameras}
        self._rig = rig
        self._tree = tree
        self._min_cameras = min_cameras
        self._points = points
        self._labels = labels
        self._config = config
        self._faults = faults
        self._pending: deque[ImageSet] = deque()

    @property
    def pending(self) -> int:
        """Sets that wait."""
        return len(self._pending)

    @property
    def waiting(self) -> int:
        """Images of the sets that wait."""
        return sum(len(pending.images) for pending in self._pending)

    def add(self, assembled: ImageSet) -> list[Frame]:
        """Take a set; gives the frames that had to be finished first because time jumped or too many wait."""
        frames = self.resolve(assembled.stamp, final=True) if assembled.reset else []
        self._pending.append(assembled)
        while len(self._pending) > self._config.max_pending:
            head = self._pending.popleft()
            frames += self._finish(head, self._poses(head))
        return frames

    def resolve(self, newest: int | None, final: bool = False) -> list[Frame]:
        """Finish what can be finished.

        Args:
            newest: the newest stamp of the images.
            final: nothing more will come; finish everything with what is there.
        """
        frames: list[Frame] = []
        while self._pending:
            head = self._pending[0]
            expired = final or (newest is not None and newest >= head.stamp + self._config.wait_s * _SECOND)
            if not expired and self._lacks_companions(head):
                break
            poses = self._poses(head)
            if not expired and self._lacks_transforms(head, poses):
                break
            frames += self._finish(self._pending.popleft(), poses)
        return frames

    def _lacks_companions(self, pending: ImageSet) -> bool:
        both = (self._points, self._labels)
        return any(companions is not None and not companions.settled(pending.stamp) for companions in both)

    def _lacks_transforms(self, pending: ImageSet, poses: _Poses) -> bool:
        # A camera that was given up before does not hold up every further frame.
        news = [name for name in poses.camera_faults if name not in self.transform_faults]
        if poses.ego_fault or news:
            return True
        cloud = self._points.nearest(pending.stamp) if self._points else None
        if cloud is None:
            return False
        try:
            self._cloud_pose(cloud, pending.stamp)
        except TransformError as error:
            return error.reason == "transform_too_new"
        return False

    def _finish(self, pending: ImageSet, poses: _Poses) -> list[Frame]:
        for name in pending.images:
            self.transform_faults.pop(name, None)
        if poses.ego_fault:
            place = self._rig.odometry_topic or self._rig.tf_topic
            fault = Fault(place, poses.ego_fault.reason, f"{poses.ego_fault}; {_EGO_REMEDY}")
            self.transform_faults.update(dict.fromkeys(pending.images, fault))
            self._faults.extend([fault])
        else:
            self._judge(pending, poses)
        usable = 0 if poses.ego_fault else len(poses.cameras)
        points, labels = self._take_points(pending.stamp), self._take_labels(pending.stamp)
        if usable < self._min_cameras:
            self.drops["no_transform"] += len(pending.images) - len(poses.misplaced)
            self.drops["mounting"] += len(poses.misplaced)
            unknown = poses.ego_fault or poses.camera_faults
            self.dropped_sets["no_transform" if unknown else "mounting"] += 1
            return []
        self.drops["no_transform"] += len(poses.camera_faults)
        self.drops["mounting"] += len(poses.misplaced)
        views = tuple(
            CameraView(
                name, item.stamp, item.payload.image, item.payload.camera, poses.cameras[name], item.payload.whole
            )
            for name, item in pending.images.items()
            if name in poses.cameras
        )
        missing = tuple(name for name in self._rig.camera_names if name not in poses.cameras)
        return [Frame(pending.stamp, views, missing, poses.ego, points, labels)]

    def _judge(self, pending: ImageSet, poses: _Poses) -> None:
        """Tell what is wrong with the cameras' poses, and leave out those that no camera has."""
        faults = {name: Fault("", e.reason, f"{e}; {_CAMERA_REMEDY}") for name, e in poses.camera_faults.items()}
        height = float(np.median([pose[2, 3] for pose in poses.cameras.values()] or [0.0]))
        seats: dict[tuple[str, bytes], str] = {}
        for name, pose in poses.cameras.items():
            self.mounting_doubts.pop(name, None)
            frame_id = pending.images[name].payload.frame_id
            turn = pending.images[name].payload.T_camera_image
            first = seats.setdefault((frame_id, b"" if turn is None else turn.tobytes()), name)
            try:
                doubt = check_mounting(pose, height)
            except InputRejected as error:
                faults[name] = Fault("", error.reason, str(error))
                poses.misplaced.add(name)
                continue
            if first != name:
                remedy = "two cameras are not in one place; name the frame_id of each in the rig"
                doubt = f"its images are in frame '{frame_id}', as those of {first} are: {remedy}"
            if doubt:
                self.mounting_doubts[name] = Fault(self._image_topics[name], "implausible", doubt)
        for name in poses.misplaced:
            del poses.cameras[name]
        self.transform_faults.update({n: replace(f, place=self._image_topics[n]) for n, f in faults.items()})
        self._faults.extend(self.transform_faults[name] for name in faults)
        self._faults.extend(self.mounting_doubts[name] for name in poses.cameras if name in self.mounting_doubts)

    def _poses(self, pending: ImageSet) -> _Poses:
        poses, base, fixed = _Poses(), self._rig.base_frame, self._rig.fixed_frame
        if fixed is not None:
            try:
                poses.ego = self._tree.lookup(fixed, base, pending.stamp)
            except TransformError as error:
                poses.ego_fault = error
        for name, item in pending.images.items():
            try:
                pose = self._pose(item.payload.frame_id, item.stamp, pending.stamp)
                turn = item.payload.T_camera_image
                poses.cameras[name] = pose if turn is None else pose @ turn
            except TransformError as error:
                poses.camera_faults[name] = error
        return poses

    def _pose(self, frame_id: str, stamp: int, frame_stamp: int) -> rigid.Matrix:
        base, fixed = self._rig.base_frame, self._rig.fixed_frame
        if fixed is None:
            return self._tree.lookup(base, frame_id, stamp)
        return self._tree.lookup_between(base, frame_stamp, frame_id, stamp, fixed)

    def _cloud_pose(self, message: Any, frame_stamp: int) -> rigid.Matrix:
        return self._pose(message.header.frame_id, decode.stamp_of(message), frame_stamp)

    @property
    def _points_place(self) -> str:
        return self._rig.points_topic or "points"

    def _take_points(self, stamp: int) -> PointCloud | None:
        message = self._points.nearest(stamp) if self._points else None
        if self._points is None or message is None:
            return None
        self._points.release(stamp)
        try:
            T_ego_sensor = self._cloud_pose(message, stamp)
            return placed_cloud(message, T_ego_sensor, stamp, self._points_place, self._faults)
        except TransformError as error:
            self.drops["points_no_transform"] += 1
            self._faults.add(self._points_place, "points_no_transform", f"{error}; {POINTS_REMEDY}")
        except InputRejected as error:
            self.drops[error.reason] += 1
            self._faults.reject(self._points_place, error)
        return None

    def _take_labels(self, stamp: int) -> Labels | None:
        message = self._labels.nearest(stamp) if self._labels else None
        if self._labels is None or message is None:
            return None
        self._labels.release(stamp)
        try:
            return decode.decode_labels(message, self._faults, self._rig.labels_topic or "labels")[0]
        except InputRejected as error:
            self.drops[error.reason] += 1
            self._faults.reject(self._rig.labels_topic or "labels", error)
            return None

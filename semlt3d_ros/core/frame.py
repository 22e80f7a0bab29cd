"""One instant of a drive: what the sensors saw, where they were, and (in training data) what was there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.core.point_classes import UNKNOWN
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.core.taxonomy import CLASS_NAMES


@dataclass(frozen=True)
class WholeImage:
    """A camera's image before it was prepared for a model, for those who look closer.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        camera: intrinsics that belong to it, lens distortion included.
    """

    image: NDArray[np.uint8]
    camera: CameraModel


@dataclass
class CameraView:
    """One camera's part of a frame.

    Attributes:
        name: the camera's name in the rig, such as ``"CAM_FRONT"``.
        stamp: exposure time, integer nanoseconds.
        image: (H, W, 3) uint8, RGB.
        camera: intrinsics that belong to ``image`` as it is (after any scaling and cropping).
        T_ego_camera: (4, 4) the camera's optical frame at *its* stamp to the ego frame at the *frame's* stamp, so the
            ego motion between the two is already in it.
        whole: the image before it was scaled and cropped, of the same pose; None where nobody asked for it.
    """

    name: str
    stamp: int
    image: NDArray[np.uint8]
    camera: CameraModel
    T_ego_camera: Matrix
    whole: WholeImage | None = None


@dataclass
class PointCloud:
    """LiDAR points in the ego frame at the frame's stamp.

    Attributes:
        xyz: (N, 3) float32 metres, finite.
        intensity: (N,) float32 in [0, 1], or None.
        time: (N,) float32 seconds relative to the frame's stamp, or None.
        classes: (N,) int16 what each point lies on, indices into ``point_classes.point_class_names`` of the frame's
            class names, -1 where unknown; or None.
    """

    xyz: NDArray[np.float32]
    intensity: NDArray[np.float32] | None = None
    time: NDArray[np.float32] | None = None
    classes: NDArray[np.int16] | None = None

    def __len__(self) -> int:
        return len(self.xyz)

    def __getitem__(self, index: NDArray | slice) -> PointCloud:
        """The points chosen by a slice, an integer array or a boolean mask."""
        return PointCloud(
            self.xyz[index],
            None if self.intensity is None else self.intensity[index],
            None if self.time is None else self.time[index],
            None if self.classes is None else self.classes[index],
        )

    @staticmethod
    def joined(clouds: Sequence[PointCloud]) -> PointCloud:
        """The points of one or more clouds in one: what only some have is 0 in the others, and classes unknown."""

        def column(name: str, missing: float, dtype: type) -> NDArray | None:
            parts = [getattr(cloud, name) for cloud in clouds]
            if all(part is None for part in parts):
                return None
            filled = [
                np.full(len(cloud), missing, dtype) if part is None else part
                for part, cloud in zip(parts, clouds, strict=True)
            ]
            return np.concatenate(filled)

        xyz = np.concatenate([cloud.xyz for cloud in clouds])
        return PointCloud(
            xyz, column("intensity", 0, np.float32), column("time", 0, np.float32), column("classes", UNKNOWN, np.int16)
        )


@dataclass
class Labels:
    """Ground truth of one frame, in the ego frame.

    Attributes:
        boxes: N boxes.
        class_ids: (N,) int64 indices into ``class_names``; ``classes.ABSENT`` for what is of none of them, which is
            to be ignored and is no background.
        track_ids: (N,) strings, one object keeps its id through a drive.
        lidar_points: (N,) int64 number of LiDAR points in the box; -1 where unknown.
        visible_pixels: (N,) int64 pixels the object covers over all images; -1 where unknown.
        class_names: the names of the classes.
        attributes: (N,) what objects do or are, such as ``vehicle.parked``, ``""`` where unknown; empty where nobody
            knows any.
        own_names: (N,) what their recording calls objects, where ``class_names`` are names that it does not use itself;
            empty otherwise.
    """

    boxes: Boxes3D
    class_ids: NDArray[np.int64]
    track_ids: tuple[str, ...] = ()
    lidar_points: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    visible_pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    class_names: tuple[str, ...] = CLASS_NAMES
    attributes: tuple[str, ...] = ()
    own_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.boxes)
        self.class_ids = np.asarray(self.class_ids, dtype=np.int64).reshape(-1)
        if not self.track_ids:
            self.track_ids = tuple(str(index) for index in range(count))
        for name in ("lidar_points", "visible_pixels"):
            if len(getattr(self, name)) == 0:
                setattr(self, name, np.full(count, -1, np.int64))
        for name in ("class_ids", "track_ids", "lidar_points", "visible_pixels"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"Labels.{name} has {len(getattr(self, name))} entries for {count} boxes")
        for name in ("attributes", "own_names"):
            if len(getattr(self, name)) not in (0, count):
                raise ValueError(f"Labels.{name} has {len(getattr(self, name))} entries for {count} boxes")

    @property
    def names(self) -> tuple[str, ...]:
        """(N,) the name of each object's class; ``""`` of what is of none."""
        return tuple("" if index == ABSENT else self.class_names[index] for index in self.class_ids)

    def as_classes(self, columns: Sequence[int], class_names: tuple[str, ...]) -> Labels:
        """The same objects in terms of other classes.

        Args:
            columns: the new class of each of ``class_names`` as they are, as ``label_map.columns_for`` gives them.
            class_names: the new names.
        """
        table = np.array([*columns, ABSENT], np.int64)  # the last is what ABSENT itself becomes
        own_names = self.own_names or self.names
        return replace(self, class_ids=table[self.class_ids], class_names=class_names, own_names=own_names)

    def names_where(self, mask: NDArray[np.bool_]) -> list[str]:
        """The class names of the objects that a mask chooses, without those that have none."""
        return [self.class_names[index] for index in self.class_ids[mask] if index != ABSENT]

    def __getitem__(self, mask: NDArray) -> Labels:
        """The labels chosen by an integer array or a boolean mask."""
        index = np.arange(len(self.boxes))[mask]
        return Labels(
            self.boxes[index],
            self.class_ids[index],
            tuple(self.track_ids[i] for i in index),
            self.lidar_points[index],
            self.visible_pixels[index],
            self.class_names,
            tuple(self.attributes[i] for i in index) if self.attributes else (),
            tuple(self.own_names[i] for i in index) if self.own_names else (),
        )


@dataclass(frozen=True)
class SampleInfo:
    """What a data set says about a frame besides its boxes.

    Attributes:
        data_set, scene: the data set and the recording in it.
        token: the frame's key in the data set; empty where it has none.
        attributes: of each box, or empty.
        visibility: share in [0, 1] of each box that is visible, NaN where unknown; or empty.
        region: where everything is labelled.
    """

    data_set: str
    scene: str
    token: str = ""
    attributes: tuple[str, ...] = ()
    visibility: tuple[float, ...] = ()
    region: LabelledRegion = field(default_factory=LabelledRegion)


@dataclass
class Frame:
    """A synchronized set: at most one view per camera, optionally points and labels.

    Attributes:
        stamp: integer nanoseconds; the anchor camera's exposure time.
        views: the views that are there, in the rig's order.
        missing: names of the rig's cameras that have no view in this set.
        T_world_ego: (4, 4) ego pose at ``stamp`` in a fixed frame (odom or map), or None without odometry.
        points: the LiDAR sweep, or None.
        labels: ground truth, or None.
        region: where everything of the classes is labelled.
    """

    stamp: int
    views: tuple[CameraView, ...]
    missing: tuple[str, ...] = ()
    T_world_ego: Matrix | None = None
    points: PointCloud | None = None
    labels: Labels | None = None
    region: LabelledRegion = field(default_factory=LabelledRegion)

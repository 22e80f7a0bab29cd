"""One instant of a drive: what the sensors saw, where they were, and (in training data) what was there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.rigid import Matrix


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
    """

    name: str
    stamp: int
    image: NDArray[np.uint8]
    camera: CameraModel
    T_ego_camera: Matrix


@dataclass
class PointCloud:
    """LiDAR points in the ego frame at the frame's stamp.

    Attributes:
        xyz: (N, 3) float32 metres, finite.
        intensity: (N,) float32 in [0, 1], or None.
        time: (N,) float32 seconds relative to the frame's stamp, or None.
    """

    xyz: NDArray[np.float32]
    intensity: NDArray[np.float32] | None = None
    time: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.xyz)


@dataclass
class Labels:
    """Ground truth of one frame, in the ego frame.

    Attributes:
        boxes: N boxes.
        class_ids: (N,) int64 indices into ``taxonomy.CLASS_NAMES``.
        track_ids: (N,) strings, one object keeps its id through a drive.
        lidar_points: (N,) int64 number of LiDAR points in the box; -1 where unknown.
        visible_pixels: (N,) int64 pixels the object covers over all images; -1 where unknown.
    """

    boxes: Boxes3D
    class_ids: NDArray[np.int64]
    track_ids: tuple[str, ...] = ()
    lidar_points: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    visible_pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

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

    def __getitem__(self, mask: NDArray) -> Labels:
        """The labels chosen by an integer array or a boolean mask."""
        index = np.arange(len(self.boxes))[mask]
        return Labels(
            self.boxes[index],
            self.class_ids[index],
            tuple(self.track_ids[i] for i in index),
            self.lidar_points[index],
            self.visible_pixels[index],
        )


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
    """

    stamp: int
    views: tuple[CameraView, ...]
    missing: tuple[str, ...] = ()
    T_world_ego: Matrix | None = None
    points: PointCloud | None = None
    labels: Labels | None = None

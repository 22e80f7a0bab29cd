"""Stamps, calibrations, transforms and odometry out of ROS messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.rigid import Matrix, transform


@dataclass(frozen=True)
class StampedTransform:
    """A transform that holds at one instant.

    Attributes:
        parent, child: frame names without a leading slash.
        stamp: nanoseconds.
        matrix: (4, 4) maps points of ``child`` into ``parent``.
        linear: (3,) m/s of the child along its own axes; NaN where unknown (only odometry knows).
        angular: (3,) rad/s of the child about its own axes; NaN where unknown.
    """

    parent: str
    child: str
    stamp: int
    matrix: Matrix
    linear: NDArray[np.float64] = field(default_factory=lambda: np.full(3, np.nan))
    angular: NDArray[np.float64] = field(default_factory=lambda: np.full(3, np.nan))


def stamp_of(message: Any) -> int:
    """Header stamp of a message in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def decode_camera_info(message: Any) -> CameraModel:
    """Intrinsics of ``sensor_msgs/CameraInfo``.

    Raises:
        InputRejected: ``intrinsics`` or ``distortion``: not calibrated, or values that no camera has.
    """
    frame_id = message.header.frame_id
    K = np.array(message.k, dtype=np.float64).reshape(3, 3)
    if not K.any():
        raise InputRejected(
            "intrinsics", f"camera_info of frame '{frame_id}': K is all zeros, the camera driver has no calibration"
        )
    try:
        return CameraModel(
            int(message.width), int(message.height), K, message.distortion_model, np.array(message.d, np.float64)
        )
    except InputRejected as error:
        raise InputRejected(error.reason, f"camera_info of frame '{frame_id}': {error}") from error


def decode_transforms(message: Any) -> list[StampedTransform]:
    """Transforms of ``tf2_msgs/TFMessage``.

    Raises:
        InputRejected: ``transform``: a quaternion or translation that is not a rigid transform.
    """
    return [
        StampedTransform(
            _frame(item.header.frame_id),
            _frame(item.child_frame_id),
            stamp_of(item),
            _matrix(item.transform.translation, item.transform.rotation, item.child_frame_id),
        )
        for item in message.transforms
    ]


def decode_odometry(message: Any) -> StampedTransform:
    """Pose and twist of ``nav_msgs/Odometry``.

    Raises:
        InputRejected: ``transform``: a quaternion or position that is not a rigid transform.
    """
    pose, twist = message.pose.pose, message.twist.twist
    return StampedTransform(
        _frame(message.header.frame_id),
        _frame(message.child_frame_id),
        stamp_of(message),
        _matrix(pose.position, pose.orientation, message.child_frame_id),
        np.array([twist.linear.x, twist.linear.y, twist.linear.z]),
        np.array([twist.angular.x, twist.angular.y, twist.angular.z]),
    )


def _frame(name: str) -> str:
    return name.lstrip("/")


def _matrix(translation: Any, rotation: Any, child: str) -> Matrix:
    position = np.array([translation.x, translation.y, translation.z], dtype=np.float64)
    if not np.isfinite(position).all():
        raise InputRejected("transform", f"transform of frame '{child}': translation {position.tolist()} is not finite")
    try:
        return transform(position, (rotation.x, rotation.y, rotation.z, rotation.w))
    except ValueError as error:
        raise InputRejected("transform", f"transform of frame '{child}': {error}") from error

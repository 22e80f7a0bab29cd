"""Stamps, transforms and odometry out of ROS messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.rigid import Matrix, transform

_FARTHEST_M = 1e9
"""Far beyond the Earth and its coordinates."""
_UNIT = 0.1
"""Quaternions of nearly unit length have been rounded; others have not been filled (tf2 refuses them as well)."""


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


def decode_transforms(message: Any, rejected: list[tuple[str, InputRejected]] | None = None) -> list[StampedTransform]:
    """Transforms of ``tf2_msgs/TFMessage``.

    Args:
        message: the message.
        rejected: gets what is wrong with single transforms, after ``"parent -> child"``, and the others are given; None
            raises the first.

    Raises:
        InputRejected: ``transform``: a quaternion or translation that is not a rigid transform.
    """
    good = []
    for item in message.transforms:
        parent, child = _frame(item.header.frame_id), _frame(item.child_frame_id)
        try:
            matrix = matrix_of(item.transform.translation, item.transform.rotation, parent, child)
        except InputRejected as error:
            if rejected is None:
                raise
            rejected.append((f"{parent} -> {child}", error))
            continue
        good.append(StampedTransform(parent, child, stamp_of(item), matrix))
    return good


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
        matrix_of(pose.position, pose.orientation, _frame(message.header.frame_id), _frame(message.child_frame_id)),
        np.array([twist.linear.x, twist.linear.y, twist.linear.z]),
        np.array([twist.angular.x, twist.angular.y, twist.angular.z]),
    )


def _frame(name: str) -> str:
    return name.lstrip("/")


def matrix_of(translation: Any, rotation: Any, parent: str, child: str) -> Matrix:
    """A transform (4, 4) of a message's vector and quaternion; frames are for the message of the error.

    Raises:
        InputRejected: ``transform``: a quaternion or position that is not a rigid transform.
    """
    link = f"transform '{parent}' -> '{child}'"
    position = np.array([translation.x, translation.y, translation.z], dtype=np.float64)
    if not (np.abs(position) < _FARTHEST_M).all():
        raise InputRejected("transform", f"{link}: translation {position.tolist()} must be finite, in metres")
    quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w], dtype=np.float64)
    length = float(np.sqrt(quaternion @ quaternion)) if np.isfinite(quaternion).all() else np.nan
    if not abs(length - 1) <= _UNIT:
        raise InputRejected(
            "transform",
            f"{link}: quaternion {quaternion.tolist()} is not a rotation: its length must be 1, not {length:g}",
        )
    return transform(position, quaternion)

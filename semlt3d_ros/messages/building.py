"""Parts from which every encoder builds, for rosbags' dataclasses and rclpy's message classes alike."""

from __future__ import annotations

import array
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.messages.typestore import MessageTypes


def build_time(types: MessageTypes, stamp: int) -> Any:
    """``builtin_interfaces/Time`` of integer nanoseconds."""
    sec, nanosec = divmod(int(stamp), 1_000_000_000)
    return types("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)


def build_header(types: MessageTypes, stamp: int, frame_id: str) -> Any:
    """``std_msgs/Header``."""
    return types("std_msgs/msg/Header")(stamp=build_time(types, stamp), frame_id=frame_id)


def build_vector(types: MessageTypes, values: Iterable[float]) -> Any:
    """``geometry_msgs/Vector3`` of three numbers."""
    x, y, z = map(float, values)
    return types("geometry_msgs/msg/Vector3")(x=x, y=y, z=z)


def build_point(types: MessageTypes, values: Iterable[float]) -> Any:
    """``geometry_msgs/Point`` of three numbers."""
    x, y, z = map(float, values)
    return types("geometry_msgs/msg/Point")(x=x, y=y, z=z)


def build_quaternion(types: MessageTypes, quaternion: Iterable[float]) -> Any:
    """``geometry_msgs/Quaternion`` of x, y, z, w."""
    x, y, z, w = map(float, quaternion)
    return types("geometry_msgs/msg/Quaternion")(x=x, y=y, z=z, w=w)


def build_pose(types: MessageTypes, position: Iterable[float], quaternion: Iterable[float]) -> Any:
    """``geometry_msgs/Pose`` of a position in metres and a quaternion x, y, z, w."""
    return types("geometry_msgs/msg/Pose")(
        position=build_point(types, position), orientation=build_quaternion(types, quaternion)
    )


def build_matrix_pose(types: MessageTypes, matrix: rigid.Matrix) -> Any:
    """``geometry_msgs/Pose`` of a transform (4, 4)."""
    return build_pose(types, matrix[:3, 3], rigid.quaternion_from_rotation(matrix[:3, :3]))


def numeric_sequence(message_type: Any, values: NDArray) -> Any:
    """Values for a numeric field of unbounded length of ``message_type``.

    rosbags serialises NumPy arrays. rclpy takes an ``array.array`` as it is, but copies a NumPy array element by
    element in Python, which costs a tenth of a second for one image.
    """
    if not _is_rclpy(message_type):
        return values
    return array.array(_ARRAY_CODES[values.dtype.name], values.tobytes())


def byte_value(message_type: Any, value: int) -> Any:
    """A value for a ``byte`` field of ``message_type``: rosbags has an int there, rclpy bytes of length one."""
    return bytes([value]) if _is_rclpy(message_type) else value


def _is_rclpy(message_type: Any) -> bool:
    return hasattr(message_type, "get_fields_and_field_types")


_ARRAY_CODES = {"uint8": "B", "float32": "f", "float64": "d"}

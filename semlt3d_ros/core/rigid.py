"""Rigid transforms as 4x4 float64 matrices; quaternions are (x, y, z, w) as in ROS messages.

``T_a_b`` maps points of frame b into frame a (REP-103/105 frames, metres).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def rotation_from_quaternion(quaternion: ArrayLike) -> Matrix:
    """Rotation matrix (3, 3) of a quaternion (x, y, z, w), which need not have unit length.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    q = np.asarray(quaternion, dtype=np.float64)
    # A Python-level hypot chain keeps denormal-small quaternions from underflowing to zero length.
    scale = np.max(np.abs(q)) if q.shape == (4,) else np.nan
    if not np.isfinite(scale) or scale == 0.0:
        raise ValueError(f"quaternion {q.tolist()} is not a rotation: four finite numbers, not all zero, are needed")
    q = q / scale
    x, y, z, w = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: ArrayLike) -> NDArray[np.float64]:
    """Unit quaternion (x, y, z, w) with w >= 0 of a rotation matrix (3, 3)."""
    r = np.asarray(rotation, dtype=np.float64)
    # The eigenvector of the largest eigenvalue (Bar-Itzhack 2000) has no unstable branch near half turns.
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], 0.0, 0.0, 0.0],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], 0.0, 0.0],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], 0.0],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    _, vectors = np.linalg.eigh(k)
    quaternion = vectors[:, -1]
    return -quaternion if quaternion[3] < 0 else quaternion


def quaternion_from_yaw(yaw: ArrayLike) -> NDArray[np.float64]:
    """Quaternions (..., 4) of rotations by ``yaw`` (...) radians about +z."""
    half = np.asarray(yaw, dtype=np.float64) / 2
    quaternions = np.zeros((*half.shape, 4))
    quaternions[..., 2], quaternions[..., 3] = np.sin(half), np.cos(half)
    return quaternions


def yaw_from_rotation(rotation: ArrayLike) -> float:
    """Heading in radians of a rotation matrix (3, 3): the angle of its x axis in the xy plane."""
    r = np.asarray(rotation, dtype=np.float64)
    return float(np.arctan2(r[1, 0], r[0, 0]))


def wrap_angle(angle: ArrayLike) -> NDArray[np.float64]:
    """Angles in radians wrapped to [-pi, pi)."""
    return (np.asarray(angle, dtype=np.float64) + np.pi) % (2 * np.pi) - np.pi


def transform(translation: ArrayLike = (0.0, 0.0, 0.0), rotation: ArrayLike | None = None) -> Matrix:
    """A 4x4 transform of a translation (3,) in metres and a rotation: matrix (3, 3) or quaternion (4,) x, y, z, w."""
    matrix = np.eye(4)
    matrix[:3, 3] = np.asarray(translation, dtype=np.float64)
    if rotation is not None:
        r = np.asarray(rotation, dtype=np.float64)
        matrix[:3, :3] = rotation_from_quaternion(r) if r.shape == (4,) else r
    return matrix


def planar(x: float, y: float, yaw: float, z: float = 0.0) -> Matrix:
    """A 4x4 transform that moves by x, y, z metres and turns by ``yaw`` radians about +z."""
    c, s = np.cos(yaw), np.sin(yaw)
    return transform((x, y, z), np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]))


def frame_of(values: Sequence[float]) -> Matrix:
    """The transform of x, y, z in metres and roll, pitch, yaw in degrees, turned in this order about fixed axes."""
    roll, pitch, yaw = np.deg2rad(values[3:])
    about_x = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    about_y = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    return transform(values[:3], about_z @ about_y @ about_x)


def inverse(matrix: Matrix) -> Matrix:
    """Inverse of rigid transforms (..., 4, 4)."""
    result = np.zeros_like(matrix)
    rotation_t = np.swapaxes(matrix[..., :3, :3], -1, -2)
    result[..., :3, :3] = rotation_t
    result[..., :3, 3] = -(rotation_t @ matrix[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1.0
    return result


def apply(matrix: Matrix, points: ArrayLike) -> NDArray[np.float64]:
    """Points (..., 3) moved by a transform (4, 4)."""
    p = np.asarray(points)
    return p @ matrix[:3, :3].T + matrix[:3, 3]


def interpolate(first: Matrix, second: Matrix, fraction: float) -> Matrix:
    """The transform ``fraction`` of the way from ``first`` to ``second``: linear translation, shortest rotation."""
    q0, q1 = quaternion_from_rotation(first[:3, :3]), quaternion_from_rotation(second[:3, :3])
    dot = float(q0 @ q1)
    if dot < 0:
        q1, dot = -q1, -dot
    if dot > 0.9995:  # sin(angle) is too small to divide by; the chord is the arc here
        q = q0 + fraction * (q1 - q0)
    else:
        angle = np.arccos(dot)
        q = (np.sin((1 - fraction) * angle) * q0 + np.sin(fraction * angle) * q1) / np.sin(angle)
    return transform(first[:3, 3] + fraction * (second[:3, 3] - first[:3, 3]), q)

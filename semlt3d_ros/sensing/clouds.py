"""A message's point cloud in the ego frame."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.messages import decode

POINTS_REMEDY = "publish it on /tf_static, or correct the frame in the cloud's header"
_FARTHEST_POINT_M = 3000.0
"""From the vehicle: no LiDAR sees so far."""


def placed_cloud(message: Any, T_ego_sensor: rigid.Matrix, stamp: int, place: str, faults: FaultLog) -> PointCloud:
    """The cloud of a ``sensor_msgs/PointCloud2`` in the ego frame; a cloud without points is one, and noted.

    Args:
        message: the message.
        T_ego_sensor: (4, 4) where its frame is.
        stamp: what times of points count from, integer nanoseconds.
        place: what faults are told about, a topic.
        faults: gets what is odd.

    Raises:
        InputRejected: it cannot be read, or ``cloud_far``: most points lie where no LiDAR sees.
    """
    cloud = decode.decode_point_cloud(message, partial(faults.note, place))
    if not cloud.xyz.any():
        text = "no point in the cloud, or none with finite coordinates other than (0, 0, 0); check sensor and driver"
        faults.add(place, "cloud_empty", text)
    shift = np.float32((decode.stamp_of(message) - stamp) / 1e9)
    xyz = rigid.apply(T_ego_sensor, cloud.xyz).astype(np.float32)
    far = np.abs(xyz).max(axis=1, initial=0.0) > _FARTHEST_POINT_M
    if 2 * far.sum() > len(far):
        raise InputRejected(
            "cloud_far",
            f"{far.sum()} of {len(far)} points lie more than {_FARTHEST_POINT_M:g} m away; check byte order, "
            "offsets and unit (metres) of the fields, and the cloud's frame",
        )
    return PointCloud(xyz, cloud.intensity, None if cloud.time is None else cloud.time + shift, cloud.classes)

"""Images, calibrations, points, transforms and odometry to ROS messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.rigid import Matrix, quaternion_from_rotation
from semlt3d_ros.messages.building import (
    build_header,
    build_matrix_pose,
    build_quaternion,
    build_vector,
    numeric_sequence,
)
from semlt3d_ros.messages.decode_geometry import StampedTransform
from semlt3d_ros.messages.decode_points import POINT_CLASS_FIELD
from semlt3d_ros.messages.typestore import MessageTypes, message_class

_DATATYPES = {"<f4": 7, "<u2": 4, "<i2": 3}  # sensor_msgs/PointField


def encode_compressed_image(
    image: NDArray[np.uint8], stamp: int, frame_id: str, quality: int = 90, types: MessageTypes = message_class
) -> Any:
    """``sensor_msgs/CompressedImage`` with a JPEG (4:2:0 chroma, as cameras send it).

    Args:
        image: (H, W, 3) uint8 RGB.
        stamp: exposure time in nanoseconds.
        frame_id: optical frame of the camera.
        quality: JPEG quality, 1 to 100.
        types: gives the message classes.
    """
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420")
    message = types("sensor_msgs/msg/CompressedImage")
    return message(
        header=build_header(types, stamp, frame_id),
        format="rgb8; jpeg compressed bgr8",
        data=numeric_sequence(message, np.frombuffer(data, np.uint8)),
    )


def encode_image(image: NDArray[np.uint8], stamp: int, frame_id: str, types: MessageTypes = message_class) -> Any:
    """``sensor_msgs/Image`` in ``rgb8``, without row padding, of an (H, W, 3) uint8 RGB image."""
    height, width = image.shape[:2]
    message = types("sensor_msgs/msg/Image")
    return message(
        header=build_header(types, stamp, frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=numeric_sequence(message, np.ascontiguousarray(image).reshape(-1)),
    )


def encode_camera_info(camera: CameraModel, stamp: int, frame_id: str, types: MessageTypes = message_class) -> Any:
    """``sensor_msgs/CameraInfo``; an ideal pinhole is written as ``plumb_bob`` with five zeros."""
    message = types("sensor_msgs/msg/CameraInfo")
    coefficients = camera.D if len(camera.D) else np.zeros(5)
    projection = np.hstack([camera.K, np.zeros((3, 1))])
    return message(
        header=build_header(types, stamp, frame_id),
        height=int(camera.height),
        width=int(camera.width),
        distortion_model=camera.distortion_model or "plumb_bob",
        d=numeric_sequence(message, coefficients),
        k=camera.K.reshape(-1).copy(),
        r=np.eye(3).reshape(-1),
        p=projection.reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=types("sensor_msgs/msg/RegionOfInterest")(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def encode_point_cloud(
    points: PointCloud,
    stamp: int,
    frame_id: str,
    types: MessageTypes = message_class,
    rings: NDArray[np.uint16] | None = None,
) -> Any:
    """``sensor_msgs/PointCloud2`` with float32 x y z, then intensity (0..1), time (s), uint16 ring where there are any.

    What points lie on follows as int16 ``point_class``, indices as of ``PointCloud.classes``.

    Args:
        points: points in the frame ``frame_id``; their times are relative to ``stamp``.
        stamp: nanoseconds.
        frame_id: frame of the points.
        types: gives the message classes.
        rings: (N,) number of the beam that measured each point.
    """
    columns: dict[str, NDArray] = {axis: points.xyz[:, place] for place, axis in enumerate("xyz")}
    codes = {"ring": "<u2", POINT_CLASS_FIELD: "<i2"}
    # Those that are half as wide as the others come last.
    optional = {"intensity": points.intensity, "time": points.time, "ring": rings, POINT_CLASS_FIELD: points.classes}
    columns |= {name: column for name, column in optional.items() if column is not None}
    layout = np.dtype([(name, codes.get(name, "<f4")) for name in columns])
    places = np.cumsum([0, *(layout[name].itemsize for name in columns)]).tolist()
    table = np.empty(len(points), layout)
    for name, column in columns.items():
        table[name] = column
    field = types("sensor_msgs/msg/PointField")
    message = types("sensor_msgs/msg/PointCloud2")
    return message(
        header=build_header(types, stamp, frame_id),
        height=1,
        width=len(table),
        fields=[
            field(name=name, offset=place, datatype=_DATATYPES[codes.get(name, "<f4")], count=1)
            for name, place in zip(columns, places, strict=False)
        ],
        is_bigendian=False,
        point_step=layout.itemsize,
        row_step=layout.itemsize * len(table),
        data=numeric_sequence(message, table.view(np.uint8)),
        is_dense=all(bool(np.isfinite(column).all()) for column in columns.values()),
    )


def encode_transforms(transforms: Sequence[StampedTransform], types: MessageTypes = message_class) -> Any:
    """``tf2_msgs/TFMessage`` of transforms that map child to parent."""
    return types("tf2_msgs/msg/TFMessage")(
        transforms=[
            types("geometry_msgs/msg/TransformStamped")(
                header=build_header(types, item.stamp, item.parent),
                child_frame_id=item.child,
                transform=types("geometry_msgs/msg/Transform")(
                    translation=build_vector(types, item.matrix[:3, 3]),
                    rotation=build_quaternion(types, quaternion_from_rotation(item.matrix[:3, :3])),
                ),
            )
            for item in transforms
        ]
    )


def encode_odometry(
    T_odom_base: Matrix,
    stamp: int,
    linear: Iterable[float] = (0.0, 0.0, 0.0),
    angular: Iterable[float] = (0.0, 0.0, 0.0),
    parent: str = "odom",
    child: str = "base_link",
    types: MessageTypes = message_class,
) -> Any:
    """``nav_msgs/Odometry``.

    Args:
        T_odom_base: (4, 4) pose of ``child`` in ``parent``.
        stamp: nanoseconds.
        linear: (3,) m/s along the axes of ``child`` (REP-105).
        angular: (3,) rad/s about the axes of ``child``.
        parent: fixed frame.
        child: frame of the vehicle.
        types: gives the message classes.
    """
    return types("nav_msgs/msg/Odometry")(
        header=build_header(types, stamp, parent),
        child_frame_id=child,
        pose=types("geometry_msgs/msg/PoseWithCovariance")(
            pose=build_matrix_pose(types, T_odom_base), covariance=np.zeros(36)
        ),
        twist=types("geometry_msgs/msg/TwistWithCovariance")(
            twist=types("geometry_msgs/msg/Twist")(
                linear=build_vector(types, linear), angular=build_vector(types, angular)
            ),
            covariance=np.zeros(36),
        ),
    )

"""ROS messages to core types. Every function takes rosbags' and rclpy's classes alike and trusts no size in them."""

from semlt3d_ros.messages.dataset_sample import decode_sample
from semlt3d_ros.messages.decode_camera_info import Calibration, decode_calibration
from semlt3d_ros.messages.decode_detections import decode_detection3d, decode_labels, decode_long_tail
from semlt3d_ros.messages.decode_geometry import (
    StampedTransform,
    decode_odometry,
    decode_transforms,
    stamp_of,
)
from semlt3d_ros.messages.decode_images import (
    MOST_BITS,
    SampleDepth,
    compressed_image_size,
    decode_compressed_image,
    decode_image,
)
from semlt3d_ros.messages.decode_points import decode_point_cloud

__all__ = [
    "MOST_BITS",
    "Calibration",
    "SampleDepth",
    "StampedTransform",
    "compressed_image_size",
    "decode_calibration",
    "decode_compressed_image",
    "decode_detection3d",
    "decode_image",
    "decode_labels",
    "decode_long_tail",
    "decode_odometry",
    "decode_point_cloud",
    "decode_sample",
    "decode_transforms",
    "stamp_of",
]

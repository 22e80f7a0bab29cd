"""Core types to ROS messages."""

from semlt3d_ros.messages.dataset_sample import encode_sample
from semlt3d_ros.messages.encode_detections import (
    encode_detection3d,
    encode_labels,
    encode_labels_detection3d,
    encode_long_tail,
)
from semlt3d_ros.messages.encode_display import DiagnosticEntry, encode_diagnostics, encode_label_info
from semlt3d_ros.messages.encode_markers import MarkerOptions, encode_markers
from semlt3d_ros.messages.encode_objects import ObjectOptions, encode_objects
from semlt3d_ros.messages.encode_sensors import (
    encode_camera_info,
    encode_compressed_image,
    encode_image,
    encode_odometry,
    encode_point_cloud,
    encode_transforms,
)

__all__ = [
    "DiagnosticEntry",
    "MarkerOptions",
    "ObjectOptions",
    "encode_camera_info",
    "encode_compressed_image",
    "encode_detection3d",
    "encode_diagnostics",
    "encode_image",
    "encode_label_info",
    "encode_labels",
    "encode_labels_detection3d",
    "encode_long_tail",
    "encode_markers",
    "encode_objects",
    "encode_odometry",
    "encode_point_cloud",
    "encode_sample",
    "encode_transforms",
]

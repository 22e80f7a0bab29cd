"""Names of the topics of the default rig and of this package's bags, and the type each one carries."""

from __future__ import annotations

import re

POINTS = "/sensing/lidar/points"
TF = "/tf"
TF_STATIC = "/tf_static"
ODOMETRY = "/localization/odometry"
TRUTH_LONG_TAIL = "/ground_truth/long_tail"
TRUTH_OBJECTS = "/ground_truth/objects"
TRUTH_SAMPLE = "/ground_truth/sample"
DETECTIONS = "/semlt3d/detections"
LONG_TAIL = "/semlt3d/long_tail"
MARKERS = "/semlt3d/markers"
LABEL_INFO = "/semlt3d/label_info"
OBJECTS = "/semlt3d/objects"
TEACHER_LABELS = "/teacher/labels"
TEACHER_POINTS = "/teacher/points"
DIAGNOSTICS = "/diagnostics"

BASE_FRAME = "base_link"
FIXED_FRAME = "odom"
LIDAR_FRAME = "lidar"

NUSCENES_CAMERAS: tuple[str, ...] = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_FRONT_LEFT",
)
"""Camera names of the default rig, clockwise from the front."""

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD_TYPE = "sensor_msgs/msg/PointCloud2"
TF_TYPE = "tf2_msgs/msg/TFMessage"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
LONG_TAIL_TYPE = "semlt3d_ros/msg/LongTailDetectionArray"
DETECTION_3D_TYPE = "vision_msgs/msg/Detection3DArray"
LABEL_INFO_TYPE = "vision_msgs/msg/LabelInfo"
MARKER_TYPE = "visualization_msgs/msg/MarkerArray"
SAMPLE_TYPE = "semlt3d_ros/msg/DatasetSample"
OBJECTS_TYPE = "autoware_perception_msgs/msg/DetectedObjects"
DIAGNOSTIC_TYPE = "diagnostic_msgs/msg/DiagnosticArray"

_CAMERA = re.compile(r"/sensing/camera/(?P<name>[^/]+)/(?P<kind>image/compressed|image|camera_info)")
_CAMERA_TYPES = {"image/compressed": COMPRESSED_IMAGE_TYPE, "image": IMAGE_TYPE, "camera_info": CAMERA_INFO_TYPE}
_TYPES = {
    POINTS: POINT_CLOUD_TYPE,
    TF: TF_TYPE,
    TF_STATIC: TF_TYPE,
    ODOMETRY: ODOMETRY_TYPE,
    TRUTH_LONG_TAIL: LONG_TAIL_TYPE,
    TRUTH_OBJECTS: DETECTION_3D_TYPE,
    TRUTH_SAMPLE: SAMPLE_TYPE,
    DETECTIONS: DETECTION_3D_TYPE,
    LONG_TAIL: LONG_TAIL_TYPE,
    MARKERS: MARKER_TYPE,
    LABEL_INFO: LABEL_INFO_TYPE,
    OBJECTS: OBJECTS_TYPE,
    TEACHER_LABELS: LONG_TAIL_TYPE,
    TEACHER_POINTS: POINT_CLOUD_TYPE,
    DIAGNOSTICS: DIAGNOSTIC_TYPE,
}


def camera_image_topic(name: str, compressed: bool = True) -> str:
    """Topic of a camera's images: ``CompressedImage``, or raw ``Image``."""
    return f"/sensing/camera/{name}/image" + ("/compressed" if compressed else "")


def camera_info_topic(name: str) -> str:
    """Topic of a camera's ``CameraInfo``."""
    return f"/sensing/camera/{name}/camera_info"


def camera_of(topic: str) -> str | None:
    """The camera's name in an image or camera_info topic of this convention; None for any other topic."""
    match = _CAMERA.fullmatch(topic)
    return match["name"] if match else None


def default_type(topic: str) -> str | None:
    """Type name carried by a topic of this convention; None for any other topic."""
    match = _CAMERA.fullmatch(topic)
    return _CAMERA_TYPES[match["kind"]] if match else _TYPES.get(topic)

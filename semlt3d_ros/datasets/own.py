"""What a bag of one's own data is made with, in one place; ``docs/own_data.md`` shows how."""

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.frame import Labels, PointCloud, SampleInfo
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.core.rigid import apply, inverse, transform
from semlt3d_ros.datasets.recording import RecordingWriter, recording_to

__all__ = [
    "Boxes3D",
    "CameraModel",
    "LabelledRegion",
    "Labels",
    "PointCloud",
    "RecordingWriter",
    "SampleInfo",
    "ViewWindow",
    "apply",
    "inverse",
    "recording_to",
    "transform",
]

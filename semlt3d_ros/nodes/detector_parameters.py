"""Parameters of the detector node."""

from __future__ import annotations

from dataclasses import dataclass

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.parameters import parameter


@dataclass(frozen=True)
class DetectorParameters:
    """See ``config/detector.yaml`` for the same with comments."""

    checkpoint: str = parameter(
        "", "path of a .safetensors checkpoint; empty takes the one that comes with the package"
    )
    vocabulary_file: str = parameter(
        "", "language anchors of classes to add or replace, made by `semlt3d anchors`; empty: the trained classes alone"
    )
    device: str = parameter("auto", "auto (a GPU if there is one), cpu, or cuda[:N]")
    threads: int = parameter(0, "CPU threads of the model; 0 leaves the choice to torch", low=0, high=256)
    rig_file: str = parameter("", "YAML file that describes the cameras; empty takes `cameras` on their default topics")
    cameras: tuple[str, ...] = parameter(
        topics.NUSCENES_CAMERAS, "camera names, the anchor first; unused with rig_file"
    )
    compressed: bool = parameter(True, "CompressedImage topics, else raw Image; unused with rig_file")
    image_reliability: str = parameter(
        "reliable",
        "QoS asked of the cameras; best_effort also matches sensor-data publishers, but loses images under load",
        choices=("reliable", "best_effort"),
    )
    image_depth: int = parameter(20, "images of one camera that may wait to be decoded", low=1, high=100)
    completed_by: str = parameter(
        "all", "all: a set waits for every camera; anchor: for the anchor only", choices=("all", "anchor")
    )
    tolerance_s: float = parameter(0.06, "largest distance of an image from its anchor", low=0.0001, high=10)
    deadline_s: float = parameter(
        0.2, "an incomplete set is used when newer images are this much later", low=0.0001, high=60
    )
    stall_s: float = parameter(0.5, "an incomplete set is used when no image came for so long", low=0.001, high=60)
    min_cameras: int = parameter(0, "sets with fewer images are dropped; 0 is half of the rig", low=0, high=100)
    detections_topic: str = parameter(
        topics.DETECTIONS, "vision_msgs/Detection3DArray, made only while somebody listens"
    )
    long_tail_topic: str = parameter(topics.LONG_TAIL, "semlt3d_ros/LongTailDetectionArray")
    markers_topic: str = parameter(topics.MARKERS, "visualization_msgs/MarkerArray, made only while somebody listens")
    top_k: int = parameter(3, "classes per detection in Detection3DArray", low=1, high=18)
    marker_threshold: float = parameter(0.25, "least score of a box that gets a marker", low=0, high=1)
    diagnostics_period_s: float = parameter(1.0, "time between two messages on /diagnostics", low=0.01, high=60)
    camera_timeout_s: float = parameter(1.0, "a camera without an image for so long is reported", low=0.01, high=60)

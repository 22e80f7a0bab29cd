"""Parameters of the detector node."""

from __future__ import annotations

from dataclasses import dataclass

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.parameters import parameter

NODE_NAME = "semlt3d"


@dataclass(frozen=True)
class DetectorParameters:
    """See ``config/detector.yaml`` for the same with comments."""

    autostart: bool = parameter(True, "under ROS: configure and activate at once; without ROS the node always does")
    checkpoint: str = parameter(
        "",
        "path of a .safetensors checkpoint, within model_folder if there is one; empty takes the one that comes with "
        "the package, or current.safetensors of model_folder. Set while the node runs, it is what ~/reload_model loads",
        live=True,
    )
    model_folder: str = parameter("", "the one folder from which ~/reload_model loads; empty: nothing is reloaded")
    follow_promotions: bool = parameter(
        False, "take over by itself what is promoted in model_folder, as if ~/reload_model were called", live=True
    )
    watch_sets: int = parameter(
        3000,
        "sets that a promoted model must come through before it is kept; until then it is rolled back when ... "
        "0: it is kept at once",
        low=0,
        high=10_000_000,
        live=True,
    )
    watch_error_share: float = parameter(0.02, "... more than this share of its sets fail", low=0, high=1, live=True)
    watch_latency_factor: float = parameter(
        1.5, "... it takes more than so many times as long as the model before", low=1, high=1000, live=True
    )
    watch_score_drift: float = parameter(
        0.5,
        "... its scores are distributed otherwise, from 0 (alike) to 1 (nothing in common) ...",
        low=0,
        high=1,
        live=True,
    )
    watch_crashes: int = parameter(
        3, "... or so many nodes that ran it have died; then at the next start", low=1, high=1000, live=True
    )
    vocabulary_file: str = parameter(
        "",
        "language anchors of classes to add or replace, made by `semlt3d anchors`; empty: the trained classes alone",
        live=True,
    )
    second_opinion: str = parameter(
        "",
        "settings of a CLIP that is asked about ambiguous boxes: a YAML file, or tiny, which comes with the package; "
        "empty: nobody is asked",
    )
    device: str = parameter("auto", "auto (a GPU if there is one), cpu, cuda[:N], or onnxruntime (exported models)")
    threads: int = parameter(0, "CPU threads of the model; 0 leaves the choice to torch", low=0, high=256)
    rig_file: str = parameter("", "YAML file that describes the cameras; empty takes `cameras` on their default topics")
    cameras: tuple[str, ...] = parameter(
        topics.NUSCENES_CAMERAS, "camera names, the anchor first; unused with rig_file"
    )
    compressed: bool = parameter(True, "CompressedImage topics, else raw Image; unused with rig_file")
    image_reliability: str = parameter(
        "best_effort",
        "QoS asked of cameras whose rig entry names none: best_effort matches every publisher; reliable loses no "
        "images under load, but does not match sensor-data publishers",
        choices=("best_effort", "reliable"),
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
        "~/detections", "vision_msgs/Detection3DArray; like every output made only while somebody listens"
    )
    long_tail_topic: str = parameter("~/long_tail", "semlt3d_ros/LongTailDetectionArray")
    markers_topic: str = parameter("~/markers", "visualization_msgs/MarkerArray")
    label_info_topic: str = parameter("~/label_info", "vision_msgs/LabelInfo: names of the classes, latched")
    objects_topic: str = parameter(
        "~/objects", "autoware_perception_msgs/DetectedObjects; under ROS only where that package is installed"
    )
    objects_classes_file: str = parameter(
        "", "YAML file of Autoware's label for each class; empty: as config/autoware/classes.yaml has it"
    )
    score_threshold: float = parameter(0.0, "least score of a box that is published", low=0, high=1, live=True)
    class_thresholds: tuple[str, ...] = parameter(
        (), "the same for single classes, each as 'class=score', such as 'child=0.05'", live=True
    )
    top_k: int = parameter(3, "classes per detection in Detection3DArray", low=1, high=64, live=True)
    marker_threshold: float = parameter(0.25, "least score of a box that is drawn", low=0, high=1, live=True)
    marker_classes: int = parameter(3, "most likely classes written beside a box", low=1, high=64, live=True)
    marker_text_m: float = parameter(1.0, "height of their letters in metres", low=0.1, high=10, live=True)
    marker_velocities: bool = parameter(True, "draw velocities as arrows", live=True)
    marker_covariance: bool = parameter(False, "draw the uncertainty of the distance", live=True)
    marker_lifetime_s: float = parameter(
        1.0, "after so long without a new set RViz forgets the boxes; 0: never", low=0, high=60, live=True
    )
    diagnostics_period_s: float = parameter(1.0, "time between two messages on /diagnostics", low=0.01, high=60)
    camera_timeout_s: float = parameter(1.0, "a camera without an image for so long is reported", low=0.01, high=60)
    latency_budget_ms: float = parameter(
        200.0, "a set that takes longer is reported as a warning ...", low=1, high=60000, live=True
    )
    latency_patience_s: float = parameter(
        2.0, "... and as an error when this goes on for so long", low=0, high=600, live=True
    )

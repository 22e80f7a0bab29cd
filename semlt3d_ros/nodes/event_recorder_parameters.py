"""Parameters of the event recorder."""

from __future__ import annotations

from dataclasses import dataclass

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.parameters import parameter

RECORDER_NAME = "semlt3d_recorder"


@dataclass(frozen=True)
class EventRecorderParameters:
    """What makes an event is in the recording file; here is what belongs to it, and what it may take."""

    events: str = parameter("", "folder of the events; made if it is not there")
    recording_file: str = parameter(
        "", "YAML file of triggers, further topics and blurring; empty takes config/recording.yaml of the package"
    )
    rig_file: str = parameter("", "YAML file that describes the cameras, as the detector's")
    cameras: tuple[str, ...] = parameter(topics.NUSCENES_CAMERAS, "camera names; unused with rig_file")
    compressed: bool = parameter(True, "CompressedImage topics, else raw Image; unused with rig_file")
    image_reliability: str = parameter(
        "best_effort",
        "QoS asked of LiDAR and cameras, where the rig names none; reliable makes publishers wait for the recorder too",
        choices=("best_effort", "reliable"),
    )
    detector: str = parameter("/semlt3d", "full name of the detector node, whose detections are recorded")
    pre_roll_s: float = parameter(5.0, "what an event holds from before its trigger", low=0, high=60)
    post_roll_s: float = parameter(5.0, "and from after the last one", low=0, high=600)
    longest_s: float = parameter(60.0, "an event that goes on for longer is followed by another", low=1, high=3600)
    ring_mb: float = parameter(512.0, "memory for the seconds before a trigger", low=1, high=65536)
    queue_mb: float = parameter(256.0, "memory for what waits for the disk", low=1, high=65536)
    quota_gb: float = parameter(20.0, "disk that all events may take; then those of least worth go", low=0.1, high=1e6)
    keep_free_gb: float = parameter(2.0, "disk that stays free; with less nothing is recorded", low=0, high=1e6)
    half_life_days: float = parameter(14.0, "after which an event is worth half of what it was", low=0.01, high=36500)
    niceness: int = parameter(5, "of the thread that writes: it lets others go first", low=0, high=19)
    diagnostics_period_s: float = parameter(1.0, "time between two messages on /diagnostics", low=0.1, high=60)

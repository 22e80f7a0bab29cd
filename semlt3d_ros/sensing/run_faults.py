"""What to tell at the end of a run over a recording."""

from __future__ import annotations

from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.sensing.frame_builder import FrameBuilder

_NOTHING_WRONG = ("ok", "slow", "stopped")
"""States of a camera that has delivered; a recording that ends stops them all."""


def run_faults(builder: FrameBuilder) -> list[Fault]:
    """What was wrong with the messages, and cameras that have given nothing without any message being at fault."""
    faults = FaultLog(builder.faults)
    told = {fault.place for fault in faults}
    for camera in builder.rig.cameras:
        status = builder.camera_status[camera.name]
        place = camera.info_topic if status.state == "waiting_camera_info" else camera.image_topic
        if status.state in _NOTHING_WRONG or place in told or status.reason in {fault.reason for fault in faults}:
            continue
        text = f"camera '{camera.name}': {status.detail}; {status.images} images were received"
        faults.add(place, status.reason, text, max(sum(status.drops.values()), 1))
    return list(faults)

"""Parameters of the distiller node."""

from __future__ import annotations

from dataclasses import dataclass

from semlt3d_ros.middleware.parameters import parameter

DISTILLER_NAME = "semlt3d_distiller"


@dataclass(frozen=True)
class DistillerParameters:
    """What the node does is in the file of settings; here is when, and where it tells of it."""

    settings: str = parameter("", "YAML file of the loop, such as config/adaptation.yaml")
    allowed: bool = parameter(True, "whether it may work at all; ~/allow and ~/forbid say the same", live=True)
    parked_topic: str = parameter(
        "parked", "std_msgs/Bool, true while the vehicle stands and may compute; empty: nobody is asked"
    )
    parked_timeout_s: float = parameter(
        5.0, "a vehicle that has not said for so long that it is parked counts as on its way; 0: forever", low=0
    )
    retry_s: float = parameter(30.0, "time between two looks for new events", low=0.1, high=86400, live=True)
    status_topic: str = parameter("~/status", "semlt3d_ros/DistillationStatus, latched")
    diagnostics_period_s: float = parameter(1.0, "time between two messages on /diagnostics", low=0.2, high=60)

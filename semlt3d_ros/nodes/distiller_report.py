"""What the distiller node tells of the loop: ``DistillationStatus`` and a status on ``/diagnostics``."""

from __future__ import annotations

import math
from typing import Any

from semlt3d_ros.adaptation.status import Status
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.typestore import MessageTypes
from semlt3d_ros.nodes.detector_report import ERROR, OK, WARN, Entry

STATUS_TYPE = "semlt3d_ros/msg/DistillationStatus"
LOOP = "semlt3d distiller: loop"
_COUNTS = (
    "recordings_replayed",
    "recordings_total",
    "pseudo_labels_kept",
    "pseudo_labels_rejected",
    "training_step",
    "training_steps",
)
_SCORES = ("running_held_back", "candidate_held_back", "running_regression", "candidate_regression")


def encode_status(status: Status, stamp: int, types: MessageTypes) -> Any:
    """``semlt3d_ros/DistillationStatus``."""
    kind = types(STATUS_TYPE)
    scores = {name: getattr(status, name) for name in _SCORES}
    return kind(
        header=build_header(types, stamp, ""),
        state=getattr(kind, status.state.upper()),
        message=status.message,
        **{name: getattr(status, name) for name in _COUNTS},
        running_version=status.running_version,
        candidate_version=status.candidate_version,
        **{f"{name}_score": math.nan if value is None else value for name, value in scores.items()},
        promoted=status.promoted,
        reason_not_promoted=status.reason_not_promoted,
    )


def loop_entry(status: Status, working: bool, fault: str, forbidden: str) -> Entry:
    """The diagnostics of the loop: ERROR where a round failed, WARN where nothing can be begun.

    Args:
        status: where the loop stands.
        working: whether it is being worked on.
        fault: what keeps it from that; empty for nothing.
        forbidden: why it may not be now, as on most of a vehicle's ways; empty where it may.
    """
    values = {name: value for name, value in vars(status).items() if name not in ("message", "at_ns")}
    if working:
        return LOOP, OK, f"{status.state}: {status.message}", values
    if status.state == "failed":
        return LOOP, ERROR, f"failed: {status.message}", values
    if fault:
        return LOOP, WARN, fault, values
    return LOOP, OK, forbidden or f"{status.state}: {status.message}", values

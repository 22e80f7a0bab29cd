"""The detector node's diagnostics: one status for sets, latency, messages, model and memory, and one per camera.

All counts are since the start of the node, so that the last message of a recording tells all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from semlt3d_ros.nodes.statistics import SetCounters, StageLatencies
from semlt3d_ros.sensing.camera_input import CameraStatus

Entry = tuple[str, int, str, Mapping[str, object]]
OK, WARN, ERROR = 0, 1, 2

SETS = "semlt3d_detector: sets"
LATENCY = "semlt3d_detector: latency"
MESSAGES = "semlt3d_detector: messages"
MODEL = "semlt3d_detector: model"
MEMORY = "semlt3d_detector: memory"
CAMERA = "semlt3d_detector: camera "
"""Names of the statuses; a camera's name follows ``CAMERA``."""

_CAMERA_LEVELS = {"ok": OK, "never_seen": ERROR, "rejected": ERROR, "stopped": ERROR}


class RateMeter:
    """Sets per second since the last reading."""

    def __init__(self, now: int) -> None:
        self._time = now
        self._count = 0

    def read(self, now: int, count: int) -> float:
        """Rate in Hz of a count that has grown to ``count`` at ``now`` nanoseconds."""
        elapsed = max(now - self._time, 1) * 1e-9
        rate = (count - self._count) / elapsed
        self._time, self._count = now, count
        return rate


def sets_entry(counters: SetCounters, rate_hz: float) -> Entry:
    """Sets in, processed and dropped by reason; WARN once any was dropped."""
    dropped = sum(counters.drops.values())
    message = f"{counters.sets_processed} of {counters.sets_in} sets processed, {dropped} dropped"
    return SETS, WARN if dropped else OK, message, {**counters.values(), "rate_hz": f"{rate_hz:.2f}"}


def latency_entry(latencies: StageLatencies) -> Entry:
    """Percentiles of the end-to-end latency and of each stage."""
    values = latencies.values()
    return LATENCY, OK, f"p50 {values['latency_ms.p50']} ms, p99 {values['latency_ms.p99']} ms", values


def messages_entry(drops: Mapping[str, int], resets: Mapping[str, int], waiting: int) -> Entry:
    """Messages that went into no set, by reason; time jumps and gaps; images that wait. WARN once any was dropped."""
    values = {"waiting": str(waiting)}
    values.update({f"drops.{reason}": str(count) for reason, count in sorted(drops.items()) if count})
    values.update({f"resets.{reason}": str(count) for reason, count in sorted(resets.items()) if count})
    dropped = sum(drops.values())
    return MESSAGES, WARN if dropped else OK, f"{dropped} messages dropped", values


def model_entry(
    model_version: str, device: str, class_names: Iterable[str], vocabulary_file: str, vocabulary_rejected: str
) -> Entry:
    """Which model is running, where, and for which classes; WARN while the last vocabulary that was set is rejected."""
    values = {
        "version": model_version,
        "device": device,
        "classes": ",".join(class_names),
        "vocabulary_file": vocabulary_file,
    }
    if vocabulary_rejected:
        values["vocabulary_rejected"] = vocabulary_rejected
        return MODEL, WARN, f"{model_version}; the vocabulary is as it was: {vocabulary_rejected}", values
    return MODEL, OK, model_version, values


def memory_entry(resets: Mapping[str, int]) -> Entry:
    """How often the student's memory was emptied before a frame, by cause; WARN once there was no ego pose to carry it.

    Args:
        resets: ``Detector.memory_resets``; empty for a detector without memory.
    """
    frames = sum(resets.values())
    values = {f"resets.{cause.replace(' ', '_')}": str(count) for cause, count in sorted(resets.items())}
    blind = resets.get("no ego pose", 0)
    if blind:
        message = (
            f"{blind} of {frames} sets had no ego pose, so nothing was remembered; publish odometry or tf from a fixed "
            "frame to the base frame, and name that fixed_frame in the rig"
        )
        return MEMORY, WARN, message, values
    message = f"kept before {resets.get('kept', 0)} of {frames} sets" if frames else "nothing is remembered"
    return MEMORY, OK, message, values


def camera_entry(status: CameraStatus) -> Entry:
    """What one camera does."""
    values: dict[str, object] = {"state": status.state, "age_s": f"{status.age_s:.3f}", "images": str(status.images)}
    values.update({f"drops.{reason}": str(count) for reason, count in sorted(Counter(status.drops).items())})
    return CAMERA + status.name, _CAMERA_LEVELS.get(status.state, WARN), status.detail, values

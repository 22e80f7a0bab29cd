"""The detector node's diagnostics: one status for sets, latency, messages and model, and one per camera.

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


def model_entry(model_version: str, device: str, class_names: Iterable[str]) -> Entry:
    """Which model is running, and where."""
    return MODEL, OK, model_version, {"version": model_version, "device": device, "classes": ",".join(class_names)}


def camera_entry(status: CameraStatus) -> Entry:
    """What one camera does."""
    values: dict[str, object] = {"state": status.state, "age_s": f"{status.age_s:.3f}", "images": str(status.images)}
    values.update({f"drops.{reason}": str(count) for reason, count in sorted(Counter(status.drops).items())})
    return CAMERA + status.name, _CAMERA_LEVELS.get(status.state, WARN), status.detail, values

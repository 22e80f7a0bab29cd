"""The detector node's diagnostics: one status for each thing that can go wrong by itself, and one per camera.

All counts are since the start of the node, so that the last message of a recording tells all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from semlt3d_ros.core.faults import Fault
from semlt3d_ros.nodes.statistics import NOBODY_LISTENS, SetCounters, StageLatencies
from semlt3d_ros.sensing.camera_input import CameraStatus
from semlt3d_ros.sensing.frame_builder import Completeness

Entry = tuple[str, int, str, Mapping[str, object]]
OK, WARN, ERROR = 0, 1, 2

PREFIX = "semlt3d: "
LIFECYCLE = PREFIX + "lifecycle"
INPUT = PREFIX + "input"
SETS = PREFIX + "sets"
LATENCY = PREFIX + "latency"
MESSAGES = PREFIX + "messages"
MODEL = PREFIX + "model"
PROMOTION = PREFIX + "promotion"
MEMORY = PREFIX + "memory"
CAMERA = PREFIX + "camera "
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


def lifecycle_entry(state: str, failure: str) -> Entry:
    """The state of the node; ERROR while the last transition that was tried has failed.

    Args:
        state: ``unconfigured``, ``inactive``, ``active`` or ``finalized``.
        failure: which transition failed, and why; empty if the last one succeeded.
    """
    message = f"{state}; {failure}" if failure else state
    return LIFECYCLE, ERROR if failure else OK, message, {"state": state, "failure": failure}


def input_entry(sets: Completeness, before: Completeness) -> Entry:
    """How complete the sets are that the cameras make up.

    WARN if sets since the last report lacked images or were dropped, ERROR if all of them were dropped, or if images
    come and make up no set.

    Args:
        sets: until now.
        before: until the last report.
    """
    values: dict[str, object] = {"sets_complete": str(sets.complete), "sets_partial": str(sets.partial)}
    values.update(_counts("missing.", sets.missing))
    values.update(_counts("dropped.", sets.dropped))
    missing, dropped = Counter(sets.missing) - Counter(before.missing), Counter(sets.dropped) - Counter(before.dropped)
    used = sets.complete + sets.partial - before.complete - before.partial
    faults = []
    if missing:
        faults.append(f"{sets.partial - before.partial} lacked images of {_listed(missing)}")
    if dropped:
        faults.append(f"{sum(dropped.values())} were dropped: {_listed(dropped)}")
    if not faults and not used and sets.fruitless:
        text = f"no set, although {sets.fruitless} images came since the last one; the cameras' statuses say why"
        return INPUT, ERROR, text, {**values, "fruitless_images": str(sets.fruitless)}
    if not faults:
        return INPUT, OK, f"{used} sets since the last report, all complete" if used else "no set", values
    level = WARN if used else ERROR
    return INPUT, level, f"of {used + sum(dropped.values())} sets since the last report " + "; ".join(faults), values


def sets_entry(counters: SetCounters, rate_hz: float, loss_rate_hz: float | None = None) -> Entry:
    """Sets in, processed and dropped by reason; WARN where any was lost.

    Args:
        counters: since the start.
        rate_hz: sets processed per second since the last report.
        loss_rate_hz: sets lost (``SetCounters.lost``) per second since then, so that the warning ends with the losses;
            None warns of any since the start.
    """
    recently_lost = counters.lost if loss_rate_hz is None else loss_rate_hz
    message = f"{counters.sets_processed} of {counters.sets_in} sets processed, {counters.lost} dropped"
    if counters.drops[NOBODY_LISTENS]:
        message += f", {counters.drops[NOBODY_LISTENS]} not wanted: nobody listened"
    return SETS, WARN if recently_lost else OK, message, {**counters.values(), "rate_hz": f"{rate_hz:.2f}"}


def latency_entry(latencies: StageLatencies) -> Entry:
    """Percentiles of the end-to-end latency and of each stage."""
    values = latencies.values()
    return LATENCY, OK, f"p50 {values['latency_ms.p50']} ms, p99 {values['latency_ms.p99']} ms", values


def messages_entry(
    drops: Mapping[str, int],
    resets: Mapping[str, int],
    waiting: int,
    drop_rate_hz: float | None = None,
    faults: Iterable[Fault] = (),
) -> Entry:
    """Messages that went into no set, by reason; time jumps and gaps; images that wait. WARN where any was dropped.

    Args:
        drops: messages dropped since the start.
        resets: time jumps and gaps since the start.
        waiting: images that are neither in a set nor dropped yet.
        drop_rate_hz: messages dropped per second since the last report, so that the warning ends with the drops; None
            warns of any since the start.
        faults: what was wrong with messages.
    """
    values = {"waiting": str(waiting), **_counts("drops.", drops), **_counts("resets.", resets)}
    values.update({f"fault.{fault.place}.{fault.reason}": str(fault) for fault in faults})
    dropped = sum(drops.values())
    recent = dropped if drop_rate_hz is None else drop_rate_hz
    return MESSAGES, WARN if recent else OK, f"{dropped} messages dropped", values


def model_entry(
    model_version: str,
    device: str,
    class_names: Iterable[str],
    vocabulary_file: str,
    vocabulary_rejected: str,
    reload_failure: str = "",
    memory_mib: Mapping[str, float] | None = None,
    second_opinion: str = "",
) -> Entry:
    """Which model is running, where, and for which classes; WARN while what was last asked for could not be had.

    Args:
        model_version: checkpoint identity.
        device: where it is now.
        class_names: what it finds.
        vocabulary_file: which file added or replaced classes.
        vocabulary_rejected: why the last vocabulary that was set is not in use; empty if it is.
        reload_failure: why the last model that was asked for is not running; empty if it is.
        memory_mib: GPU memory of the process by kind (``allocated``, ``reserved``); None or empty on the CPU.
        second_opinion: whose settings a second opinion has; empty without one.
    """
    values: dict[str, object] = {
        "version": model_version,
        "device": device,
        "classes": ",".join(class_names),
        "vocabulary_file": vocabulary_file,
        "second_opinion": second_opinion,
    }
    values.update({f"gpu_memory_mib.{kind}": f"{size:.1f}" for kind, size in (memory_mib or {}).items()})
    faults = []
    if reload_failure:
        values["reload_failure"] = reload_failure
        faults.append(f"the model is as it was: {reload_failure}")
    if vocabulary_rejected:
        values["vocabulary_rejected"] = vocabulary_rejected
        faults.append(f"the vocabulary is as it was: {vocabulary_rejected}")
    return MODEL, WARN if faults else OK, "; ".join([model_version, *faults]), values


def promotion_entry(version: str, on_trial: bool, sets: int, wanted: int, failures: int, told: str) -> Entry:
    """Whether a promoted model is on trial, and what was last done about promotions; WARN where one was given up.

    Args:
        version: that runs.
        on_trial: whether it has still to come through its watch period.
        sets: that it was seen in.
        wanted: that it must come through.
        failures: sets among them that it gave no answer to.
        told: what was done, or could not be; empty if all is well.
    """
    state = "on trial" if on_trial else "kept"
    values = {"version": version, "state": state, "sets": str(sets), "failures": str(failures), "told": told}
    message = f"{version} on trial: {sets} of {wanted} sets" if on_trial else f"{version} is kept"
    return PROMOTION, WARN if told else OK, f"{message}; {told}" if told else message, values


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
    values: dict[str, object] = {
        "state": status.state,
        "age_s": f"{status.age_s:.3f}",
        "rate_hz": "n/a" if status.rate_hz is None else f"{status.rate_hz:.2f}",
        "images": str(status.images),
    }
    values.update(_counts("drops.", status.drops))
    return CAMERA + status.name, _CAMERA_LEVELS.get(status.state, WARN), status.detail, values


def _counts(prefix: str, counts: Mapping[str, int]) -> dict[str, str]:
    return {f"{prefix}{name}": str(count) for name, count in sorted(counts.items()) if count}


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common())

"""The event recorder's diagnostics: one status for each thing that can go wrong by itself; counts since the start."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from semlt3d_ros.core.faults import Fault
from semlt3d_ros.nodes.detector_report import ERROR, OK, WARN, Entry
from semlt3d_ros.recording.quota import Quota
from semlt3d_ros.recording.recorder import Recorder
from semlt3d_ros.recording.ring import Ring
from semlt3d_ros.recording.writer import WriterReport

PREFIX = "semlt3d recorder: "
INPUT = PREFIX + "input"
RING = PREFIX + "ring"
EVENTS = PREFIX + "events"
DISK = PREFIX + "disk"

_SLOW_S = 2.0
"""A step of the disk that takes longer is told while it lasts."""


def input_entry(
    received: Mapping[str, int], silent: Collection[str], dropped: Mapping[str, int], faults: Iterable[Fault]
) -> Entry:
    """What comes; WARN where nothing does, or something could not be looked at.

    Args:
        received: messages by topic.
        silent: topics on which nothing has come.
        dropped: messages that the middleware has lost, by reason.
        faults: what was wrong with messages, and triggers that failed.
    """
    values = {f"received.{topic}": str(count) for topic, count in sorted(received.items())}
    values |= {f"dropped.{reason}": str(count) for reason, count in sorted(dropped.items()) if count}
    values |= {f"fault.{fault.place}.{fault.reason}": str(fault) for fault in faults}
    if silent:
        values["silent"] = ",".join(sorted(silent))
    total = sum(received.values())
    if not total:
        return INPUT, WARN, "nothing is received; check the rig's topics, and the ROS domain", values
    wrong = [fault for fault in faults if not fault.harmless]
    text = f"{total} messages on {len(received)} topics, nothing yet on {len(silent)}"
    return INPUT, WARN if wrong else OK, text + (f"; {wrong[0]}" if wrong else ""), values


def ring_entry(ring: Ring, seconds: float) -> Entry:
    """What is there before a trigger; WARN where the memory is too small for the pre-roll."""
    values = {
        "seconds": f"{ring.reach_s:.2f}",
        "mb": f"{ring.byte_count / 1e6:.1f}",
        "messages": str(len(ring)),
        "latched": str(len(ring.latched())),
        "too_large": str(ring.too_large),
    }
    text = f"{ring.reach_s:.1f} of {seconds:g} s in {ring.byte_count / 1e6:.0f} MB"
    if ring.too_large:
        return RING, WARN, f"{text}; {ring.too_large} messages are larger than ring_mb and in no event", values
    if ring.is_full and ring.reach_s < 0.9 * seconds:
        return RING, WARN, f"{text}: ring_mb is too small for the pre-roll", values
    return RING, OK, text, values


def events_entry(recorder: Recorder, fired: Mapping[str, int], written: WriterReport) -> Entry:
    """What has been made of it; WARN once something was lost."""
    values: dict[str, object] = {
        "recording": str(recorder.is_recording).lower(),
        "events": str(written.events),
        "lost_events": str(written.lost_events),
        "lost_messages": str(recorder.lost),
        "salvaged": str(written.salvaged),
        "clock_jumps": str(recorder.jumps),
        **{f"fired.{name}": str(count) for name, count in fired.items()},
    }
    text = f"{written.events} events recorded" + (", one under way" if recorder.is_recording else "")
    if written.lost_events or recorder.lost:
        return EVENTS, WARN, f"{text}; {written.lost_events} events and {recorder.lost} messages lost", values
    return EVENTS, OK, text, values


def disk_entry(written: WriterReport, quota: Quota, faults: Iterable[Fault]) -> Entry:
    """How the disk stands: ERROR where nothing can be recorded, WARN where it is slow or something on it is damaged."""
    values: dict[str, object] = {
        "written_mb": f"{written.message_bytes / 1e6:.1f}",
        "queued_mb": f"{written.queued_bytes / 1e6:.1f}",
        "busy_s": f"{written.busy_s:.1f}",
        "deleted": str(written.deleted),
        "quota_gb": f"{quota.max_bytes / 1e9:.2f}",
    }
    values |= {f"fault.{fault.place}.{fault.reason}": str(fault) for fault in faults}
    room = written.room
    if room is not None:
        values["used_gb"], values["free_gb"] = f"{room.used / 1e9:.3f}", f"{room.free / 1e9:.3f}"
        values["kept"] = str(len(room.events))
        values["protected"] = str(sum(event.protected for event in room.events))
        values |= {f"damaged.{number}": line for number, line in enumerate(room.faults)}
    if written.problem:
        return DISK, ERROR, written.problem, values
    if written.busy_s > _SLOW_S:
        text = f"the disk has been at one step for {written.busy_s:.1f} s; {written.queued_bytes / 1e6:.0f} MB wait"
        return DISK, WARN, text, values
    used = (
        f"{room.used / 1e9:.2f} of {quota.max_bytes / 1e9:.2f} GB in {len(room.events)} events" if room else "opening"
    )
    damaged = f"; {len(room.faults)} folders are no whole events" if room and room.faults else ""
    return DISK, WARN if damaged else OK, used + damaged, values

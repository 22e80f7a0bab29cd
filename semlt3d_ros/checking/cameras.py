"""Verdicts on each camera: its images and their stamps, its calibration, where it sits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from semlt3d_ros.checking.survey import Arrivals, Survey
from semlt3d_ros.checking.verdict import Verdict
from semlt3d_ros.core.frame import CameraView
from semlt3d_ros.sensing.camera_input import CameraStatus
from semlt3d_ros.sensing.rig import CameraConfig

_SLOWEST_HZ = 1.0
"""Below, sets are too far apart for the memory, which a gap of two seconds empties."""
_GAP_PERIODS = 1.75
_MOST_GAPS = 0.05
_LONGEST_DELAY_S = 1.0
_PHASE_SHARE = 0.75
"""Of the matching tolerance: a steadier phase than this is worth naming in the rig."""
_STEADY_S = 0.005
_MOSTLY = 0.5
"""A camera in so many of the sets is of use, whatever its last image was."""
_LOOP_NS = 1_000_000_000
_ENDED = ("ok", "slow", "stopped")
"""States of a camera about which its rates say more."""


def camera_verdicts(survey: Survey, available: Mapping[str, str] | None, tolerance_s: float) -> list[Verdict]:
    """Three verdicts on each camera of the rig.

    Args:
        survey: after its end.
        available: topics that are there, with their types; None where that is not known.
        tolerance_s: how far images of one set may lie apart.
    """
    anchor = survey.arrivals[survey.rig.cameras[survey.rig.camera_names.index(survey.rig.anchor)].image_topic]
    steady = survey.share_of(survey.rig.anchor) >= _MOSTLY
    status = survey.builder.camera_status
    views = {view.name: view for view in survey.sample.views} if survey.sample else {}
    verdicts: list[Verdict | None] = []
    for camera in survey.rig.cameras:
        arrivals = survey.arrivals[camera.image_topic]
        used = survey.share_of(camera.name) >= _MOSTLY
        verdicts.append(_images(camera, arrivals, status[camera.name], used, available))
        if len(arrivals):
            if camera.name != survey.rig.anchor and steady:
                verdicts.append(_phase(camera, arrivals, anchor, tolerance_s))
            verdicts.append(_calibration(camera, survey, views.get(camera.name)))
            verdicts.append(_mounting(camera, survey, status[camera.name], views.get(camera.name)))
    return [verdict for verdict in verdicts if verdict is not None]


def _images(
    camera: CameraConfig,
    arrivals: Arrivals,
    status: CameraStatus,
    used: bool,
    available: Mapping[str, str] | None,
) -> Verdict:
    subject = f"{camera.name} images"
    if not len(arrivals):
        there = sorted(topic for topic, kind in (available or {}).items() if kind.endswith("Image"))
        remedy = "name the camera's topic in the rig"
        if there:
            remedy += f"; image topics that are there: {', '.join(there)}"
        return Verdict(subject, "bad", f"none on {camera.image_topic}", remedy)
    if not used and status.state not in _ENDED:
        return Verdict(subject, "bad", status.detail, "see docs/ros.md, troubleshooting by symptom")
    steps = np.diff(arrivals.stamps)
    standing = int(((steps <= 0) & (steps > -_LOOP_NS)).sum())  # a recording that starts over is no fault
    if standing > _MOST_GAPS * len(arrivals):
        return Verdict(
            subject,
            "bad",
            f"{standing} of {len(arrivals)} stamps on {camera.image_topic} do not rise",
            "let the driver fill header.stamp with the time of exposure",
        )
    period = arrivals.period_s
    if period is None:
        return Verdict(subject, "note", "a single image", "rates and memory need more than one")
    gaps = int((steps > _GAP_PERIODS * period * 1e9).sum())
    found = f"{len(arrivals)} at {1 / period:.1f} Hz, {gaps} gaps"
    if 1 / period < _SLOWEST_HZ:
        return Verdict(subject, "note", found, "slower than 1 Hz: nothing is remembered between sets; record faster")
    if gaps > _MOST_GAPS * len(arrivals):
        return Verdict(subject, "note", found, "images are lost: record compressed ones, reliably, or on a faster disk")
    delay = arrivals.delay_s or 0.0
    if abs(delay) > _LONGEST_DELAY_S:
        return Verdict(
            subject,
            "note",
            f"{found}; stamps lie {delay:+.2f} s before the log time",
            "the camera's clock is not the recorder's: synchronise them, or stamp with system time",
        )
    return Verdict(subject, "ok", found)


def _phase(camera: CameraConfig, arrivals: Arrivals, anchor: Arrivals, tolerance_s: float) -> Verdict | None:
    """Whether the camera fires beside the anchor; None where neither is regular enough to tell, or clocks differ."""
    if len(anchor) < 2 or len(arrivals) < 2:
        return None
    anchors = np.unique(anchor.stamps)
    stamps = np.asarray(arrivals.stamps) - round(camera.time_offset_s * 1e9)
    place = np.clip(np.searchsorted(anchors, stamps), 1, len(anchors) - 1)
    before, after = stamps - anchors[place - 1], stamps - anchors[place]
    offsets = np.where(np.abs(before) <= np.abs(after), before, after) * 1e-9
    middle, spread = float(np.median(offsets)), float(np.percentile(np.abs(offsets - np.median(offsets)), 90))
    if abs(middle) > _LONGEST_DELAY_S:
        return None
    found = f"{middle * 1e3:+.1f} ms from the anchor, 90 % within {spread * 1e3:.1f} ms of that"
    subject = f"{camera.name} timing"
    if abs(middle) + spread <= _PHASE_SHARE * tolerance_s:
        return Verdict(subject, "ok", found)
    if spread <= _STEADY_S:
        return Verdict(
            subject, "note", found, f"give it time_offset_s: {camera.time_offset_s + middle:.3f} in the rig file"
        )
    return Verdict(
        subject, "note", found, "trigger the cameras together, or allow more tolerance_s (below half the period)"
    )


def _calibration(camera: CameraConfig, survey: Survey, view: CameraView | None) -> Verdict:
    subject, count = f"{camera.name} calibration", survey.calibrations[camera.name]
    faults = [fault for fault in survey.faults if fault.place == camera.info_topic]
    worst = next((fault for fault in faults if not fault.harmless), None)
    if worst is not None and not _usable(count, view):
        return Verdict(subject, "bad", worst.line, "publish the calibration that belongs to the images")
    if not count:
        return Verdict(subject, "bad", f"no camera_info on {camera.info_topic}", "publish it, or name its topic")
    found = "unknown" if view is None else f"{field_of_view(view):.0f} degrees wide as the detector sees it"
    if faults:
        return Verdict(subject, "note", f"{found}; {'; '.join(map(str, faults))}", "mend it in the driver")
    if count > 1:
        return Verdict(subject, "note", f"{found}; {count} different ones", "make sure that they are meant to change")
    return Verdict(subject, "ok", found)


def _usable(count: int, view: CameraView | None) -> bool:
    return count > 0 and view is not None


def _mounting(camera: CameraConfig, survey: Survey, status: CameraStatus, view: CameraView | None) -> Verdict | None:
    """How the camera sits; None where its images say nothing of that, for a reason that another verdict tells."""
    subject = f"{camera.name} mounting"
    base = survey.rig.base_frame
    fault = next(_of_mounting(camera, survey), None)
    if view is None and fault is not None:
        return Verdict(subject, "bad", fault, "correct the transform or the frame")
    if view is None:
        lost = Verdict(
            subject,
            "bad",
            f"no pose of the camera in '{base}' for any image",
            "publish the transform to the camera's optical frame on /tf_static, or name frame_id in the rig",
        )
        return lost if status.state == "waiting_tf" and status.detail.startswith(camera.image_topic) else None
    T = view.T_ego_camera
    x, y, z = T[:3, 3]
    heading = np.degrees(np.arctan2(T[1, 2], T[0, 2]))
    pitch, roll = np.degrees(np.arcsin(np.clip(T[2, 2], -1, 1))), np.degrees(np.arctan2(-T[2, 0], -T[2, 1]))
    found = (
        f"x {x:.2f}, y {y:.2f}, z {z:.2f} m in '{base}'; looks {heading:+.0f} degrees left of ahead, "
        f"{pitch:+.0f} up, rolled {roll:+.0f}"
    )
    if fault is not None:
        return Verdict(subject, "note", f"{found}; {fault}", "look at the picture (--picture)")
    return Verdict(subject, "ok", found)


def _of_mounting(camera: CameraConfig, survey: Survey) -> Iterator[str]:
    return (
        fault.line
        for fault in survey.faults
        if fault.reason in ("mounting", "implausible") and fault.place == camera.image_topic
    )


def field_of_view(view: CameraView) -> float:
    """How wide an image is, in degrees."""
    return float(np.degrees(2 * np.arctan(view.camera.width / (2 * view.camera.K[0, 0]))))

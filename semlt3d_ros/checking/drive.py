"""Verdicts on what the sensors make together: sets, transforms, ego motion, LiDAR, labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from semlt3d_ros.checking.cameras import field_of_view
from semlt3d_ros.checking.survey import Survey
from semlt3d_ros.checking.verdict import Verdict
from semlt3d_ros.core import rigid
from semlt3d_ros.core.frame import Frame

_MOST_LOST = 0.1
_FEWEST_SETS = 2
_STANDING_M = 1.0
_FASTEST_M_S = 70.0
_MOVING_M_S = 1.0
_MOST_ASKEW_DEG = 30.0
_NEAR_M = (3.0, 15.0)
"""Between these distances the ground around the vehicle is looked for."""
_GROUND_PERCENTILE = 5
_GROUND_OFF_M = 0.7
_LEAST_SEEN = 0.2
"""Of the points around the vehicle, as a share of those that the cameras' angles of view would hold."""
_SEEN_WITHIN_M = 50.0
_EMPTY_WITHIN_M = 30.0
_LONGEST_LIST = 6


def drive_verdicts(survey: Survey) -> list[Verdict]:
    """What a finished survey says of the whole."""
    return [_sets(survey), _transforms(survey), *_ego_motion(survey), *_points(survey), *_labels(survey)]


def _sets(survey: Survey) -> Verdict:
    sets = survey.builder.completeness
    made, dropped = sets.complete + sets.partial, sum(sets.dropped.values())
    found = f"{sets.complete} complete, {sets.partial} lack a camera, {dropped} dropped"
    if dropped:
        found += f" ({', '.join(f'{count} {reason}' for reason, count in sorted(sets.dropped.items()))})"
    if not made:
        return Verdict("sets", "bad", found, "mend what is marked bad; nothing can be detected")
    if sets.partial + dropped > _MOST_LOST * (made + dropped):
        lacking = ", ".join(f"{name} ({count})" for name, count in sorted(sets.missing.items()) if count)
        return Verdict(
            "sets",
            "note",
            found + (f"; missing: {lacking}" if lacking else ""),
            "images that come together: time_offset_s in the rig, tolerance_s, or a recording that loses none",
        )
    if made < _FEWEST_SETS:
        return Verdict("sets", "note", found, "a single set shows nothing of motion")
    return Verdict("sets", "ok", found)


def _transforms(survey: Survey) -> Verdict:
    rig, frames = survey.rig, survey.builder.tree.frames
    place = (rig.tf_topic, rig.tf_static_topic, *([rig.odometry_topic] if rig.odometry_topic else []))
    faults = [str(fault) for fault in survey.faults if fault.place.split()[0] in place and not fault.harmless]
    found = f"{len(frames)} frames: {_some(frames)}" if frames else "none"
    if rig.base_frame not in frames:
        return Verdict(
            "tf",
            "bad",
            f"{found}; '{rig.base_frame}' is not among them" + "".join(f"; {fault}" for fault in faults),
            "publish /tf_static from the base frame to the cameras, or name base_frame in the rig",
        )
    if faults:
        return Verdict("tf", "note", "; ".join([found, *faults]), "mend the publisher that is named")
    return Verdict("tf", "ok", found)


def _ego_motion(survey: Survey) -> list[Verdict]:
    rig = survey.rig
    seconds, positions, rotations = survey.positions()
    if not survey.moments:
        return []
    if not len(seconds):
        return [
            Verdict(
                "ego motion",
                "note",
                "unknown: every image is its own frame, and nothing is remembered between them",
                f"record tf or odometry of '{rig.base_frame}' in a fixed frame, and name that fixed_frame in the rig",
            )
        ]
    onwards = np.diff(seconds) > 0  # not where a recording starts over
    steps, times = np.diff(positions, axis=0)[onwards], np.diff(seconds)[onwards]
    speeds = np.linalg.norm(steps, axis=1) / times
    way = float(np.linalg.norm(steps, axis=1).sum())
    top = float(speeds.max(initial=0.0))
    found = f"{way:.1f} m in {times.sum():.1f} s, at most {top:.1f} m/s in '{rig.fixed_frame}'"
    if top > _FASTEST_M_S:
        return [
            Verdict(
                "ego motion",
                "bad",
                f"{found}: no vehicle is so fast, the pose jumps",
                f"take a fixed_frame without jumps (odom, REP-105) instead of '{rig.fixed_frame}'",
            )
        ]
    if way < _STANDING_M:
        return [Verdict("ego motion", "note", f"{found}: it stands", "a drive shows more: motion, and other objects")]
    moving = speeds > _MOVING_M_S
    ahead = np.einsum("nji,nj->ni", rotations[:-1][onwards], steps)[moving]
    askew = np.degrees(np.median(np.abs(np.arctan2(ahead[:, 1], ahead[:, 0])))) if len(ahead) else 0.0
    found += f", {askew:.0f} degrees off straight ahead"
    if askew > 180 - _MOST_ASKEW_DEG:
        return [Verdict("ego motion", "note", f"{found}: it drives backwards", "or is x of the base frame turned?")]
    if askew > _MOST_ASKEW_DEG:
        return [
            Verdict(
                "ego motion",
                "bad",
                f"{found}: it drives sideways",
                f"'{rig.base_frame}' must have x forward, y left, z up (REP-103): turn it, or its odometry",
            )
        ]
    return [Verdict("ego motion", "ok", found)]


def _points(survey: Survey) -> list[Verdict]:
    rig = survey.rig
    with_points = [moment for moment in survey.moments if moment.points is not None]
    count = len(survey.arrivals.get(rig.points_topic or "", ()))
    told = [fault for fault in survey.faults if fault.place == rig.points_topic]
    faults = "; ".join(map(str, told))
    if not count:
        return [
            Verdict(
                "LiDAR",
                "note",
                f"no cloud on {rig.points_topic}" if rig.points_topic else "the rig names no points_topic",
                "not needed to detect; a teacher needs one",
            )
        ]
    found = f"{count} clouds, {len(with_points)} of {len(survey.moments)} sets have one"
    if not with_points:
        return [
            Verdict(
                "LiDAR",
                "bad",
                f"{found}{'; ' + faults if faults else ''}",
                "clouds and images must overlap in time, and the cloud's frame be on tf",
                ("learning",),
            )
        ]
    found += f", {np.median([moment.points for moment in with_points]):.0f} points each"
    if faults or len(with_points) < (1 - _MOST_LOST) * len(survey.moments):
        harmless = len(with_points) == len(survey.moments) and all(fault.harmless for fault in told)
        remedy = "mend it in the driver" if harmless else "see why clouds are missing"
        verdict = Verdict("LiDAR", "note", f"{found}{'; ' + faults if faults else ''}", remedy)
    else:
        verdict = Verdict("LiDAR", "ok", found)
    return [verdict, *_placed(survey.sample)]


def _placed(frame: Frame | None) -> list[Verdict]:
    """Where the ground and the cameras' views lie in one cloud."""
    if frame is None or frame.points is None or not len(frame.points):
        return []
    xyz = frame.points.xyz.astype(np.float64)
    distance = np.hypot(xyz[:, 0], xyz[:, 1])
    verdicts = []
    around = xyz[(distance > _NEAR_M[0]) & (distance < _NEAR_M[1]), 2]
    if len(around):
        ground = float(np.percentile(around, _GROUND_PERCENTILE))
        found = f"{ground:+.2f} m beside the vehicle, by the lowest LiDAR points"
        if abs(ground) > _GROUND_OFF_M:
            remedy = "the base frame should lie on the ground below the vehicle; or is the LiDAR's mounting wrong?"
            verdicts.append(Verdict("ground", "note", found, remedy))
        else:
            verdicts.append(Verdict("ground", "ok", found))
    near = xyz[(distance > _NEAR_M[0]) & (distance < _SEEN_WITHIN_M)]
    if len(near) and frame.views:
        seen = np.zeros(len(near), bool)
        for view in frame.views:
            seen |= view.camera.project(rigid.apply(rigid.inverse(view.T_ego_camera), near))[1]
        share = float(seen.mean())
        found = f"{100 * share:.0f} % of the LiDAR points within {_SEEN_WITHIN_M:g} m are in an image"
        around_deg = min(sum(map(field_of_view, frame.views)), 360.0)
        if share < _LEAST_SEEN * around_deg / 360:
            remedy = "cameras and LiDAR look at different things: check both mountings in the picture (--picture)"
            verdicts.append(Verdict("LiDAR in images", "note", found, remedy))
        else:
            verdicts.append(Verdict("LiDAR in images", "ok", found))
    return verdicts


def _labels(survey: Survey) -> list[Verdict]:
    labelled = [moment for moment in survey.moments if moment.boxes is not None]
    topic = survey.rig.labels_topic
    faults = "; ".join(str(fault) for fault in survey.faults if fault.place == topic)
    if not labelled:
        count = len(survey.arrivals.get(topic or "", ()))
        found = f"{count} messages on {topic}, none with the stamp of a set" if count else f"none on {topic}"
        return [
            Verdict(
                "labels",
                "bad",
                f"{found}{'; ' + faults if faults else ''}",
                "not needed to detect; learning from this recording needs labels at the anchor images' stamps",
                ("learning",),
            )
        ]
    found = (
        f"{len(labelled)} of {len(survey.moments)} sets, {sum(survey.classes.values())} boxes of "
        f"{len(survey.classes.keys() - {''})} classes: {_some(_by_count(survey.classes))}"
    )
    if faults:
        return [Verdict("labels", "note", f"{found}; {faults}", "mend the labels that are named")]
    empty = _boxes_without_points(survey.sample)
    if empty is not None and empty > 0.5:
        found += f"; {100 * empty:.0f} % of the boxes within {_EMPTY_WITHIN_M:g} m hold no LiDAR point"
        return [Verdict("labels", "note", found, "do boxes and points share a frame and a stamp?")]
    return [Verdict("labels", "ok", found)]


def _boxes_without_points(frame: Frame | None) -> float | None:
    if frame is None or frame.labels is None or frame.points is None or not len(frame.points):
        return None
    boxes = frame.labels.boxes
    near = np.flatnonzero(np.linalg.norm(boxes.centers[:, :2], axis=1) < _EMPTY_WITHIN_M)
    if not len(near):
        return None
    return float(np.mean([not boxes[row : row + 1].contains(frame.points.xyz).any() for row in near]))


def _by_count(classes: Mapping[str, int]) -> list[str]:
    ranked = sorted(classes.items(), key=lambda entry: -entry[1])
    return [f"{name or 'of no class'} {count}" for name, count in ranked]


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = len(names) - _LONGEST_LIST
    return ", ".join(names[:_LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")

"""The detections of a drive made consistent: objects instead of boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.labelling.agreement import agreed_headings, axis_of, stands, weighted_median
from semlt3d_ros.labelling.settings import LabelSettings
from semlt3d_ros.labelling.smoothing import smoothed
from semlt3d_ros.labelling.tracking import Floats, Track, tracked


@dataclass
class Consistent:
    """What became of the detections of a drive.

    Attributes:
        frames: detections frame by frame, in the ego frame, best first; ``depth_uncertainty`` is the deviation of the
            smoothed centres along the ray, and so in every direction on the ground.
        track_ids: names of the objects, as many as each frame has detections.
        counts: ``detections`` that were looked at, ``tracks``, ``standing`` ones, ``ghosts``, ``filled`` gaps, and
            ``doubles``: boxes of an object where a surer one of its kind is.
    """

    frames: list[Detections]
    track_ids: list[tuple[str, ...]]
    counts: Counter[str]


@dataclass
class _Object:
    """An object at the frames of a track: boxes in the fixed axes, confidences (T, C) and covariances (T, 2, 2)."""

    family: str
    frames: list[int]
    boxes: Boxes3D
    confidences: Floats
    covariances: Floats


_Seen = tuple[str, int, _Object]
"""An object in a frame: its name, and the frame's number among the object's own."""


def consistent(
    frames: Sequence[Detections],
    poses: Sequence[rigid.Matrix | None],
    families: Sequence[str],
    settings: LabelSettings | None = None,
    prefix: str = "",
) -> Consistent:
    """Track the objects of frames that follow each other, smooth their ways forward and backward, and agree on them.

    Args:
        frames: detections in the ego frame, in the order of their stamps.
        poses: (4, 4) of the ego frame in a fixed one; where one is unknown, objects are followed along the ego axes as
            if the vehicle stood, and none of them is taken for standing.
        families: the kind of each class, such as its super-class; an object is of one kind.
        settings: how it is done.
        prefix: of the objects' names.
    """
    settings = settings or LabelSettings()
    known = [pose for pose in poses if pose is not None]
    with_poses = bool(frames) and len(known) == len(frames)
    places = known if with_poses else [np.eye(4)] * len(frames)
    fixed = [_moved(found, T) for found, T in zip(frames, places, strict=True)]
    tracks = tracked(fixed, [T[:3, 3] for T in places], families, settings)
    fewest = min(settings.fewest_hits, len(frames))
    kept = [track for track in tracks if len(track.hits) >= fewest]
    counts = Counter(
        detections=sum(int((found.scores >= settings.score).sum()) for found in frames),
        tracks=len(kept),
        ghosts=len(tracks) - len(kept),
    )
    by_frame: list[list[_Seen]] = [[] for _ in frames]
    for number, track in enumerate(kept):
        item = _object_of(track, fixed, settings, with_poses, counts)
        for place, frame in enumerate(item.frames):
            by_frame[frame].append((f"{prefix}{number}", place, item))
    single = [_without_doubles(there) for there in by_frame]
    counts["doubles"] = sum(map(len, by_frame)) - sum(map(len, single))
    results = [_frame_of(found, T, there) for found, T, there in zip(frames, places, single, strict=True)]
    return Consistent([found for found, _ in results], [ids for _, ids in results], counts)


def _moved(found: Detections, T: rigid.Matrix) -> Detections:
    return replace(found, boxes=found.boxes.moved(T))


def _object_of(
    track: Track, fixed: Sequence[Detections], settings: LabelSettings, may_stand: bool, counts: Counter[str]
) -> _Object:
    means, covariances = smoothed(track)
    first, last = track.steps[0].frame, track.steps[-1].frame
    hits = np.array([step.frame - first for step in track.hits])
    seen = [(fixed[step.frame], step.row) for step in track.hits]
    scores = np.array([float(found.scores[row]) for found, row in seen])
    confidences = np.array([found.confidences[row] for found, row in seen], np.float64)
    sizes = np.array([found.boxes.sizes[row] for found, row in seen])
    yaws = np.array([found.boxes.yaw[row] for found, row in seen])
    count = len(means)
    centers, velocity = means[:, :3].copy(), means[:, 3:].copy()
    if may_stand and stands(means, (fixed[last].stamp - fixed[first].stamp) * 1e-9, settings):
        counts["standing"] += 1
        # What is seen well counts more; detections of a frame are wrong alike in the next one, so that the deviation
        # does not fall as it would were each of them news.
        weight = scores / np.array([step.covariance[0, 0] for step in track.hits])
        where = np.array([found.boxes.centers[row] for found, row in seen])
        centers[:] = (weight[:, None] * where).sum(axis=0) / weight.sum()
        velocity[:] = 0.0
        headings = np.full(count, axis_of(yaws, scores))
    else:
        headings = agreed_headings(yaws, scores, hits, velocity, settings)
    told = np.repeat(confidences.mean(axis=0)[None], count, axis=0)
    missed = np.ones(count, np.bool_)
    missed[hits] = False
    told[missed] *= settings.gap_share
    counts["filled"] += int(missed.sum())
    boxes = Boxes3D(centers, np.repeat(weighted_median(sizes, scores)[None], count, axis=0), headings, velocity)
    return _Object(track.family, list(range(first, last + 1)), boxes, told, covariances[:, :2, :2])


def _without_doubles(there: Sequence[_Seen]) -> list[_Seen]:
    """The objects of a frame, the surest first, without those whose middle lies in a surer one's of their kind.

    An object that is seen a little elsewhere for a while may become two, and a gap be filled where another one is.
    """
    kept: list[_Seen] = []
    for name, place, item in sorted(there, key=lambda seen: -float(seen[2].confidences[seen[1]].max())):
        center, width = item.boxes.centers[place, :2], item.boxes.sizes[place, :2].min()
        for _, other_place, other in kept:
            near = (width + other.boxes.sizes[other_place, :2].min()) / 4
            away = np.linalg.norm(other.boxes.centers[other_place, :2] - center)
            if other.family == item.family and away < near:
                break
        else:
            kept.append((name, place, item))
    return kept


def _frame_of(
    found: Detections, T_fixed_ego: rigid.Matrix, there: Sequence[_Seen]
) -> tuple[Detections, tuple[str, ...]]:
    if not there:
        return found[np.zeros(0, np.int64)], ()
    rows = [item.boxes[np.array([place])] for _, place, item in there]
    boxes = Boxes3D(
        np.concatenate([row.centers for row in rows]),
        np.concatenate([row.sizes for row in rows]),
        np.concatenate([row.yaw for row in rows]),
        np.concatenate([row.velocity for row in rows]),
    )
    rays = boxes.centers[:, :2] - T_fixed_ego[:2, 3]
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-6)
    covariances = np.array([item.covariances[place] for _, place, item in there])
    deviations = np.sqrt(np.maximum(np.einsum("ni,nij,nj->n", rays, covariances, rays), 0.0))
    result = replace(
        found,
        boxes=boxes.moved(rigid.inverse(T_fixed_ego)),
        confidences=np.array([item.confidences[place] for _, place, item in there], np.float32),
        expert_weights=np.zeros((len(there), 0), np.float32),
        classifier_confidences=np.zeros((len(there), 0), np.float32),
        second_opinion=np.zeros((len(there), 0), np.float32),
        depth_uncertainty=deviations.astype(np.float32),
    )
    return result, tuple(name for name, _, _ in there)

"""Whether the cameras agree: which objects of a LiDAR teacher the model that ran has seen too, by its own detections.

A teacher in a place that it does not know takes poles and bushes for children and motorcycles, and is as sure of them
in every frame. A student that looks with cameras makes other mistakes: what both take for the same is mostly there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semlt3d_ros.adaptation.views import in_classes
from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.classes import ABSENT, ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_detections import decode_labels, decode_long_tail

_NEAR_M = 2.0
"""As far from each other as evaluation lets boxes of one object be."""
_SHARE = 0.2
"""Of an object's frames, those in which it must have been seen: now and then a student sees something anywhere."""
_SAME_TIME_NS = 60_000_000
_NOT_THE_MODELS = {topics.TEACHER_LABELS, topics.TRUTH_LONG_TAIL}


@dataclass(frozen=True)
class Support:
    """What the model that ran has seen of a recording's labels.

    Attributes:
        seen: tracks where it has seen something, whatever.
        same: tracks where it has seen something of their class.
        unsupported: boxes that the teacher takes for objects, of other tracks than ``same``.
    """

    seen: tuple[str, ...]
    same: tuple[str, ...]
    unsupported: int


def support_of(event: Path, labelled: Path, classes: ClassList, least: float) -> Support | None:
    """Compare labels with the detections that were recorded with them.

    Args:
        event: the recording, with detections of the model that ran.
        labelled: its labels.
        classes: of the model.
        least: confidence from which on a detection counts.

    Returns:
        None where nothing was detected at the time of any label: no model ran.

    Raises:
        ConfigurationError: a bag cannot be read.
    """
    detections = _detections(event)
    stamps = np.array(sorted(detections), np.int64)
    if not len(stamps):
        return None
    frames, seen, of_class_frames, same, objects = (Counter[str]() for _ in range(5))
    with BagSource(labelled) as source:
        for _, message in decoded(source.messages(topics=[topics.TEACHER_LABELS]), FaultLog()):
            found, stamp = decode_labels(message, None, topics.TEACHER_LABELS)
            labels = in_classes(found, classes)
            known = labels.class_ids != ABSENT
            objects.update(_chosen(labels.track_ids, known))
            nearest = int(stamps[np.abs(stamps - stamp).argmin()])
            if abs(nearest - stamp) > _SAME_TIME_NS:
                continue
            anything, of_class = _near(labels, detections[nearest], least)
            frames.update(labels.track_ids)
            of_class_frames.update(_chosen(labels.track_ids, known))
            seen.update(_chosen(labels.track_ids, anything))
            same.update(_chosen(labels.track_ids, of_class))
    if not frames:
        return None

    agreed = _often(same, of_class_frames)
    return Support(_often(seen, frames), agreed, sum(objects.values()) - sum(objects[track] for track in agreed))


def _often(counts: Counter[str], frames: Counter[str]) -> tuple[str, ...]:
    return tuple(track for track, count in counts.items() if count >= _SHARE * frames[track])


def _detections(event: Path) -> dict[int, Detections]:
    with BagSource(event) as source:
        own = {name for name, kind in source.topics.items() if kind == topics.LONG_TAIL_TYPE} - _NOT_THE_MODELS
        entries = source.messages(topics=sorted(own)) if own else ()
        found = [decode_long_tail(message, FaultLog(), entry.topic) for entry, message in decoded(entries, FaultLog())]
    return {each.stamp: each for each in found}


def _near(labels: Labels, detections: Detections, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Of N labels (N,) bool each: whether anything was detected where they are, and anything of their class."""
    away = np.linalg.norm(labels.boxes.centers[:, None, :2] - detections.boxes.centers[None, :, :2], axis=-1)
    columns = {name: column for column, name in enumerate(detections.class_names)}
    anything, of_class = np.zeros((2, len(away)), np.bool_)
    for row, name in enumerate(labels.names):
        sure = detections.confidences[away[row] <= _NEAR_M] >= least
        anything[row] = sure.any()
        of_class[row] = name in columns and bool(sure[:, columns[name]].any())
    return anything, of_class


def _chosen(tracks: Sequence[str], which: Iterable[bool]) -> list[str]:
    return [track for track, chosen in zip(tracks, which, strict=True) if chosen]

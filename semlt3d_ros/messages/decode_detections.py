"""Detections and ground truth out of ROS messages.

One bad element does not take its neighbours along: it is left out, and told to the ``FaultLog`` that is given.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT, GROUPS
from semlt3d_ros.core.detections import Detections, groups_of
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.rigid import rotation_from_quaternion, yaw_from_rotation
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_geometry import stamp_of

_ROUNDING = 1e-4
"""Confidences may lie beyond [0, 1] by this."""
_FASTEST = 1e3
"""m/s; a velocity beyond is taken as not known."""


def decode_long_tail(message: Any, faults: FaultLog | None = None, topic: str = topics.LONG_TAIL) -> Detections:
    """Detections of ``semlt3d_ros/LongTailDetectionArray``, in the frame of its header.

    Args:
        message: the message.
        faults: gets what was left out, by reason. ``box``: a detection whose pose or size is no box's;
            ``class_confidences``, ``classifier_confidences``, ``second_opinion``, ``expert_weights``: one that has not
            as many as the others, or some that are not finite; ``confidence_range``: one with a confidence outside
            [0, 1]; ``velocity``: put right, not known instead of not finite.
        topic: where it came from.
    """
    rows = _Rows(message.detections, stamp_of(message), topic, faults)
    names = tuple(message.class_names)
    tables = {"class_confidences": len(names)}
    for name in ("expert_weights", "classifier_confidences", "second_opinion"):
        usual = Counter(len(_numbers(item, name)) for item in rows.items).most_common(1)
        tables[name] = usual[0][0] if usual else 0
    for name, length in tables.items():
        rows.leave_out(name, _odd_numbers([_numbers(item, name) for item in rows.items], length, name))
    rows.leave_out("confidence_range", _no_confidences([item.class_confidences for item in rows.items]))
    boxes = rows.boxes(lambda item: item.pose, lambda item: item.size, lambda item: item.velocity)
    return Detections(
        stamp=stamp_of(message),
        boxes=boxes,
        confidences=_table([item.class_confidences for item in rows.items], len(names)),
        class_names=names,
        expert_weights=_table([item.expert_weights for item in rows.items], tables["expert_weights"]),
        depth_uncertainty=np.array([item.depth_uncertainty for item in rows.items], np.float32),
        cameras=tuple(message.cameras),
        missing=tuple(message.missing_cameras),
        model_version=message.model_version,
        class_groups=_groups(names, rows.items),
        **{
            name: _table([_numbers(item, name) for item in rows.items], tables[name])
            for name in ("classifier_confidences", "second_opinion")
        },
    )


def _numbers(item: Any, name: str) -> Any:
    """The numbers of an element; none where it is of a recording from before there was the field."""
    return getattr(item, name, ())


def _groups(names: tuple[str, ...], items: Sequence[Any]) -> tuple[str, ...]:
    """The frequency groups that the elements tell of their own classes; of the others what is known by the names."""
    told = {item.class_name: item.group for item in items if item.group in (*GROUPS, "")}
    return tuple(told.get(name, group) for name, group in zip(names, groups_of(names), strict=True))


def decode_labels(
    message: Any, faults: FaultLog | None = None, topic: str = topics.TRUTH_LONG_TAIL
) -> tuple[Labels, int]:
    """Ground truth of ``semlt3d_ros/LongTailDetectionArray``, and its stamp in nanoseconds.

    What has no class name is of none of the classes.

    Args:
        message: the message.
        faults: gets what was left out, by reason. ``box``: a pose or size that is no box's; ``class_name``: not one of
            the classes that the message lists; ``velocity``: put right, not known instead of not finite.
        topic: where it came from.
    """
    rows = _Rows(message.detections, stamp_of(message), topic, faults)
    names = tuple(message.class_names)
    index = {**{name: place for place, name in enumerate(names)}, "": ABSENT}
    known = f"class_names has {', '.join(names) or 'none'}"
    rows.leave_out(
        "class_name",
        {
            row: f"the class '{item.class_name}' is not known, {known}"
            for row, item in enumerate(rows.items)
            if item.class_name not in index
        },
    )
    boxes = rows.boxes(lambda item: item.pose, lambda item: item.size, lambda item: item.velocity)
    labels = Labels(
        boxes=boxes,
        class_ids=np.array([index[item.class_name] for item in rows.items], np.int64),
        track_ids=tuple(item.track_id for item in rows.items),
        lidar_points=np.array([item.lidar_points for item in rows.items], np.int64),
        visible_pixels=np.array([item.visible_pixels for item in rows.items], np.int64),
        class_names=names,
    )
    return labels, stamp_of(message)


def decode_detection3d(
    message: Any,
    faults: FaultLog | None = None,
    topic: str = topics.DETECTIONS,
    class_names: Sequence[str] = CLASS_NAMES,
) -> Detections:
    """Detections of ``vision_msgs/Detection3DArray``, in the frame of its header; velocities are NaN.

    Confidences are the hypotheses' scores, 0 for classes that have none.

    Args:
        message: the message.
        faults: gets what was left out, by reason. ``box``: a detection whose pose or size is no box's; ``score``: a
            hypothesis whose score is not finite, and its detection if it has no other; ``confidence_range``: a
            detection with a score outside [0, 1].
        topic: where it came from.
        class_names: the names that come first; others are appended in the order in which they appear.
    """
    rows = _Rows(message.detections, stamp_of(message), topic, faults)
    rows.leave_out(
        "score",
        {
            row: "no score of it is finite"
            for row, item in enumerate(rows.items)
            if item.results and not any(math.isfinite(result.hypothesis.score) for result in item.results)
        },
    )
    rows.leave_out("confidence_range", _no_confidences([[h.score for h in _scored(item)] for item in rows.items]))
    boxes = rows.boxes(lambda item: item.bbox.center, lambda item: item.bbox.size, None)
    scored = [_scored(item) for item in rows.items]
    for row, (item, good) in enumerate(zip(rows.items, scored, strict=True)):
        if len(good) < len(item.results):
            rows.tell("score", row, f"{len(item.results) - len(good)} of its scores are not finite and left out")
    given = dict.fromkeys(hypothesis.class_id for hypotheses in scored for hypothesis in hypotheses)
    names = tuple(dict.fromkeys((*class_names, *given)))
    index = {name: position for position, name in enumerate(names)}
    confidences = np.zeros((len(boxes), len(names)), np.float32)
    for row, hypotheses in enumerate(scored):
        for hypothesis in hypotheses:
            column = index[hypothesis.class_id]
            confidences[row, column] = max(confidences[row, column], hypothesis.score)
    return Detections(stamp=stamp_of(message), boxes=boxes, confidences=confidences, class_names=names)


def _scored(item: Any) -> list[Any]:
    """The hypotheses of a ``Detection3D`` that have a score."""
    return [result.hypothesis for result in item.results if math.isfinite(result.hypothesis.score)]


class _Rows:
    """The elements of one message that are still good, and where to tell about the others."""

    def __init__(self, items: Sequence[Any], stamp: int, topic: str, faults: FaultLog | None) -> None:
        self.items = list(items)
        self._numbers = list(range(len(self.items)))
        self._topic = topic
        self._stamp = stamp
        self._faults = faults

    def leave_out(self, reason: str, odd: Mapping[int, str]) -> None:
        """Leave out elements: by row, what is wrong with each."""
        for row, what in odd.items():
            self.tell(reason, row, f"{what}; it is left out")
        if odd:
            self.items = [item for row, item in enumerate(self.items) if row not in odd]
            self._numbers = [number for row, number in enumerate(self._numbers) if row not in odd]

    def tell(self, reason: str, row: int, what: str, harmless: bool = False) -> None:
        """Tell what is wrong with an element."""
        if self._faults is not None:
            which = f"element {self._numbers[row]} of the message of stamp {self._stamp * 1e-9:.3f} s"
            self._faults.add(self._topic, reason, f"{which}: {what}; mend what publishes it", harmless=harmless)

    def boxes(
        self, pose: Callable[[Any], Any], size: Callable[[Any], Any], velocity: Callable[[Any], Any] | None
    ) -> Boxes3D:
        """The elements' boxes; elements that make none are left out."""
        boxes, odd = _boxes(
            [pose(item) for item in self.items],
            [size(item) for item in self.items],
            [velocity(item) for item in self.items] if velocity else None,
        )
        good = np.array([row not in odd for row in range(len(boxes))], dtype=bool)
        self.leave_out("box", odd)
        boxes = boxes[good]
        fast = (np.abs(boxes.velocity) > _FASTEST).any(axis=1)
        for row in np.flatnonzero(fast):
            text = f"a velocity of {boxes.velocity[row].tolist()} m/s counts as not known"
            self.tell("velocity", int(row), text, harmless=True)
        boxes.velocity[fast] = np.nan
        return boxes


def _boxes(poses: list[Any], sizes: list[Any], velocities: list[Any] | None) -> tuple[Boxes3D, dict[int, str]]:
    """All boxes, and by row what is wrong with those that are none."""
    count = len(poses)
    centers = np.array([(p.position.x, p.position.y, p.position.z) for p in poses], np.float64).reshape(count, 3)
    extents = np.array([(s.x, s.y, s.z) for s in sizes], np.float64).reshape(count, 3)
    yaw, velocity = np.zeros(count), np.full((count, 2), np.nan)
    odd: dict[int, str] = {}
    for row, pose in enumerate(poses):
        turn = pose.orientation
        try:
            yaw[row] = yaw_from_rotation(rotation_from_quaternion((turn.x, turn.y, turn.z, turn.w)))
        except ValueError as error:
            odd[row] = f"it has no heading: {error}"
    if velocities is not None:
        velocity = np.array([(v.x, v.y) for v in velocities], np.float64).reshape(count, 2)
    boxes = Boxes3D(centers, extents, yaw, velocity)
    for number in np.flatnonzero(~boxes.physical() | ~(extents > 0).all(axis=1)):
        what = f"centre {_text(centers[number])} m, size {_text(extents[number])} m"
        odd.setdefault(int(number), f"{what}: no box, all must be finite and sizes positive")
    return boxes, odd


def _odd_numbers(rows: list[Any], length: int, name: str) -> dict[int, str]:
    odd = {
        row: f"it has {len(values)} {name}, {length} are expected"
        for row, values in enumerate(rows)
        if len(values) != length
    }
    fitting = [row for row in range(len(rows)) if row not in odd]
    infinite = np.flatnonzero(~np.isfinite(_table([rows[row] for row in fitting], length)).all(axis=1))
    odd.update({fitting[index]: f"its {name} are not finite" for index in infinite})
    return dict(sorted(odd.items()))


def _no_confidences(rows: list[Any]) -> dict[int, str]:
    """By row, which of its confidences is none: percentages and logits would be ranked, cut and shown wrongly."""
    odd = {}
    for row, values in enumerate(rows):
        least, most = min(values, default=0.0), max(values, default=0.0)
        if least < -_ROUNDING or most > 1 + _ROUNDING:
            odd[row] = f"its confidence {least if least < -_ROUNDING else most:.4g} does not lie in [0, 1]"
    return odd


def _table(rows: list[Any], length: int) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(len(rows), length)


def _text(values: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)

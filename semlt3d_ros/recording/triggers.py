"""What makes a moment worth recording: each trigger says which topics it looks at, and when it fires.

A trigger's settings are a configuration; ``watch`` begins a drive and gives the function that is shown everything that
comes. What the triggers of ``config/recording.yaml`` mean stands in ``docs/recording_events.md``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.checks import Checks, not_negative, positive, rule, share
from semlt3d_ros.core.classes import GROUPS
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.messages import topics as names
from semlt3d_ros.recording.places import Places, Position
from semlt3d_ros.recording.trigger import Sight, Trigger, Watch, topic_entry

LONG_TAIL = names.LONG_TAIL


@dataclass(frozen=True)
class Always(Trigger):
    """Fires all the time: everything is recorded, in events of the longest length."""

    pause_s: float = 0.0
    worth: float = 0.1

    def watch(self, places: Places) -> Watch:
        """See ``Trigger``."""
        return lambda sight: sight.message is None


@dataclass(frozen=True)
class Service(Trigger):
    """Fires when the service ``~/record`` is called; it is asked by the node."""

    worth: float = 5.0
    pause_s: float = 0.0

    def watch(self, places: Places) -> Watch:
        """See ``Trigger``."""
        return lambda sight: False


@dataclass(frozen=True)
class Topic(Trigger):
    """Fires on every message of a topic; of a ``std_msgs/Bool`` only while it is true."""

    CHECKS: ClassVar[Checks] = (*Trigger.CHECKS, *topic_entry("topic"))

    topic: str = "/record"
    type: str = "std_msgs/msg/Bool"
    worth: float = 5.0

    def topics(self) -> dict[str, str]:
        """See ``Trigger``."""
        return {self.topic: self.type}

    def watch(self, places: Places) -> Watch:
        """See ``Trigger``."""
        return lambda sight: sight.topic == self.topic and bool(getattr(sight.message, "data", True) is not False)


@dataclass(frozen=True)
class RareClass(Trigger):
    """Fires when a rare class is neither clearly there nor clearly not.

    Attributes:
        topic: detections as ``LongTailDetectionArray``.
        groups: frequency groups that count as rare.
        classes: further classes that do, by name.
        low, high: the confidences between which one is unsure.
        sets: in so many sets in a row.
    """

    CHECKS: ClassVar[Checks] = (
        *Trigger.CHECKS,
        *topic_entry("topic"),
        *share("low", "high"),
        *positive("sets"),
        rule(lambda trigger: trigger.low < trigger.high, "low {0.low} must be below high {0.high}"),
        rule(lambda trigger: set(trigger.groups) <= set(GROUPS), f"groups {{0.groups}} must be of {', '.join(GROUPS)}"),
    )

    topic: str = LONG_TAIL
    groups: tuple[str, ...] = ("few",)
    classes: tuple[str, ...] = ()
    low: float = 0.15
    high: float = 0.5
    sets: int = 2
    worth: float = 3.0

    def topics(self) -> dict[str, str]:
        """See ``Trigger``."""
        return {self.topic: names.LONG_TAIL_TYPE}

    def watch(self, places: Places) -> Watch:
        """See ``Trigger``."""
        seen = deque[bool](maxlen=self.sets)

        def fires(sight: Sight) -> bool:
            found = sight.detections
            if sight.topic != self.topic or found is None:
                return False
            groups = zip(found.class_names, found.class_groups, strict=True)
            rare = [name in self.classes or group in self.groups for name, group in groups]
            # Between the two only if no class of the box, rare or not, is sure.
            sure = found.scores >= self.high
            unsure = (found.confidences[~sure][:, rare] >= self.low).any()
            seen.append(bool(unsure))
            return len(seen) == self.sets and all(seen)

        return fires


@dataclass(frozen=True)
class Disagree(Trigger):
    """Fires when two that look at the same see different things, such as student and teacher.

    Attributes:
        first, second: topics of both, as ``LongTailDetectionArray``.
        score: what one is so sure of, the other must at least half believe.
        distance_m: boxes so far apart, on the ground, are two.
        range_m: what lies farther away does not count.
        tolerance_s: stamps so far apart are of the same moment.
        boxes: how many boxes it takes.
    """

    CHECKS: ClassVar[Checks] = (
        *Trigger.CHECKS,
        *topic_entry("first"),
        *topic_entry("second"),
        *share("score"),
        *positive("distance_m", "range_m", "boxes"),
        *not_negative("tolerance_s"),
        rule(lambda trigger: trigger.first != trigger.second, "first and second are both {0.first}"),
    )

    first: str = LONG_TAIL
    second: str = names.TEACHER_LABELS
    score: float = 0.5
    distance_m: float = 2.0
    range_m: float = 50.0
    tolerance_s: float = 0.06
    boxes: int = 1
    worth: float = 2.0

    def topics(self) -> dict[str, str]:
        """See ``Trigger``."""
        return {self.first: names.LONG_TAIL_TYPE, self.second: names.LONG_TAIL_TYPE}

    def watch(self, places: Places) -> Watch:
        """See ``Trigger``."""
        newest: dict[str, Detections] = {}

        def fires(sight: Sight) -> bool:
            if sight.topic not in (self.first, self.second) or sight.detections is None:
                return False
            newest[sight.topic] = sight.detections
            one, other = newest.get(self.first), newest.get(self.second)
            if one is None or other is None or abs(one.stamp - other.stamp) > self.tolerance_s * 1e9:
                return False
            return self._alone(one, other) + self._alone(other, one) >= self.boxes

        return fires

    def _alone(self, one: Detections, other: Detections) -> int:
        """How many boxes one is sure of, and the other does not have."""
        near = np.linalg.norm(one.boxes.centers[:, :2], axis=1) <= self.range_m
        sure = one[near & (one.scores >= self.score)]
        gaps = np.linalg.norm(sure.boxes.centers[:, None, :2] - other.boxes.centers[None, :, :2], axis=2)
        close = gaps <= self.distance_m
        alone = 0
        for row, number in enumerate(sure.class_ids):
            name = sure.class_names[number]
            # A class that the other does not know can only be found under another name.
            known = name in other.class_names
            belief = other.confidences[:, other.class_names.index(name)] if known else other.scores
            alone += not (close[row] & (belief >= self.score / 2)).any()
        return alone


@dataclass(frozen=True)
class Opinion(Trigger):
    """Fires when language calls something by another name than the student (``docs/second_opinion.md``).

    Attributes:
        topic: detections as ``LongTailDetectionArray``, of a detector that asks for second opinions.
        score: what the student's own confidence must be at least.
        share: what the CLIP gives another class must be at least.
    """

    CHECKS: ClassVar[Checks] = (*Trigger.CHECKS, *topic_entry("topic"), *share("score", "share"))

    topic: str = LONG_TAIL
    score: float = 0.2
    share: float = 0.6
    worth: float = 2.0

    def topics(self) -> dict[str, str]:
        """See ``Trigger``."""
        return {self.topic: names.LONG_TAIL_TYPE}

    def watch(self, places: Places) -> Watch:
        """See ``Trigger``."""

        def fires(sight: Sight) -> bool:
            found = sight.detections
            if sight.topic != self.topic or found is None or not found.second_opinion.size:
                return False
            own, other = found.classifier_confidences, found.second_opinion
            doubted = (own.max(axis=1) >= self.score) & (other.max(axis=1) >= self.share)
            return bool((doubted & (own.argmax(axis=1) != other.argmax(axis=1))).any())

        return fires


@dataclass(frozen=True)
class Flicker(Trigger):
    """Fires when something appears, disappears or changes its class again and again.

    Attributes:
        topic: detections as ``LongTailDetectionArray``.
        score: boxes from this confidence on are there.
        distance_m: how far from where it is expected something may be found again, on the ground.
        sets: over so many sets.
        changes: it changes so often.
    """

    CHECKS: ClassVar[Checks] = (
        *Trigger.CHECKS,
        *topic_entry("topic"),
        *share("score"),
        *positive("distance_m", "sets", "changes"),
        rule(lambda trigger: trigger.changes < trigger.sets, "changes {0.changes} must be below sets {0.sets}"),
    )

    topic: str = LONG_TAIL
    score: float = 0.3
    distance_m: float = 2.0
    sets: int = 10
    changes: int = 4
    worth: float = 1.5

    def topics(self) -> dict[str, str]:
        """See ``Trigger``."""
        return {self.topic: names.LONG_TAIL_TYPE}

    def watch(self, places: Places) -> Watch:
        """See ``Trigger``."""
        tracks: list[_Track] = []

        def fires(sight: Sight) -> bool:
            if sight.topic != self.topic or sight.detections is None:
                return False
            found = sight.detections[sight.detections.scores >= self.score]
            positions, stamp = found.boxes.centers[:, :2], found.stamp
            left = list(range(len(found)))
            for track in tracks:
                gaps = np.linalg.norm(positions[left] - track.expected(stamp), axis=1)
                best = int(gaps.argmin()) if len(gaps) else 0
                if len(gaps) and gaps[best] <= self.distance_m:
                    row = left.pop(best)
                    track.see(positions[row], stamp, found.class_names[found.class_ids[row]])
                else:
                    track.history.append("")
            tracks[:] = [track for track in tracks if any(track.history)]
            tracks.extend(
                _Track(positions[row], stamp, found.class_names[found.class_ids[row]], self.sets) for row in left
            )
            return any(track.changes >= self.changes for track in tracks)

        return fires


class _Track:
    """Something on its way through the sets, as seen from the vehicle: its own motion and the vehicle's in one."""

    def __init__(self, position: NDArray, stamp: int, name: str, sets: int) -> None:
        self.history = deque([name], maxlen=sets)
        self._position, self._stamp, self._velocity = position, stamp, np.zeros(2)

    def expected(self, stamp: int) -> NDArray:
        return self._position + self._velocity * (stamp - self._stamp) * 1e-9

    def see(self, position: NDArray, stamp: int, name: str) -> None:
        if stamp > self._stamp:
            self._velocity = (position - self._position) / ((stamp - self._stamp) * 1e-9)
        self._position, self._stamp = position, stamp
        self.history.append(name)

    @property
    def changes(self) -> int:
        return sum(before != after for before, after in pairwise(self.history))


@dataclass(frozen=True)
class NewPlace(Trigger):
    """Fires where the vehicle has not been yet.

    Attributes:
        topic, type: what tells the position: ``nav_msgs/msg/Odometry``, ``sensor_msgs/msg/NavSatFix``, or
            ``tf2_msgs/msg/TFMessage``.
        cell_m: side of the squares that the world is cut into.
        fixed_frame, base_frame: between which tf tells the position.
    """

    CHECKS: ClassVar[Checks] = (
        *Trigger.CHECKS,
        *topic_entry("topic"),
        *positive("cell_m"),
        rule(
            lambda trigger: trigger.type in Position.TYPES, f"type {{0.type!r}}: {', '.join(Position.TYPES)} are read"
        ),
    )

    topic: str = names.ODOMETRY
    type: str = names.ODOMETRY_TYPE
    cell_m: float = 50.0
    fixed_frame: str = names.FIXED_FRAME
    base_frame: str = names.BASE_FRAME
    worth: float = 1.0
    pause_s: float = 1.0

    def topics(self) -> dict[str, str]:
        """See ``Trigger``."""
        static = {names.TF_STATIC: names.TF_TYPE} if self.type == names.TF_TYPE else {}
        return {self.topic: self.type, **static}

    def watch(self, places: Places) -> Watch:
        """See ``Trigger``."""
        looked_at = self.topics()
        position = Position(self.type, self.fixed_frame, self.base_frame)

        def fires(sight: Sight) -> bool:
            found = position.of(sight.message) if sight.topic in looked_at else None
            return found is not None and places.visit(found, self.cell_m)

        return fires


@dataclass(frozen=True)
class AllOf(Trigger):
    """Fires when all of several triggers, which stand above it in the file, have fired within a time.

    Attributes:
        of: their names; those that shall make no events alone get ``alone: false`` there.
        within_s: the time.
    """

    CHECKS: ClassVar[Checks] = (
        *Trigger.CHECKS,
        *not_negative("within_s"),
        rule(lambda trigger: len(trigger.of) > 1, "of {0.of} must name two triggers or more"),
    )

    of: tuple[str, ...] = ()
    within_s: float = 2.0
    worth: float = 5.0

    def watch(self, places: Places) -> Watch:
        """See ``Trigger``."""
        last: dict[str, int] = {}

        def fires(sight: Sight) -> bool:
            last.update({name: sight.at for name in sight.fired if name in self.of})
            return bool(sight.fired) and sum(sight.at - at <= self.within_s * 1e9 for at in last.values()) == len(
                self.of
            )

        return fires


KINDS: dict[str, type[Trigger]] = {
    "always": Always,
    "rare_class": RareClass,
    "disagree": Disagree,
    "opinion": Opinion,
    "flicker": Flicker,
    "new_place": NewPlace,
    "service": Service,
    "topic": Topic,
    "all_of": AllOf,
}
"""Triggers by what ``kind`` calls them in the file."""

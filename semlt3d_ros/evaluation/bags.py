"""Detections of one bag, paired with the ground truth of another."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.samples import read_samples
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT, ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels, SampleInfo
from semlt3d_ros.core.label_map import LabelMap, columns_for
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.core.taxonomy import LT3D, OWN, class_list_of
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import (
    decode_detection3d,
    decode_labels,
    decode_long_tail,
)
from semlt3d_ros.messages.encode_detections import TRUTH_VERSION

DETECTION_TOPICS = (topics.LONG_TAIL, topics.DETECTIONS)
"""Where detections are looked for; the first topic on which a bag has any counts."""

_CONSTANT_OFFSET = 0.1
"""An offset between stamps is constant where it varies by less than this share of itself, or by a millisecond."""


_OF_PAIRING = ("unanswered", "without_truth", "own_truth", "unknown_classes")
"""Reasons for which nothing was rejected."""


def read_detections(source: BagSource, faults: FaultLog) -> Iterator[tuple[Detections, str]]:
    """The detections in a bag, each with the name of the frame its boxes are given in; none without a topic of them.

    Args:
        source: the bag.
        faults: gets messages, and elements of them, that cannot be used.
    """
    for topic in DETECTION_TOPICS:
        any_there = False
        for entry in source.messages(topics=[topic]):
            any_there = True
            for _, message in decoded([entry], faults):
                if entry.type_name == topics.LONG_TAIL_TYPE:
                    yield decode_long_tail(message, faults, topic), message.header.frame_id.lstrip("/")
                elif entry.type_name == topics.DETECTION_3D_TYPE:
                    yield decode_detection3d(message, faults, topic, ()), message.header.frame_id.lstrip("/")
                else:
                    _refuse_type(entry.type_name, topic, faults)
        if any_there:
            return


def read_truth(source: BagSource, faults: FaultLog) -> Iterator[tuple[int, Labels, str]]:
    """The ground truth in a bag: stamp in nanoseconds, labels, name of the frame their boxes are given in.

    Args:
        source: the bag.
        faults: gets messages, and elements of them, that cannot be used.
    """
    for entry, message in decoded(source.messages(topics=[topics.TRUTH_LONG_TAIL]), faults):
        if entry.type_name != topics.LONG_TAIL_TYPE:
            _refuse_type(entry.type_name, entry.topic, faults)
            continue
        labels, stamp = decode_labels(message, faults)
        yield stamp, labels, message.header.frame_id.lstrip("/")


def read_class_names(source: BagSource, faults: FaultLog) -> tuple[str, ...]:
    """The names of all classes of the detector whose output is in a bag; none where ``/semlt3d/label_info`` is not."""
    names: dict[str, None] = {}
    for entry, message in decoded(source.messages(topics=[topics.LABEL_INFO]), faults):
        if entry.type_name == topics.LABEL_INFO_TYPE:
            names.update(dict.fromkeys(each.class_name for each in message.class_map))
    return tuple(names)


def classes_of_detections(names: Iterable[str], complete: bool, groups: Mapping[str, str] | None = None) -> ClassList:
    """The class list of a detector, from its output.

    Args:
        names: of classes.
        complete: whether the detector has no others, as its own messages say; ``vision_msgs`` name what was found only.
        groups: the frequency groups of those that were found, where the output says them. Where they are in none, the
            others are in none either.
    """
    names = tuple(dict.fromkeys(names))
    if not names or (not complete and set(names) <= set(LT3D.names)):
        return LT3D
    listed = class_list_of(names)
    if groups is None or set(names) <= set(LT3D.names) or listed.name != OWN:
        return listed
    known: Mapping[str, Any] = groups if any(groups.values()) else dict.fromkeys(names, "")
    return ClassList(
        listed.name, tuple(replace(info, group=known.get(info.name, info.group)) for info in listed.classes)
    )


class BagPairs:
    """The frames of a drive with ground truth, each with what was detected in it.

    Detections belong to the truth of the same stamp. A frame that has no detections, because the detector dropped it or
    had not started, is a pair with empty detections: everything in it was missed. The truth's labels become the classes
    that are evaluated; those that are none of them are ``ABSENT``. Iterating fills the counts.

    Args:
        detections_bag: bag with detections, on ``/semlt3d/long_tail``, else ``/semlt3d/detections``; it may be the same
            as ``truth_bag``.
        truth_bag: bag with ``/ground_truth/long_tail``.
        classes: what the truth's labels become; the detector's own classes unless given.
        label_map: how they become it; as ``columns_for`` has it unless given.

    Attributes:
        classes: what the truth's labels became; LT3D's classes before anything was read.
        answered: frames with detections.
        unanswered: frames without.
        without_truth: stamps of detections for which there is no truth.
        of_no_class: objects that are of none of the classes, by their labels.
        faults: what of the messages could not be used, and what the pairs lack.
        incomplete: what is missing of the bags themselves.
        frame_id: the frame the truth is given in; empty without truth.
        samples: what the data set says of the frames, by stamp; empty where it says nothing.
    """

    def __init__(
        self,
        detections_bag: Path,
        truth_bag: Path,
        classes: ClassList | None = None,
        label_map: LabelMap | None = None,
    ) -> None:
        self._detections_bag = Path(detections_bag)
        self._truth_bag = Path(truth_bag)
        self._given_classes = classes
        self._label_map = label_map
        self._reset()

    def _reset(self) -> None:
        self.answered = self.unanswered = self.without_truth = 0
        self.of_no_class: Counter[str] = Counter()
        self.faults = FaultLog()
        self.incomplete = FaultLog()
        self.classes = self._given_classes or LT3D
        self.frame_id = ""
        self.samples: dict[int, SampleInfo] = {}
        self._columns_of: dict[tuple[str, ...], tuple[int, ...]] = {}

    def __iter__(self) -> Iterator[tuple[Detections, Labels]]:
        """Pairs in the order of the truth bag.

        Raises:
            ConfigurationError: a bag lacks the topic, detections and truth are given in different frames, or no label
                of the truth is one of the classes.
        """
        self._reset()
        found = self._read_answers()
        paired: set[int] = set()
        frames = {frame_id for _, frame_id in found.values()}
        with BagSource(self._truth_bag) as source:
            _require(source, self._truth_bag, (topics.TRUTH_LONG_TAIL,), "ground truth")
            self.samples |= read_samples(source, self.faults)
            for stamp, truth, frame_id in read_truth(source, self.faults):
                if stamp in paired:
                    text = f"ground truth of stamp {_seconds(stamp)} comes twice; the first counts"
                    self.faults.add(topics.TRUTH_LONG_TAIL, "duplicate", text)
                    continue
                self._check_frames(frames, frame_id)
                labels = truth.as_classes(self._columns(truth.class_names), self.classes.names)
                self.of_no_class.update(truth.names_where(labels.class_ids == ABSENT))
                paired.add(stamp)
                self.frame_id = frame_id
                if stamp in found:
                    self.answered += 1
                    yield found[stamp][0], labels
                else:
                    self.unanswered += 1
                    nothing = np.zeros((0, len(self.classes)), np.float32)
                    yield Detections(stamp, Boxes3D.empty(), nothing, self.classes.names), labels
            self._note_incomplete(source)
        self.without_truth = len(found.keys() - paired)
        self._note_pairing(sorted(found), sorted(paired))

    @property
    def sample_tokens(self) -> dict[int, str]:
        """The data set's keys of the frames, by stamp."""
        return {stamp: sample.token for stamp, sample in self.samples.items() if sample.token}

    def region(self, stamp: int) -> LabelledRegion:
        """Where everything is labelled in a frame."""
        return self.samples[stamp].region if stamp in self.samples else LabelledRegion()

    @property
    def rejected(self) -> Counter[str]:
        """Messages, and elements of them, that could not be used, by reason."""
        lost = [fault for fault in self.faults if not fault.harmless and fault.reason not in _OF_PAIRING]
        return sum((Counter({fault.reason: fault.count}) for fault in lost), Counter())

    def to_json(self) -> dict[str, Any]:
        """What was paired, and what was not, ready for ``json.dumps``."""
        return {
            "answered": self.answered,
            "unanswered": self.unanswered,
            "without_truth": self.without_truth,
            "rejected": dict(self.rejected),
        }

    def _read_answers(self) -> dict[int, tuple[Detections, str]]:
        found: dict[int, tuple[Detections, str]] = {}
        names: dict[str, None] = {}
        groups: dict[str, str] = {}
        with BagSource(self._detections_bag) as source:
            _require(source, self._detections_bag, DETECTION_TOPICS, "detections")
            self.samples = read_samples(source, self.faults)
            for detections, frame_id in read_detections(source, self.faults):
                if detections.stamp in found:
                    text = f"detections of stamp {_seconds(detections.stamp)} come twice; the last count"
                    self.faults.add(str(self._detections_bag), "duplicate", text)
                if detections.model_version == TRUTH_VERSION:
                    text = "what is evaluated is ground truth itself; give the bag of a detector's output"
                    self.faults.add(str(self._detections_bag), "own_truth", text)
                found[detections.stamp] = detections, frame_id
                names.update(dict.fromkeys(detections.class_names))
                groups.update({detections.class_names[k]: detections.class_groups[k] for k in detections.class_ids})
            self._note_incomplete(source)
            if self._given_classes is None:
                published = read_class_names(source, self.faults)
                complete = bool(published) or topics.LONG_TAIL in source.topics
                self.classes = classes_of_detections((*published, *names), complete, groups)
        return found

    def _columns(self, labels: tuple[str, ...]) -> tuple[int, ...]:
        """The class of each label of the truth."""
        if labels not in self._columns_of:
            try:
                self._columns_of[labels] = columns_for(labels, self.classes, self._label_map)
                if self._label_map is not None and (text := self._label_map.unnamed(labels)):
                    self.faults.note(str(self._truth_bag), "labels", text)
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"no detection in '{self._detections_bag}' can be held against ground truth in "
                    f"'{self._truth_bag}': {error}"
                ) from None
        return self._columns_of[labels]

    def _note_incomplete(self, source: BagSource) -> None:
        """Take over what is missing of a bag; both may be the same."""
        known = {(fault.place, fault.reason) for fault in self.incomplete}
        self.incomplete.extend(fault for fault in source.faults if (fault.place, fault.reason) not in known)

    def _note_pairing(self, found: Sequence[int], true: Sequence[int]) -> None:
        """Tell what was not paired, and how far the stamps lie apart."""
        if self.unanswered:
            text = f"{self.unanswered} of {len(true)} frames with ground truth have no detections and count as missed"
            self.faults.add(str(self._detections_bag), "unanswered", text + _distance(found, true))
        if self.without_truth:
            text = f"{self.without_truth} of {len(found)} frames with detections have no ground truth and do not count"
            self.faults.add(str(self._truth_bag), "without_truth", text)

    def _check_frames(self, found: set[str], true: str) -> None:
        if found - {true}:
            raise ConfigurationError(
                f"detections in '{self._detections_bag}' are given in {_frames(found - {true})}, ground truth in "
                f"'{self._truth_bag}' in {_frames([true])}; give both in the same, as base_link"
            )


def _distance(found: Sequence[int], true: Sequence[int]) -> str:
    """How far the stamps of the truth that was not answered lie from those of the nearest detections."""
    unanswered = sorted(set(true) - set(found))
    if not found or not unanswered:
        return ""
    offsets = [min(_neighbours(found, stamp), key=lambda other: abs(other - stamp)) - stamp for stamp in unanswered]
    nearest, farthest = min(offsets, key=abs), max(offsets, key=abs)
    apart = " to ".join(dict.fromkeys((_duration(nearest), _duration(farthest))))
    text = f"; the nearest stamps lie {apart} apart"
    spread = max(offsets) - min(offsets)
    period = int(np.median(np.diff(true))) if len(true) > 1 else 0
    constant = spread <= max(_CONSTANT_OFFSET * abs(nearest), 1e6) and len(unanswered) == len(true)
    if constant and (abs(nearest) < period / 2 or not period):
        text += (
            f", detections {'after' if nearest > 0 else 'before'} the truth throughout: give detections the stamp of "
            "the truth's images"
        )
    return text


def _neighbours(stamps: Sequence[int], stamp: int) -> Sequence[int]:
    place = bisect_left(stamps, stamp)
    return stamps[max(place - 1, 0) : place + 1]


def _duration(nanoseconds: int) -> str:
    size = abs(nanoseconds)
    if size < 1e4:
        return f"{size} ns"
    return f"{size * 1e-6:.3f} ms" if size < 1e10 else f"{size * 1e-9:.1f} s"


def _seconds(stamp: int) -> str:
    return f"{stamp * 1e-9:.3f} s"


def _frames(names: Iterable[str]) -> str:
    return " and ".join(f"the frame '{name}'" if name else "no frame (frame_id is empty)" for name in sorted(names))


def _refuse_type(type_name: str, topic: str, faults: FaultLog) -> None:
    text = f"{type_name} is not read here; {topics.LONG_TAIL_TYPE} or {topics.DETECTION_3D_TYPE} are"
    faults.add(topic, "type", text)


def _require(source: BagSource, bag: Path, wanted: tuple[str, ...], what: str) -> None:
    if not any(topic in source.topics for topic in wanted):
        why = source.faults.reasons()
        others = {*DETECTION_TOPICS, topics.TRUTH_LONG_TAIL} - {*wanted}
        swapped = "; were detections and truth exchanged?" if others & source.topics.keys() else ""
        raise ConfigurationError(
            f"bag '{bag}' has no {what}: none of the topics {', '.join(wanted)} is in it; "
            f"it has {', '.join(sorted(source.topics)) or 'no topics'}{'; ' + why if why else ''}{swapped}"
        )

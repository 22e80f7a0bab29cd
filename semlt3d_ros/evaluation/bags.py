"""Detections of one bag, paired with the ground truth of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.data.bags import BagSource
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_detection3d, decode_labels, decode_long_tail

DETECTION_TOPICS = (topics.LONG_TAIL, topics.DETECTIONS)
"""Where detections are looked for; the first topic that a bag has counts."""


def read_detections(source: BagSource, rejected: Counter[str]) -> Iterator[tuple[Detections, str]]:
    """The detections in a bag, each with the name of the frame its boxes are given in; none without a topic of them.

    Args:
        source: the bag.
        rejected: messages that cannot be decoded are counted here, by reason.
    """
    there = [topic for topic in DETECTION_TOPICS if topic in source.topics]
    for entry in source.messages(topics=there[:1]):
        decode = decode_long_tail if entry.type_name == topics.LONG_TAIL_TYPE else decode_detection3d
        try:
            message: Any = entry.message()
            detections = decode(message)
        except InputRejected as rejection:
            rejected[rejection.reason] += 1
            continue
        yield detections, message.header.frame_id


def read_truth(source: BagSource, rejected: Counter[str]) -> Iterator[tuple[int, Labels, str]]:
    """The ground truth in a bag: stamp in nanoseconds, labels, name of the frame their boxes are given in.

    Args:
        source: the bag.
        rejected: messages that cannot be decoded are counted here, by reason.
    """
    for entry in source.messages(topics=[topics.TRUTH_LONG_TAIL]):
        try:
            message: Any = entry.message()
            labels, stamp = decode_labels(message)
        except InputRejected as rejection:
            rejected[rejection.reason] += 1
            continue
        yield stamp, labels, message.header.frame_id


class BagPairs:
    """The frames of a drive with ground truth, each with what was detected in it.

    Detections belong to the truth of the same stamp. A frame that has no detections, because the detector dropped it or
    had not started, is a pair with empty detections: everything in it was missed. Iterating fills the counts.

    Attributes:
        answered: frames with detections.
        unanswered: frames without.
        without_truth: stamps of detections for which there is no truth.
        rejected: messages that could not be decoded, by reason.
        frame_id: the frame the truth is given in; empty without truth.
    """

    def __init__(self, detections_bag: Path, truth_bag: Path) -> None:
        self._detections_bag = detections_bag
        self._truth_bag = truth_bag
        self._reset()

    def _reset(self) -> None:
        self.answered = self.unanswered = self.without_truth = 0
        self.rejected: Counter[str] = Counter()
        self.frame_id = ""

    def __iter__(self) -> Iterator[tuple[Detections, Labels]]:
        """Pairs in the order of the truth bag.

        Raises:
            ConfigurationError: a bag lacks the topic, or detections and truth are given in different frames.
        """
        self._reset()
        found: dict[int, Detections] = {}
        found_frames: set[str] = set()
        with BagSource(self._detections_bag) as source:
            _require(source, self._detections_bag, DETECTION_TOPICS, "detections")
            for detections, frame_id in read_detections(source, self.rejected):
                found[detections.stamp] = detections
                found_frames.add(frame_id)
        self.without_truth = len(found)
        with BagSource(self._truth_bag) as source:
            _require(source, self._truth_bag, (topics.TRUTH_LONG_TAIL,), "ground truth")
            for stamp, labels, frame_id in read_truth(source, self.rejected):
                self._check_frames(found_frames, frame_id)
                self.frame_id = frame_id
                answer = found.get(stamp)
                if answer is None:
                    self.unanswered += 1
                    answer = Detections(stamp, Boxes3D.empty(), np.zeros((0, len(CLASS_NAMES)), np.float32))
                else:
                    self.answered += 1
                    self.without_truth -= 1
                yield answer, labels

    def _check_frames(self, found: set[str], true: str) -> None:
        if found - {true}:
            raise ConfigurationError(
                f"detections in '{self._detections_bag}' are given in the frame {', '.join(sorted(found - {true}))}, "
                f"ground truth in '{self._truth_bag}' in {true}; record detections in {true}"
            )


def pair_bags(detections_bag: Path, truth_bag: Path) -> BagPairs:
    """Pair the detections of one bag (``/semlt3d/long_tail``, else ``/semlt3d/detections``) with the truth of another.

    Args:
        detections_bag: bag with detections; it may be the same as ``truth_bag``.
        truth_bag: bag with ``/ground_truth/long_tail``.
    """
    return BagPairs(Path(detections_bag), Path(truth_bag))


def _require(source: BagSource, bag: Path, wanted: tuple[str, ...], what: str) -> None:
    if not any(topic in source.topics for topic in wanted):
        raise ConfigurationError(
            f"bag '{bag}' has no {what}: none of the topics {', '.join(wanted)} is in it; "
            f"it has {', '.join(sorted(source.topics)) or 'no topics'}"
        )

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


class BagPairs:
    """The frames of a drive with ground truth, each with what was detected in it.

    Detections belong to the truth of the same stamp. A frame that has no detections, because the detector dropped it or
    had not started, is a pair with empty detections: everything in it was missed. Iterating fills the counts.

    Attributes:
        answered: frames with detections.
        unanswered: frames without.
        without_truth: detection messages to which there is no truth.
        rejected: messages that could not be decoded, by reason.
    """

    def __init__(self, detections_bag: Path, truth_bag: Path) -> None:
        self._detections_bag = detections_bag
        self._truth_bag = truth_bag
        self._reset()

    def _reset(self) -> None:
        self.answered = self.unanswered = self.without_truth = 0
        self.rejected: Counter[str] = Counter()

    def __iter__(self) -> Iterator[tuple[Detections, Labels]]:
        """Pairs in the order of the truth bag.

        Raises:
            ConfigurationError: a bag lacks the topic, or detections and truth are given in different frames.
        """
        self._reset()
        found, found_frames = self._read_detections()
        waiting = set(found)
        for message in self._messages(self._truth_bag, (topics.TRUTH_LONG_TAIL,), "ground truth"):
            try:
                labels, stamp = decode_labels(message)
            except InputRejected as rejection:
                self.rejected[rejection.reason] += 1
                continue
            self._check_frames(found_frames, message.header.frame_id)
            waiting.discard(stamp)
            if stamp in found:
                self.answered += 1
                yield found[stamp], labels
            else:
                self.unanswered += 1
                yield Detections(stamp, Boxes3D.empty(), np.zeros((0, len(CLASS_NAMES)), np.float32)), labels
        self.without_truth = len(waiting)

    def _read_detections(self) -> tuple[dict[int, Detections], set[str]]:
        found: dict[int, Detections] = {}
        frames: set[str] = set()
        for message in self._messages(self._detections_bag, (topics.LONG_TAIL, topics.DETECTIONS), "detections"):
            try:
                decode = decode_long_tail if hasattr(message, "class_names") else decode_detection3d
                detections = decode(message)
            except InputRejected as rejection:
                self.rejected[rejection.reason] += 1
                continue
            frames.add(message.header.frame_id)
            found[detections.stamp] = detections
        return found, frames

    def _messages(self, bag: Path, wanted: tuple[str, ...], what: str) -> Iterator[Any]:
        with BagSource(bag) as source:
            there = [topic for topic in wanted if topic in source.topics]
            if not there:
                raise ConfigurationError(
                    f"bag '{bag}' has no {what}: none of the topics {', '.join(wanted)} is in it; "
                    f"it has {', '.join(sorted(source.topics)) or 'no topics'}"
                )
            for message in source.messages(topics=there[:1]):
                yield message.message()

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

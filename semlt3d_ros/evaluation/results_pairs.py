"""Detections of a results file, paired with ground truth by the data set's keys of its frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT, ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.label_map import LabelMap, columns_for
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.evaluation.attributes import FrameAttributes
from semlt3d_ros.evaluation.truth import STANDING_IN_RACKS, Truth, TruthFrame, in_racks, without_racked

_OF_PAIRING = ("unanswered", "without_truth")


class ResultsFile(Protocol):
    """Results in some data set's format; one file of this room for each format.

    Attributes:
        path: where they are.
        classes: the list that their classes are from.
        faults: entries that cannot be used.
    """

    path: Path
    classes: ClassList
    faults: FaultLog

    @property
    def tokens(self) -> Collection[str]:
        """Keys of the frames that have results, be they empty."""

    def detections(self, frame: TruthFrame) -> tuple[Detections, tuple[str, ...]]:
        """A frame's detections in its ego frame, and their attributes; neither where it has none."""


class ResultsPairs:
    """The frames of a data set with ground truth, each with what a results file says of it.

    A frame that the file does not have is a pair with empty detections: everything in it was missed. The truth's labels
    become the classes that are evaluated; those that are none of them are ``ABSENT``. Iterating fills the counts.

    Args:
        results: the detections.
        truth: the ground truth.
        classes: what the truth's labels become; those of the results unless given.
        label_map: how they become it; as ``columns_for`` has it unless given.

    Attributes:
        classes: what the truth's labels became.
        answered, unanswered: frames with results, and without.
        without_truth: frames with results for which there is no truth.
        of_no_class: objects that are of none of the classes, by their labels.
        faults: what could not be used, and what the pairs lack.
        incomplete: nothing; what is missing of a bag, where one is read.
    """

    def __init__(
        self,
        results: ResultsFile,
        truth: Truth,
        classes: ClassList | None = None,
        label_map: LabelMap | None = None,
    ) -> None:
        self._results = results
        self._truth = truth
        self._label_map = label_map
        self.classes = classes or results.classes
        self._reset()

    def _reset(self) -> None:
        self.answered = self.unanswered = self.without_truth = 0
        self.of_no_class: Counter[str] = Counter()
        self.faults = FaultLog(self._results.faults)
        self.incomplete = FaultLog()
        self._regions: dict[int, LabelledRegion] = {}

    def __iter__(self) -> Iterator[tuple[Detections, Labels, FrameAttributes]]:
        """Pairs in the order of the truth.

        Raises:
            ConfigurationError: no label of the truth is one of the classes.
        """
        self._reset()
        columns: dict[tuple[str, ...], tuple[int, ...]] = {}
        tokens = set(self._results.tokens)
        paired: set[str] = set()
        for frame in self._truth.frames():
            names = frame.labels.class_names
            if names not in columns:
                columns[names] = self._columns(names)
            labels = frame.labels.as_classes(columns[names], self.classes.names)
            self.of_no_class.update(frame.labels.names_where(labels.class_ids == ABSENT))
            labels = labels[~self._in_racks(labels, frame)]
            attributes: tuple[str, ...] = ()
            if frame.token in tokens:
                self.answered += 1
                detections, attributes = self._results.detections(frame)
                detections = without_racked(detections, frame)
            else:
                self.unanswered += 1
                nothing = np.zeros((0, len(self.classes)), np.float32)
                detections = Detections(frame.stamp, Boxes3D.empty(), nothing, self.classes.names)
            paired.add(frame.token)
            self._regions[frame.stamp] = frame.region
            yield detections, labels, FrameAttributes(attributes, labels.attributes)
        self.without_truth = len(tokens - paired)
        self.faults.extend(self._truth.faults)
        self._note_pairing(len(paired), len(tokens))

    @property
    def rejected(self) -> Counter[str]:
        """Entries that could not be used, by reason."""
        lost = [fault for fault in self.faults if not fault.harmless and fault.reason not in _OF_PAIRING]
        return sum((Counter({fault.reason: fault.count}) for fault in lost), Counter())

    def region(self, stamp: int) -> LabelledRegion:
        """Where everything is labelled in a frame."""
        return self._regions.get(stamp, LabelledRegion())

    def to_json(self) -> dict[str, Any]:
        """What was paired, and what was not, ready for ``json.dumps``."""
        return {
            "answered": self.answered,
            "unanswered": self.unanswered,
            "without_truth": self.without_truth,
            "rejected": dict(self.rejected),
        }

    def _in_racks(self, labels: Labels, frame: TruthFrame) -> np.ndarray:
        if len(frame.racks) == 0 or len(labels.boxes) == 0:
            return np.zeros(len(labels.boxes), np.bool_)
        standing = [place for place, name in enumerate(labels.class_names) if name in STANDING_IN_RACKS]
        return np.isin(labels.class_ids, standing) & in_racks(labels.boxes, frame.racks)

    def _columns(self, labels: tuple[str, ...]) -> tuple[int, ...]:
        if self._label_map is not None and (text := self._label_map.unnamed(labels)):
            self.faults.note(self._truth.place, "labels", text)
        try:
            return columns_for(labels, self.classes, self._label_map)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"no detection in '{self._results.path}' can be held against ground truth in '{self._truth.place}': "
                f"{error}"
            ) from None

    def _note_pairing(self, true: int, found: int) -> None:
        if self.unanswered:
            text = f"{self.unanswered} of {true} frames with ground truth have no results and count as missed"
            self.faults.add(str(self._results.path), "unanswered", text)
        if self.without_truth:
            text = f"{self.without_truth} of {found} frames with results have no ground truth there and do not count"
            self.faults.add(self._truth.place, "without_truth", text)

"""Ground truth frame by frame, wherever it comes from: a bag, or a data set's own folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.core.rigid import Matrix

STANDING_IN_RACKS = ("bicycle", "motorcycle")
"""Classes of which nothing in a bicycle rack counts: racks are annotated, and what stands in them is not."""


@dataclass(frozen=True)
class TruthFrame:
    """One frame's ground truth.

    Attributes:
        stamp: nanoseconds.
        token: the frame's key in the data set; results files go by it.
        labels: boxes in the ego frame, in terms of the data set's own labels.
        T_world_ego: (4, 4) of the frame that results files are given in.
        region: where everything is labelled.
        racks: boxes of bicycle racks, in the ego frame.
    """

    stamp: int
    token: str
    labels: Labels
    T_world_ego: Matrix
    region: LabelledRegion = field(default_factory=LabelledRegion)
    racks: Boxes3D = field(default_factory=Boxes3D.empty)


class Truth(Protocol):
    """The ground truth of several frames.

    Attributes:
        place: what to call it in messages.
        faults: what of it could not be used; filled while it is iterated over.
    """

    place: str
    faults: FaultLog

    def frames(self) -> Iterator[TruthFrame]:
        """Frame after frame, each token once."""


def without_racked(detections: Detections, frame: TruthFrame) -> Detections:
    """The detections, those in bicycle racks as nothing that may stand there."""
    if len(frame.racks) == 0 or len(detections) == 0:
        return detections
    inside = in_racks(detections.boxes, frame.racks)
    confidences = detections.confidences.copy()
    for column, name in enumerate(detections.class_names):
        if name in STANDING_IN_RACKS:
            confidences[inside, column] = 0.0
    return replace(detections, confidences=confidences)


def in_racks(boxes: Boxes3D, racks: Boxes3D) -> NDArray[np.bool_]:
    """(N,) whether a box's centre lies in one of the racks."""
    return np.asarray(racks.contains(boxes.centers).any(axis=0))

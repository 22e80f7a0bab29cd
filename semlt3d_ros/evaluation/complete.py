"""Evaluation where ground truth is complete, and nowhere else: what nobody labelled is no mistake of a detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.labelled_region import LabelledRegion

NEAR_M = 2.0
"""A detection outside the region whose centre is nearer than this to that of an object within means the object."""


@dataclass
class LeftOut:
    """What an evaluation did not look at.

    Attributes:
        detections, objects: how many lay where ground truth is not complete.
    """

    detections: int = 0
    objects: int = 0


def where_labelled(
    frames: Iterable[tuple[Detections, Labels, LabelledRegion]], left_out: LeftOut
) -> Iterator[tuple[Detections, Labels]]:
    """Frames without what lies outside their labelled region.

    Objects count whose centre lies within. Detections count whose centre does, or is so near to an object that counts
    that it means that one: of an object at the edge of the view, the detection may lie on the other side.

    Args:
        frames: what was found, what was there, and where everything is labelled; all in the ego frame.
        left_out: gets how many do not count.
    """
    everywhere = LabelledRegion()
    for detections, labels, region in frames:
        if region == everywhere:
            yield detections, labels
            continue
        objects = region.contains(labels.boxes.centers)
        found = region.contains(detections.boxes.centers)
        if objects.any() and not found.all():
            between = detections.boxes.centers[:, None, :2] - labels.boxes.centers[None, objects, :2]
            found |= (np.linalg.norm(between, axis=-1) < NEAR_M).any(axis=1)
        left_out.detections += int((~found).sum())
        left_out.objects += int((~objects).sum())
        yield detections[found], labels[objects]

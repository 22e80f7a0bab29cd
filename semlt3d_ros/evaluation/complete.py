"""Evaluation where ground truth is complete, and nowhere else: what nobody labelled is no mistake of a detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.evaluation.attributes import FrameAttributes
from semlt3d_ros.evaluation.evaluator import Pair


@dataclass
class LeftOut:
    """What an evaluation did not look at.

    Attributes:
        detections, objects: how many lay where ground truth is not complete.
    """

    detections: int = 0
    objects: int = 0


Framed = tuple[Detections, Labels, LabelledRegion] | tuple[Detections, Labels, LabelledRegion, FrameAttributes]


def where_labelled(frames: Iterable[Framed], left_out: LeftOut) -> Iterator[Pair]:
    """Frames without what lies outside their labelled region.

    Objects count whose centre lies within, and detections that ``LabelledRegion.judges``.

    Args:
        frames: what was found, what was there, and where everything is labelled, all in the ego frame; attributes where
            they are known.
        left_out: gets how many do not count.
    """
    everywhere = LabelledRegion()
    for detections, labels, region, *attributes in frames:
        if region == everywhere:
            yield (detections, labels, *attributes)  # type: ignore[misc]
            continue
        objects = region.contains(labels.boxes.centers)
        found = region.judges(detections.boxes.centers, labels.boxes.centers)
        left_out.detections += int((~found).sum())
        left_out.objects += int((~objects).sum())
        kept = (FrameAttributes(_of(each.predicted, found), _of(each.true, objects)) for each in attributes)
        yield (detections[found], labels[objects], *kept)  # type: ignore[misc]


def _of(names: Sequence[str], mask: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, kept in zip(names, mask, strict=True) if kept) if names else ()

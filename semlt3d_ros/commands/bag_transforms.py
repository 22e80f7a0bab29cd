"""Where things are, in a bag."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semlt3d_ros.sensing.transform_tree import TransformTree


def transforms_of(bag: Path) -> TransformTree:
    """All transforms of a bag; what cannot be read leaves a gap, which a look-up reports."""
    from semlt3d_ros.bags.message import decoded
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.core.faults import FaultLog
    from semlt3d_ros.sensing.recorded_transforms import TRANSFORM_TOPICS, recorded_transforms

    faults = FaultLog()
    with BagSource(bag) as source:
        entries = decoded(source.messages(topics=list(TRANSFORM_TOPICS)), faults)
        return recorded_transforms(((entry.topic, message) for entry, message in entries), faults)

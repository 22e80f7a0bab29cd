"""Where things are, in a bag."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from semlt3d_ros.core.errors import InputRejected

if TYPE_CHECKING:
    from semlt3d_ros.sensing.transform_tree import TransformTree


def transforms_of(bag: Path) -> TransformTree:
    """All transforms of a bag."""
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.messages import topics
    from semlt3d_ros.messages.decode import decode_odometry, decode_transforms
    from semlt3d_ros.sensing.transform_tree import TransformTree

    tree = TransformTree(history_s=1e6)
    with BagSource(bag) as source:
        for entry in source.messages(topics=[topics.TF_STATIC, topics.TF, topics.ODOMETRY]):
            with suppress(InputRejected):  # a damaged message leaves a gap, which the look-up reports
                message = entry.message()
                odometry = entry.topic == topics.ODOMETRY
                for each in [decode_odometry(message)] if odometry else decode_transforms(message, rejected=[]):
                    with suppress(InputRejected):  # so does a transform that makes a loop; its neighbours count
                        tree.add(
                            each.parent, each.child, each.stamp, each.matrix, static=entry.topic == topics.TF_STATIC
                        )
    return tree

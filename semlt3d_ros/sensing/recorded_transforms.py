"""All transforms of a recording."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.messages import decode, topics
from semlt3d_ros.sensing.transform_tree import TransformTree

TRANSFORM_TOPICS = (topics.TF_STATIC, topics.TF, topics.ODOMETRY)


def recorded_transforms(entries: Iterable[tuple[str, Any]], faults: FaultLog) -> TransformTree:
    """Where everything was, over the whole of a recording.

    What says so may be recorded after what it is about, so this reads it all before anything is placed.

    Args:
        entries: topics, of ``TRANSFORM_TOPICS``, and their messages.
        faults: gets what is rejected; it leaves gaps, which a look-up reports, and its neighbours count.
    """
    tree = TransformTree(history_s=1e6)
    for topic, message in entries:
        rejected: list[tuple[str, InputRejected]] = []
        try:
            odometry = topic == topics.ODOMETRY
            items = [decode.decode_odometry(message)] if odometry else decode.decode_transforms(message, rejected)
        except InputRejected as error:
            faults.reject(topic, error)
            continue
        for item in items:
            try:
                tree.add(item.parent, item.child, item.stamp, item.matrix, static=topic == topics.TF_STATIC)
            except InputRejected as error:
                rejected.append((f"{item.parent} -> {item.child}", error))
        for link, rejection in rejected:
            faults.reject(f"{topic} {link}", rejection)
    return tree

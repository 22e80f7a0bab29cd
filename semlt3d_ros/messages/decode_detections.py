"""Detections and ground truth out of ROS messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.rigid import rotation_from_quaternion, yaw_from_rotation
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.messages.decode_geometry import stamp_of


def decode_long_tail(message: Any) -> Detections:
    """Detections of ``semlt3d_ros/LongTailDetectionArray``, in the frame of its header.

    Raises:
        InputRejected: ``box``: a pose or size that is not one; ``class_confidences``, ``expert_weights``: their number
            does not fit.
    """
    found = message.detections
    names = tuple(message.class_names)
    return Detections(
        stamp=stamp_of(message),
        boxes=_boxes([item.pose for item in found], [item.size for item in found], [item.velocity for item in found]),
        confidences=_rows([item.class_confidences for item in found], len(names), "class_confidences"),
        class_names=names,
        expert_weights=_rows(
            [item.expert_weights for item in found], len(found[0].expert_weights) if found else 0, "expert_weights"
        ),
        depth_uncertainty=np.array([item.depth_uncertainty for item in found], np.float32),
        cameras=tuple(message.cameras),
        missing=tuple(message.missing_cameras),
        model_version=message.model_version,
    )


def decode_labels(message: Any) -> tuple[Labels, int]:
    """Ground truth of ``semlt3d_ros/LongTailDetectionArray``, and its stamp in nanoseconds.

    Raises:
        InputRejected: ``box``: a pose or size that is not one; ``class_name``: not one of the 18 classes.
    """
    found = message.detections
    unknown = sorted({item.class_name for item in found} - CLASS_INDEX.keys())
    if unknown:
        raise InputRejected(
            "class_name", f"ground truth has the unknown classes {', '.join(unknown)}; use {', '.join(CLASS_NAMES)}"
        )
    labels = Labels(
        boxes=_boxes([item.pose for item in found], [item.size for item in found], [item.velocity for item in found]),
        class_ids=np.array([CLASS_INDEX[item.class_name] for item in found], np.int64),
        track_ids=tuple(item.track_id for item in found),
        lidar_points=np.array([item.lidar_points for item in found], np.int64),
        visible_pixels=np.array([item.visible_pixels for item in found], np.int64),
    )
    return labels, stamp_of(message)


def decode_detection3d(message: Any) -> Detections:
    """Detections of ``vision_msgs/Detection3DArray``, in the frame of its header; velocities are NaN.

    Confidences are the hypotheses' scores, 0 for classes that have none. Names that are not among the 18 classes are
    appended to ``class_names`` in the order in which they appear.

    Raises:
        InputRejected: ``box``: a pose or size that is not one.
    """
    found = message.detections
    given = dict.fromkeys(result.hypothesis.class_id for item in found for result in item.results)
    names = (*CLASS_NAMES, *(name for name in given if name not in CLASS_INDEX))
    index = {name: position for position, name in enumerate(names)}
    confidences = np.zeros((len(found), len(names)), np.float32)
    for row, item in enumerate(found):
        for result in item.results:
            column = index[result.hypothesis.class_id]
            confidences[row, column] = max(confidences[row, column], result.hypothesis.score)
    return Detections(
        stamp=stamp_of(message),
        boxes=_boxes([item.bbox.center for item in found], [item.bbox.size for item in found], None),
        confidences=confidences,
        class_names=names,
    )


def _boxes(poses: list[Any], sizes: list[Any], velocities: list[Any] | None) -> Boxes3D:
    count = len(poses)
    centers = np.array([(p.position.x, p.position.y, p.position.z) for p in poses], np.float64).reshape(count, 3)
    extents = np.array([(s.x, s.y, s.z) for s in sizes], np.float64).reshape(count, 3)
    try:
        yaw = [
            yaw_from_rotation(
                rotation_from_quaternion((p.orientation.x, p.orientation.y, p.orientation.z, p.orientation.w))
            )
            for p in poses
        ]
    except ValueError as error:
        raise InputRejected("box", f"a box has no heading: {error}") from error
    velocity = np.full((count, 2), np.nan)
    if velocities is not None:
        velocity = np.array([(v.x, v.y) for v in velocities], np.float64).reshape(count, 2)
    boxes = Boxes3D(centers, extents, np.array(yaw, np.float64), velocity)
    if not boxes.physical().all() or (extents < 0).any():
        raise InputRejected("box", "a box has a centre or size that is not finite or too large, or a negative size")
    return boxes


def _rows(rows: list[Any], length: int, name: str) -> NDArray[np.float32]:
    for row in rows:
        if len(row) != length:
            raise InputRejected(name, f"a detection has {len(row)} {name}, {length} are expected")
    table = np.array(rows, np.float32).reshape(len(rows), length)
    if not np.isfinite(table).all():
        raise InputRejected(name, f"a detection has {name} that are not finite")
    return table

"""Detections and ground truth to ROS messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES, CLASSES
from semlt3d_ros.messages.building import build_header, build_pose, build_vector, numeric_sequence
from semlt3d_ros.messages.typestore import MessageTypes, message_class

NOT_COUNTED = -1
TRUTH_VERSION = "ground_truth"


def encode_detection3d(
    detections: Detections, frame_id: str, top_k: int = 3, types: MessageTypes = message_class
) -> Any:
    """``vision_msgs/Detection3DArray``, best first.

    Every detection carries its ``top_k`` most confident classes, best first, at least one, with readable names as
    ``class_id``: RViz' plugin reads ``results[0]`` unasked and colours by that name.

    Args:
        detections: boxes in ``frame_id``.
        frame_id: frame of the boxes.
        top_k: hypotheses per detection, at least 1.
        types: gives the message classes.
    """
    return _detection3d_array(
        detections.boxes[_best_first(detections)],
        detections.confidences[_best_first(detections)],
        detections.class_names,
        ("",) * len(detections),
        (detections.stamp, frame_id),
        max(1, top_k),
        types,
    )


def encode_labels_detection3d(labels: Labels, stamp: int, frame_id: str, types: MessageTypes = message_class) -> Any:
    """``vision_msgs/Detection3DArray`` of ground truth: one hypothesis of score 1 each, the track id as ``id``."""
    return _detection3d_array(
        labels.boxes, _one_hot(labels.class_ids), CLASS_NAMES, labels.track_ids, (stamp, frame_id), 1, types
    )


def encode_long_tail(detections: Detections, frame_id: str, types: MessageTypes = message_class) -> Any:
    """``semlt3d_ros/LongTailDetectionArray`` of detections whose boxes are given in ``frame_id``, best first."""
    order = _best_first(detections)
    confidences = detections.confidences[order]
    return types("semlt3d_ros/msg/LongTailDetectionArray")(
        header=build_header(types, detections.stamp, frame_id),
        class_names=list(detections.class_names),
        cameras=list(detections.cameras),
        missing_cameras=list(detections.missing),
        model_version=detections.model_version,
        detections=[
            _long_tail_detection(
                detections.boxes,
                row,
                confidences[rank],
                detections.class_names,
                types,
                expert_weights=numeric_sequence(
                    types("semlt3d_ros/msg/LongTailDetection"), np.asarray(detections.expert_weights[row], np.float32)
                ),
                depth_uncertainty=float(detections.depth_uncertainty[row]),
                track_id="",
                lidar_points=NOT_COUNTED,
                visible_pixels=NOT_COUNTED,
            )
            for rank, row in enumerate(order)
        ],
    )


def encode_labels(labels: Labels, stamp: int, frame_id: str, types: MessageTypes = message_class) -> Any:
    """``semlt3d_ros/LongTailDetectionArray`` of ground truth: one-hot confidences over the 18 classes.

    Args:
        labels: boxes in ``frame_id``.
        stamp: the frame's stamp in nanoseconds.
        frame_id: frame of the boxes.
        types: gives the message classes.
    """
    confidences = _one_hot(labels.class_ids)
    empty = numeric_sequence(types("semlt3d_ros/msg/LongTailDetection"), np.zeros(0, np.float32))
    return types("semlt3d_ros/msg/LongTailDetectionArray")(
        header=build_header(types, stamp, frame_id),
        class_names=list(CLASS_NAMES),
        cameras=[],
        missing_cameras=[],
        model_version=TRUTH_VERSION,
        detections=[
            _long_tail_detection(
                labels.boxes,
                row,
                confidences[row],
                CLASS_NAMES,
                types,
                expert_weights=empty,
                depth_uncertainty=float("nan"),
                track_id=labels.track_ids[row],
                lidar_points=int(labels.lidar_points[row]),
                visible_pixels=int(labels.visible_pixels[row]),
            )
            for row in range(len(labels.boxes))
        ],
    )


def _long_tail_detection(
    boxes: Boxes3D,
    row: int,
    confidences: NDArray[np.float32],
    class_names: tuple[str, ...],
    types: MessageTypes,
    **others: Any,
) -> Any:
    message = types("semlt3d_ros/msg/LongTailDetection")
    best = int(confidences.argmax())
    name = class_names[best]
    return message(
        pose=build_pose(types, boxes.centers[row], quaternion_from_yaw(boxes.yaw[row])),
        size=build_vector(types, boxes.sizes[row]),
        velocity=build_vector(types, (*boxes.velocity[row], 0.0)),
        score=float(confidences[best]),
        class_name=name,
        group=CLASSES[CLASS_INDEX[name]].group if name in CLASS_INDEX else "",
        class_confidences=numeric_sequence(message, np.asarray(confidences, np.float32)),
        **others,
    )


def _detection3d_array(
    boxes: Boxes3D,
    confidences: NDArray[np.float32],
    class_names: tuple[str, ...],
    identities: tuple[str, ...],
    stamp_and_frame: tuple[int, str],
    top_k: int,
    types: MessageTypes,
) -> Any:
    header, no_covariance = build_header(types, *stamp_and_frame), np.zeros(36)

    def detection(row: int) -> Any:
        pose = build_pose(types, boxes.centers[row], quaternion_from_yaw(boxes.yaw[row]))
        ranked = np.argsort(-confidences[row], kind="stable")[:top_k]
        return types("vision_msgs/msg/Detection3D")(
            header=header,
            results=[
                types("vision_msgs/msg/ObjectHypothesisWithPose")(
                    hypothesis=types("vision_msgs/msg/ObjectHypothesis")(
                        class_id=class_names[index], score=float(confidences[row, index])
                    ),
                    pose=types("geometry_msgs/msg/PoseWithCovariance")(pose=pose, covariance=no_covariance),
                )
                for index in ranked
            ],
            bbox=types("vision_msgs/msg/BoundingBox3D")(center=pose, size=build_vector(types, boxes.sizes[row])),
            id=identities[row],
        )

    return types("vision_msgs/msg/Detection3DArray")(
        header=header,
        detections=[detection(row) for row in range(len(boxes))],
    )


def _best_first(detections: Detections) -> NDArray[np.int64]:
    return np.argsort(-detections.scores, kind="stable")


def _one_hot(class_ids: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.eye(len(CLASS_NAMES), dtype=np.float32)[class_ids]

"""Detections and ground truth to ROS messages, as the CDR bytes that are published and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections, groups_of
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.cdr import Chosen, serialize_records
from semlt3d_ros.messages.topics import DETECTION_3D_TYPE, LONG_TAIL_TYPE
from semlt3d_ros.messages.typestore import Serialized, message_class

NOT_COUNTED = -1
TRUTH_VERSION = "ground_truth"


def encode_detection3d(
    detections: Detections, frame_id: str, top_k: int = 3, track_ids: Sequence[str] = ()
) -> Serialized:
    """``vision_msgs/Detection3DArray``, best first.

    Every detection carries its ``top_k`` most confident classes, best first, at least one, with readable names as
    ``class_id``: RViz' plugin reads ``results[0]`` unasked and colours by that name.

    Args:
        detections: boxes in ``frame_id``.
        frame_id: frame of the boxes.
        top_k: hypotheses per detection, at least 1.
        track_ids: names of the objects, where they are known in other frames too; then ``depth_uncertainty`` is of
            their centres in every direction on the ground, and becomes the covariance of their poses.
    """
    best_first = _best_first(detections)
    return _detection3d_array(
        detections.boxes[best_first],
        detections.confidences[best_first],
        detections.class_names,
        [track_ids[row] for row in best_first] if track_ids else "",
        (detections.stamp, frame_id),
        max(1, top_k),
        _covariances(detections.depth_uncertainty[best_first]) if track_ids else None,
    )


def encode_labels_detection3d(labels: Labels, stamp: int, frame_id: str) -> Serialized:
    """``vision_msgs/Detection3DArray`` of ground truth: one hypothesis of score 1 each, the track id as ``id``.

    What is of none of the classes has a hypothesis without a name.
    """
    names = (*labels.class_names, "")
    confidences = np.eye(len(names), dtype=np.float32)[labels.class_ids]
    return _detection3d_array(labels.boxes, confidences, names, labels.track_ids, (stamp, frame_id), 1)


def encode_long_tail(detections: Detections, frame_id: str, track_ids: Sequence[str] = ()) -> Serialized:
    """``semlt3d_ros/LongTailDetectionArray`` of detections whose boxes are given in ``frame_id``, best first.

    ``track_ids`` are names of the objects, where they are known in other frames too.
    """
    best_first = _best_first(detections)
    return _long_tail_array(
        detections.boxes[best_first],
        detections.confidences[best_first],
        {
            "group": Chosen(detections.class_groups, _best(detections.confidences[best_first])),
            "classifier_confidences": detections.classifier_confidences[best_first],
            "second_opinion": detections.second_opinion[best_first],
            "expert_weights": detections.expert_weights[best_first],
            "depth_uncertainty": detections.depth_uncertainty[best_first],
            "track_id": [track_ids[row] for row in best_first] if track_ids else "",
            "lidar_points": NOT_COUNTED,
            "visible_pixels": NOT_COUNTED,
        },
        header=build_header(message_class, detections.stamp, frame_id),
        class_names=list(detections.class_names),
        cameras=list(detections.cameras),
        missing_cameras=list(detections.missing),
        model_version=detections.model_version,
    )


def encode_labels(labels: Labels, stamp: int, frame_id: str) -> Serialized:
    """``semlt3d_ros/LongTailDetectionArray`` of ground truth: one-hot confidences over its classes.

    What is of none of them has no name, and no confidence in any.

    Args:
        labels: boxes in ``frame_id``.
        stamp: the frame's stamp in nanoseconds.
        frame_id: frame of the boxes.
    """
    chosen = labels.class_ids % (len(labels.class_names) + 1)  # the last is the empty name
    return _long_tail_array(
        labels.boxes,
        _one_hot(labels),
        {
            "class_name": Chosen([*labels.class_names, ""], chosen),
            "group": Chosen([*groups_of(labels.class_names), ""], chosen),
            "depth_uncertainty": np.nan,
            "track_id": labels.track_ids,
            "lidar_points": labels.lidar_points,
            "visible_pixels": labels.visible_pixels,
        },
        header=build_header(message_class, stamp, frame_id),
        class_names=list(labels.class_names),
        cameras=[],
        missing_cameras=[],
        model_version=TRUTH_VERSION,
    )


def _long_tail_array(
    boxes: Boxes3D, confidences: NDArray[np.float32], others: dict[str, Any], **fields: Any
) -> Serialized:
    message = message_class(LONG_TAIL_TYPE)(detections=[], **fields)
    count, names = len(boxes), fields["class_names"]
    detections = {
        "pose": _poses(boxes),
        "size": boxes.sizes,
        "velocity": np.column_stack([boxes.velocity, np.zeros(count)]),
        "score": confidences.max(axis=1, initial=0.0),
        "class_name": Chosen(names, _best(confidences)),
        "class_confidences": confidences,
    }
    return serialize_records(message, LONG_TAIL_TYPE, count, detections | others)


def _detection3d_array(
    boxes: Boxes3D,
    confidences: NDArray[np.float32],
    class_names: tuple[str, ...],
    identities: Sequence[str] | str,
    stamp_and_frame: tuple[int, str],
    top_k: int,
    covariances: NDArray[np.float64] | None = None,
) -> Serialized:
    header = build_header(message_class, *stamp_and_frame)
    message = message_class(DETECTION_3D_TYPE)(header=header, detections=[])
    poses, rows = _poses(boxes), np.arange(len(boxes))
    detections = {
        "header": header_values(*stamp_and_frame),
        "results": [
            {
                "hypothesis": {
                    "class_id": Chosen(class_names, ranked),
                    "score": confidences[rows, ranked],
                },
                # Without one, the covariance stays zero: not known.
                "pose": {"pose": poses} if covariances is None else {"pose": poses, "covariance": covariances},
            }
            for ranked in (-confidences).argsort(axis=1, kind="stable")[:, :top_k].T
        ],
        "bbox": np.concatenate([poses, boxes.sizes], axis=1),
        "id": identities,
    }
    return serialize_records(message, DETECTION_3D_TYPE, len(boxes), detections)


def _covariances(deviations: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 36) of poses whose x and y have deviations (N,), row by row; zero where these are not known."""
    result = np.zeros((len(deviations), 6, 6))
    result[:, 0, 0] = result[:, 1, 1] = np.nan_to_num(deviations.astype(np.float64)) ** 2
    return result.reshape(-1, 36)


def header_values(stamp: int, frame_id: str) -> dict[str, Any]:
    """The same ``std_msgs/Header`` for all records."""
    return {"stamp": {"sec": stamp // 1_000_000_000, "nanosec": stamp % 1_000_000_000}, "frame_id": frame_id}


def _poses(boxes: Boxes3D) -> NDArray[np.float64]:
    """Positions and quaternions (N, 7)."""
    return np.concatenate([boxes.centers, quaternion_from_yaw(boxes.yaw)], axis=1)


def _best(confidences: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) index of the most confident class of (N, C) confidences."""
    return confidences.argmax(axis=1) if confidences.size else np.zeros(len(confidences), np.int64)


def _best_first(detections: Detections) -> NDArray[np.int64]:
    return (-detections.scores).argsort(kind="stable")


def _one_hot(labels: Labels) -> NDArray[np.float32]:
    """(N, C); nothing but zeros for what is of none of the classes."""
    return np.eye(len(labels.class_names) + 1, len(labels.class_names), dtype=np.float32)[labels.class_ids]

"""Detections as Autoware's objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.messages.building import build_header, build_pose, build_vector
from semlt3d_ros.messages.typestore import MessageTypes, message_class

LABELS: dict[str, int] = {
    "UNKNOWN": 0,
    "CAR": 1,
    "TRUCK": 2,
    "BUS": 3,
    "TRAILER": 4,
    "MOTORCYCLE": 5,
    "BICYCLE": 6,
    "PEDESTRIAN": 7,
    "ANIMAL": 8,
    "HAZARD": 9,
    "OVER_DRIVABLE": 10,
    "UNDER_DRIVABLE": 11,
}
"""``autoware_perception_msgs/ObjectClassification``'s labels by name."""

ORIENTATIONS: dict[str, int] = {"SIGN_UNKNOWN": 1, "AVAILABLE": 2}
"""``DetectedObjectKinematics``' words for headings, but for that of none: every box has one."""

_AXES = 6
_YAW = 5


@dataclass(frozen=True)
class ObjectOptions:
    """How a detection becomes an object: what Autoware has no message for, or asks for and the model does not say.

    Deviations are standard deviations; they count for every object alike. That along the viewing ray is each
    detection's own (``Detections.depth_uncertainty``).

    Attributes:
        classes: our class to the name of Autoware's label; a class that is not in it is UNKNOWN.
        orientation: AVAILABLE where headings can be trusted, SIGN_UNKNOWN where front and back are often confused.
        across_m: of the centre across the viewing ray, in metres ...
        across_rad: ... and what is added to it (as variances are) for each metre of distance.
        yaw_rad: of the heading, up to its sign where ``orientation`` is SIGN_UNKNOWN.
        velocity_mps: of the velocity, in either direction.
    """

    classes: Mapping[str, str] = field(default_factory=dict)
    orientation: str = "SIGN_UNKNOWN"
    across_m: float = 0.2
    across_rad: float = 0.01
    yaw_rad: float = 0.7
    velocity_mps: float = 1.4


def encode_objects(
    detections: Detections, frame_id: str, options: ObjectOptions, types: MessageTypes = message_class
) -> Any:
    """``autoware_perception_msgs/DetectedObjects``, best first.

    The existence probability is the score. Classes of one label count together: its probability is their share of the
    sum of all classes' confidences. Twists are in each object's own frame, x along its heading, as Autoware's tracker
    takes them. Boxes that are not finite or have no extent are left out, for a tracker would not survive them.

    Args:
        detections: boxes in ``frame_id``; distances are from its origin.
        frame_id: frame of the boxes.
        options: labels and deviations.
        types: gives the message classes.
    """
    labels = np.array([LABELS[options.classes.get(name, "UNKNOWN")] for name in detections.class_names])
    by_label: NDArray[np.float64] = detections.confidences.astype(np.float64) @ np.eye(len(LABELS))[labels]
    boxes, scores = detections.boxes, detections.scores
    usable = boxes.physical() & (boxes.sizes > 0).all(axis=1) & np.isfinite(by_label).all(axis=1)
    order = np.argsort(-scores, kind="stable")
    return types("autoware_perception_msgs/msg/DetectedObjects")(
        header=build_header(types, detections.stamp, frame_id),
        objects=[
            types("autoware_perception_msgs/msg/DetectedObject")(
                existence_probability=float(np.clip(scores[row], 0.0, 1.0)),
                classification=_classification(types, by_label[row]),
                kinematics=_kinematics(types, detections, int(row), options),
                shape=_shape(types, boxes.sizes[row]),
            )
            for row in order[usable[order]]
        ],
    )


def _classification(types: MessageTypes, confidences: NDArray[np.float64]) -> list[Any]:
    """Labels with their probabilities, best first, none of them impossible."""
    classification = types("autoware_perception_msgs/msg/ObjectClassification")
    total = confidences.sum()
    if total <= 0:
        return [classification(label=LABELS["UNKNOWN"], probability=1.0)]
    order = np.argsort(-confidences, kind="stable")
    return [
        classification(label=int(label), probability=float(confidences[label] / total))
        for label in order[confidences[order] > 0]
    ]


def _kinematics(types: MessageTypes, detections: Detections, row: int, options: ObjectOptions) -> Any:
    boxes = detections.boxes
    center, yaw = boxes.centers[row], float(boxes.yaw[row])
    position = position_covariance(center, float(detections.depth_uncertainty[row]), options)
    pose_covariance = np.zeros((_AXES, _AXES))
    if position is not None:
        pose_covariance[:3, :3] = position
        pose_covariance[_YAW, _YAW] = options.yaw_rad**2
    velocity = boxes.velocity[row]
    has_twist = bool(np.isfinite(velocity).all())
    along, aside, twist_covariance = 0.0, 0.0, np.zeros((_AXES, _AXES))
    if has_twist:
        c, s = np.cos(yaw), np.sin(yaw)
        along, aside = c * velocity[0] + s * velocity[1], c * velocity[1] - s * velocity[0]
        # The same in every direction, so it need not be turned.
        twist_covariance[0, 0] = twist_covariance[1, 1] = options.velocity_mps**2
    return types("autoware_perception_msgs/msg/DetectedObjectKinematics")(
        pose_with_covariance=types("geometry_msgs/msg/PoseWithCovariance")(
            pose=build_pose(types, center, quaternion_from_yaw(yaw)), covariance=pose_covariance.reshape(-1)
        ),
        has_position_covariance=position is not None,
        orientation_availability=ORIENTATIONS[options.orientation],
        twist_with_covariance=types("geometry_msgs/msg/TwistWithCovariance")(
            twist=types("geometry_msgs/msg/Twist")(
                linear=build_vector(types, (along, aside, 0.0)), angular=build_vector(types, (0.0, 0.0, 0.0))
            ),
            covariance=twist_covariance.reshape(-1),
        ),
        has_twist=has_twist,
        has_twist_covariance=has_twist,
    )


def position_covariance(
    center: NDArray[np.float64], deviation: float, options: ObjectOptions
) -> NDArray[np.float64] | None:
    """(3, 3) covariance of a centre in m^2: ``deviation`` along the ray from the frame's origin, less across it.

    None where the deviation is not known, or the centre is the origin itself.
    """
    distance = float(np.linalg.norm(center))
    if not (0 < deviation < np.inf and distance > 0):
        return None
    ray = center / distance
    along: NDArray[np.float64] = np.outer(ray, ray)
    across = options.across_m**2 + (options.across_rad * distance) ** 2
    return np.asarray(deviation**2 * along + across * (np.eye(3) - along))


def _shape(types: MessageTypes, size: NDArray[np.float64]) -> Any:
    shape = types("autoware_perception_msgs/msg/Shape")
    return shape(
        type=shape.BOUNDING_BOX,
        footprint=types("geometry_msgs/msg/Polygon")(points=[]),
        dimensions=build_vector(types, size),
    )

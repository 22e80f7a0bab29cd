"""Detections as Autoware's objects, as the CDR bytes that are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.checks import Checked, Checks, not_negative
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.cdr import serialize_records
from semlt3d_ros.messages.topics import OBJECTS_TYPE
from semlt3d_ros.messages.typestore import Serialized, message_class

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

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
class ObjectOptions(Checked):
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

    TITLE: ClassVar[str] = "options of Autoware's objects"
    CHECKS: ClassVar[Checks] = not_negative("across_m", "across_rad", "yaw_rad", "velocity_mps")

    classes: dict[str, str]
    orientation: Literal["SIGN_UNKNOWN", "AVAILABLE"] = "SIGN_UNKNOWN"
    across_m: float = 0.2
    across_rad: float = 0.01
    yaw_rad: float = 0.7
    velocity_mps: float = 1.4


def encode_objects(detections: Detections, frame_id: str, options: ObjectOptions) -> Serialized:
    """``autoware_perception_msgs/DetectedObjects``, best first.

    The existence probability is the score. Every object lists all labels that its classes have, best first: classes of
    one label count together, and its probability is their share of the sum of all confidences. Twists are in each
    object's own frame, x along its heading, as Autoware's tracker takes them. Boxes that are not finite or have no
    extent are left out, for a tracker would not survive them.

    Args:
        detections: boxes in ``frame_id``; distances are from its origin.
        frame_id: frame of the boxes.
        options: labels and deviations.
    """
    boxes, confidences = detections.boxes, detections.confidences
    usable = boxes.physical() & (boxes.sizes > 0).all(axis=1) & np.isfinite(confidences).all(axis=1)
    order = np.argsort(-detections.scores, kind="stable")
    found = detections[order[usable[order]]]
    message = message_class(OBJECTS_TYPE)(header=build_header(message_class, found.stamp, frame_id), objects=[])
    shape = message_class("autoware_perception_msgs/msg/Shape")
    objects = {
        "existence_probability": np.clip(found.scores, 0.0, 1.0),
        "classification": _classification(found, options),
        "kinematics": _kinematics(found, options),
        "shape": {"type": shape.BOUNDING_BOX, "dimensions": found.boxes.sizes},
    }
    return serialize_records(message, OBJECTS_TYPE, len(found), objects)


def position_covariances(centers: Floats, deviations: Floats, options: ObjectOptions) -> tuple[Floats, Booleans]:
    """Covariances (N, 3, 3) of centres, in m^2: ``deviations`` along the rays from the frame's origin, less across.

    Returns:
        The covariances, and which of them are known (N,): those that are not are zero. They need a deviation, and a
        centre that is not the origin itself.
    """
    distances = np.linalg.norm(centers, axis=1)
    known = (deviations > 0) & (deviations < np.inf) & (distances > 0)
    rays = centers / np.where(distances > 0, distances, 1.0)[:, None]
    along = rays[:, :, None] * rays[:, None, :]
    across = options.across_m**2 + (options.across_rad * distances) ** 2
    covariances = np.where(known, deviations, 0.0)[:, None, None] ** 2 * along
    covariances += across[:, None, None] * (np.eye(3) - along)
    return np.where(known[:, None, None], covariances, 0.0), known


def _classification(found: Detections, options: ObjectOptions) -> list[dict[str, Any]]:
    """By rank, label and probability (N,) of all objects."""
    of_class = [LABELS[options.classes.get(name, "UNKNOWN")] for name in found.class_names]
    labels, column = np.unique(np.array(of_class, np.int64), return_inverse=True)
    confidences = found.confidences.astype(np.float64) @ np.eye(len(labels))[column.reshape(-1)]
    total = confidences.sum(axis=1, keepdims=True)
    shares = confidences / np.where(total > 0, total, 1.0)
    ranked = np.argsort(-shares, axis=1, kind="stable")
    return [
        {"label": labels[place], "probability": np.take_along_axis(shares, place[:, None], axis=1)}
        for place in ranked.T
    ]


def _kinematics(found: Detections, options: ObjectOptions) -> dict[str, Any]:
    boxes, count = found.boxes, len(found)
    poses = np.zeros((count, _AXES, _AXES))
    poses[:, :3, :3], placed = position_covariances(boxes.centers, found.depth_uncertainty.astype(np.float64), options)
    poses[placed, _YAW, _YAW] = options.yaw_rad**2
    moved: Booleans = np.isfinite(boxes.velocity).all(axis=1).reshape(count)
    x, y = np.where(moved[:, None], boxes.velocity, 0.0).T
    c, s = np.cos(boxes.yaw), np.sin(boxes.yaw)
    nothing = np.zeros(count)
    # The deviation is the same in every direction, so it need not be turned.
    twists = np.zeros((count, _AXES, _AXES))
    twists[moved, :2, :2] = np.eye(2) * options.velocity_mps**2
    return {
        "pose_with_covariance": np.hstack(
            [boxes.centers, quaternion_from_yaw(boxes.yaw), poses.reshape(count, _AXES**2)]
        ),
        "has_position_covariance": placed,
        "orientation_availability": ORIENTATIONS[options.orientation],
        "twist_with_covariance": np.hstack(
            [np.column_stack([c * x + s * y, c * y - s * x, *[nothing] * 4]), twists.reshape(count, _AXES**2)]
        ),
        "has_twist": moved,
        "has_twist_covariance": moved,
    }

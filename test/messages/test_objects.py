"""Autoware's objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.rigid import rotation_from_quaternion, yaw_from_rotation
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import ObjectOptions, encode_objects
from semlt3d_ros.messages.encode_objects import LABELS, ORIENTATIONS
from semlt3d_ros.messages.typestore import deserialize, message_class, serialize, type_store

AUTOWARE_HASHES = {
    "DetectedObjects": "2facd6b15786cbd1f720cdd23d22e6d60d2e7e83b8dff8fd401330e24edb187b",
    "DetectedObject": "395e8cae03c45c86ddb3263f9db58f5a1364bdabdcec56c24c817a372f7d566f",
    "ObjectClassification": "38131fef2df46486c20c12c238faf778328309f4c3e9daa6ffd621732e48dd19",
    "Shape": "1a32ac3073c17e4822d39b7f4c263eb1c4a2bacbf707d6db96e77e867063562b",
    "DetectedObjectKinematics": "a01b4e06aa855e7a501b1af1e7c6a9eddb70e728e8f1195372ff5801cae1c9eb",
}
"""RIHS01 hashes of autoware_perception_msgs 1.12.0."""

OPTIONS = ObjectOptions(
    {"car": "CAR", "truck": "TRUCK", "adult": "PEDESTRIAN", "child": "PEDESTRIAN", "debris": "HAZARD"},
    orientation="AVAILABLE",
    across_m=0.3,
    across_rad=0.04,
    yaw_rad=0.5,
    velocity_mps=2.0,
)
ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True, width=32)


def detections(
    *scores: dict[str, float],
    center: tuple[float, float, float] = (8.0, -6.0, 0.0),
    size: tuple[float, float, float] = (4.0, 2.0, 1.5),
    yaw: float = 0.0,
    velocity: tuple[float, float] = (3.0, 4.0),
    uncertainty: float = 2.0,
) -> Detections:
    """One box per argument, which gives its classes' scores."""
    count = len(scores)
    confidences = np.zeros((count, len(CLASS_NAMES)), np.float32)
    for row, given_scores in enumerate(scores):
        for name, score in given_scores.items():
            confidences[row, CLASS_INDEX[name]] = score
    boxes = Boxes3D(
        np.tile(center, (count, 1)), np.tile(size, (count, 1)), np.full(count, yaw), np.tile(velocity, (count, 1))
    )
    uncertainties = np.full(count, uncertainty, np.float32)
    return Detections(1_500_000_000, boxes, confidences, depth_uncertainty=uncertainties)


def received(found: Detections, options: ObjectOptions = OPTIONS, frame_id: str = "base_link") -> Any:
    """What a subscriber gets, byte for byte as rosbags and rclpy write it."""
    data = encode_objects(found, frame_id, options)
    assert data.type_name == topics.OBJECTS_TYPE
    message = deserialize(data, topics.OBJECTS_TYPE)
    assert serialize(message, topics.OBJECTS_TYPE) == data
    return message


def labels(item: Any) -> dict[int, float]:
    """Labels that are possible, with their probabilities; none is listed twice."""
    assert len({entry.label for entry in item.classification}) == len(item.classification)
    return {entry.label: entry.probability for entry in item.classification if entry.probability > 0}


@pytest.mark.parametrize(("name", "type_hash"), AUTOWARE_HASHES.items())
def test_messages_are_those_of_the_real_package(name: str, type_hash: str) -> None:
    assert type_store().hash_rihs01(f"autoware_perception_msgs/msg/{name}") == f"RIHS01_{type_hash}"


def test_labels_and_words_have_the_numbers_of_the_definitions() -> None:
    classification = message_class("autoware_perception_msgs/msg/ObjectClassification")
    kinematics = message_class("autoware_perception_msgs/msg/DetectedObjectKinematics")
    assert {name: getattr(classification, name) for name in LABELS} == LABELS
    assert {name: getattr(kinematics, name) for name in ORIENTATIONS} == ORIENTATIONS


def test_an_object_is_a_box_with_its_place_and_its_motion() -> None:
    message = received(detections({"car": 0.75}, yaw=np.pi / 2))
    assert (message.header.frame_id, message.header.stamp.sec, message.header.stamp.nanosec) == (
        "base_link",
        1,
        500_000_000,
    )
    (item,) = message.objects
    assert item.existence_probability == pytest.approx(0.75)
    assert labels(item) == {LABELS["CAR"]: pytest.approx(1.0)}
    assert item.shape.type == item.shape.BOUNDING_BOX and list(item.shape.footprint.points) == []
    assert (item.shape.dimensions.x, item.shape.dimensions.y, item.shape.dimensions.z) == (4.0, 2.0, 1.5)
    pose = item.kinematics.pose_with_covariance.pose
    assert (pose.position.x, pose.position.y, pose.position.z) == (8.0, -6.0, 0.0)
    turn = rotation_from_quaternion((pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w))
    assert yaw_from_rotation(turn) == pytest.approx(np.pi / 2)
    assert item.kinematics.orientation_availability == item.kinematics.AVAILABLE
    # It looks along +y and drives along (3, 4): 4 m/s ahead, 3 m/s to its right.
    linear = item.kinematics.twist_with_covariance.twist.linear
    assert (linear.x, linear.y, linear.z) == pytest.approx((4.0, -3.0, 0.0))
    assert item.kinematics.has_twist and item.kinematics.has_twist_covariance
    twist_covariance = np.reshape(item.kinematics.twist_with_covariance.covariance, (6, 6))
    np.testing.assert_array_equal(twist_covariance, np.diag([4.0, 4.0, 0, 0, 0, 0]))


def test_the_place_is_uncertain_along_the_viewing_ray() -> None:
    kinematics = received(detections({"car": 0.5})).objects[0].kinematics
    covariance = np.reshape(kinematics.pose_with_covariance.covariance, (6, 6))
    assert kinematics.has_position_covariance and covariance[5, 5] == pytest.approx(0.25)
    np.testing.assert_allclose(covariance, covariance.T)
    assert not covariance[3:5].any() and not covariance[5, :5].any()
    values, vectors = np.linalg.eigh(covariance[:3, :3])
    across = 0.3**2 + (0.04 * 10) ** 2
    np.testing.assert_allclose(values, [across, across, 4.0])
    np.testing.assert_allclose(np.abs(vectors[:, 2]), [0.8, 0.6, 0.0], atol=1e-12)


def test_what_is_not_known_is_not_said() -> None:
    found = detections({"car": 0.5}, velocity=(np.nan, np.nan), uncertainty=np.nan)
    kinematics = received(found, replace(OPTIONS, orientation="SIGN_UNKNOWN")).objects[0].kinematics
    assert kinematics.orientation_availability == kinematics.SIGN_UNKNOWN
    assert not kinematics.has_position_covariance and not np.any(kinematics.pose_with_covariance.covariance)
    assert not kinematics.has_twist and not kinematics.has_twist_covariance
    twist = kinematics.twist_with_covariance
    assert (twist.twist.linear.x, twist.twist.linear.y) == (0.0, 0.0) and not np.any(twist.covariance)


def test_classes_of_one_label_count_together_and_others_are_unknown() -> None:
    found = detections({"adult": 0.2, "child": 0.2, "car": 0.3, "barrier": 0.1})
    (item,) = received(found).objects
    assert item.existence_probability == pytest.approx(0.3), "the score, by which thresholds go"
    assert labels(item) == pytest.approx({LABELS["PEDESTRIAN"]: 0.5, LABELS["CAR"]: 0.375, LABELS["UNKNOWN"]: 0.125})
    assert item.classification[0].label == LABELS["PEDESTRIAN"]


def test_classes_of_a_vocabulary_have_the_label_of_the_file_or_none() -> None:
    found = detections({"car": 0.1})
    confidences = np.hstack([found.confidences, [[0.6, 0.3]]]).astype(np.float32)
    found = Detections(1, found.boxes, confidences, (*CLASS_NAMES, "wheelchair", "fallen tree"))
    options = replace(OPTIONS, classes={**OPTIONS.classes, "wheelchair": "PEDESTRIAN"})
    (item,) = received(found, options).objects
    assert labels(item) == pytest.approx({LABELS["PEDESTRIAN"]: 0.6, LABELS["UNKNOWN"]: 0.3, LABELS["CAR"]: 0.1})


def test_best_first_and_nothing_where_nothing_is() -> None:
    message = received(detections({"car": 0.2}, {"truck": 0.9}, {}))
    first, second, third = message.objects
    assert labels(first) == {LABELS["TRUCK"]: pytest.approx(1.0)}
    assert first.classification[0].label == LABELS["TRUCK"] and len(first.classification) == 5
    assert labels(second) == {LABELS["CAR"]: pytest.approx(1.0)}
    assert labels(third) == {} and third.existence_probability == 0.0
    assert received(detections()).objects == []


@given(
    st.tuples(ANY_NUMBER, ANY_NUMBER, ANY_NUMBER),
    st.tuples(ANY_NUMBER, ANY_NUMBER, ANY_NUMBER),
    ANY_NUMBER,
    st.tuples(ANY_NUMBER, ANY_NUMBER),
    ANY_NUMBER,
)
def test_a_tracker_gets_finite_numbers_alone(
    center: tuple[float, float, float],
    size: tuple[float, float, float],
    yaw: float,
    velocity: tuple[float, float],
    uncertainty: float,
) -> None:
    found = detections({"car": 0.5}, center=center, size=size, yaw=yaw, velocity=velocity, uncertainty=uncertainty)
    objects = received(found).objects
    assert len(objects) <= 1
    for item in objects:
        pose, twist = item.kinematics.pose_with_covariance, item.kinematics.twist_with_covariance
        position = (pose.pose.position.x, pose.pose.position.y, pose.pose.position.z)
        linear = (twist.twist.linear.x, twist.twist.linear.y)
        assert np.isfinite([*position, *linear, *pose.covariance, *twist.covariance]).all()
        assert min(item.shape.dimensions.x, item.shape.dimensions.y, item.shape.dimensions.z) > 0
        assert np.linalg.eigvalsh(np.reshape(pose.covariance, (6, 6))).min() >= -1e-6 * np.max(pose.covariance)


def test_any_number_of_boxes_of_any_classes() -> None:
    random = np.random.default_rng(5)
    for count, classes in ((200, 25), (3, 1), (7, 2)):
        names = tuple(f"class {index}" for index in range(classes))
        boxes = Boxes3D(
            random.normal(0, 20, (count, 3)),
            random.uniform(0.1, 5, (count, 3)),
            random.uniform(-3, 3, count),
            np.where(random.random((count, 1)) < 0.3, np.nan, random.normal(0, 5, (count, 2))),
        )
        found = Detections(7, boxes, random.random((count, classes)), names)
        found.depth_uncertainty[::2] = 1.5
        options = replace(OPTIONS, classes={name: "BUS" for name in names[::2]})
        objects = received(found, options, "map").objects
        assert len(objects) == count
        order = np.argsort(-found.scores, kind="stable")
        for item, row in zip(objects, order, strict=True):
            assert item.kinematics.has_twist == bool(np.isfinite(boxes.velocity[row]).all())
            assert item.kinematics.has_position_covariance == (row % 2 == 0)
            assert sum(labels(item).values()) == pytest.approx(1.0, abs=1e-6)
            assert item.shape.dimensions.y == boxes.sizes[row, 1]

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.encoding import detection3d_by_field, long_tail_by_field
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.rigid import wrap_angle
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.messages import topics, typestore
from semlt3d_ros.messages.decode import decode_detection3d, decode_labels, decode_long_tail
from semlt3d_ros.messages.encode import (
    encode_detection3d,
    encode_labels,
    encode_labels_detection3d,
    encode_long_tail,
)
from semlt3d_ros.messages.typestore import Serialized, deserialize

STAMP = 1_700_000_000_000_000_123


def read(encoded: Serialized) -> Any:
    return deserialize(encoded, encoded.type_name)


def boxes(count: int, rng: np.random.Generator) -> Boxes3D:
    velocity = rng.normal(0, 5, (count, 2))
    velocity[::3] = np.nan
    return Boxes3D(rng.normal(0, 30, (count, 3)), rng.uniform(0.1, 9, (count, 3)), rng.uniform(-3, 3, count), velocity)


def detections(count: int, rng: np.random.Generator, experts: int = 4, opinion: bool = False) -> Detections:
    classes = len(CLASS_NAMES) if opinion else 0
    return Detections(
        STAMP,
        boxes(count, rng),
        rng.random((count, len(CLASS_NAMES))),
        expert_weights=rng.random((count, experts)).astype(np.float32),
        depth_uncertainty=rng.random(count).astype(np.float32),
        cameras=("CAM_FRONT", "CAM_BACK"),
        missing=("CAM_BACK_LEFT",),
        model_version="demo@12ab",
        classifier_confidences=rng.random((count, classes)).astype(np.float32),
        second_opinion=rng.random((count, classes)).astype(np.float32),
    )


def assert_same_boxes(one: Boxes3D, other: Boxes3D, with_velocity: bool = True) -> None:
    np.testing.assert_array_equal(one.centers, other.centers)
    np.testing.assert_array_equal(one.sizes, other.sizes)
    np.testing.assert_allclose(wrap_angle(one.yaw - other.yaw), 0.0, atol=1e-9)
    if with_velocity:
        np.testing.assert_array_equal(one.velocity, other.velocity)


@given(st.integers(0, 6), st.sampled_from([0, 3]), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_long_tail_detections_round_trip(count: int, experts: int, opinion: bool, seed: int) -> None:
    given_ = detections(count, np.random.default_rng(seed), experts, opinion)
    back = decode_long_tail(read(encode_long_tail(given_, "base_link")))
    order = np.argsort(-given_.scores, kind="stable")
    assert_same_boxes(back.boxes, given_.boxes[order])
    np.testing.assert_array_equal(back.confidences, given_.confidences[order])
    np.testing.assert_array_equal(back.depth_uncertainty, given_.depth_uncertainty[order])
    if count:
        np.testing.assert_array_equal(back.expert_weights, given_.expert_weights[order])
        assert back.expert_weights.shape == (count, experts)
        for name in ("classifier_confidences", "second_opinion"):
            np.testing.assert_array_equal(getattr(back, name), getattr(given_, name)[order])
    assert (back.stamp, back.class_names, back.model_version) == (STAMP, CLASS_NAMES, "demo@12ab")
    assert (back.cameras, back.missing) == (given_.cameras, given_.missing)


@given(st.integers(0, 6), st.sampled_from([0, 3]), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_detections_recorded_before_there_were_second_opinions_are_read(count: int, experts: int, seed: int) -> None:
    given_ = detections(count, np.random.default_rng(seed), experts)
    message = long_tail_by_field(given_, "base_link")
    store = typestore._former_store()
    record = store.types["semlt3d_ros/msg/LongTailDetection"]
    names = {field.name for field in fields(record)}
    assert names == {field.name for field in fields(typestore.message_class(record.__msgtype__))} - {
        "classifier_confidences",
        "second_opinion",
    }
    former = store.types[topics.LONG_TAIL_TYPE](
        **{
            **{field.name: getattr(message, field.name) for field in fields(message) if field.name != "__msgtype__"},
            "detections": [
                record(**{name: getattr(item, name) for name in names - {"__msgtype__"}}) for item in message.detections
            ],
        }
    )
    data = store.serialize_cdr(former, topics.LONG_TAIL_TYPE)
    back = decode_long_tail(deserialize(data, topics.LONG_TAIL_TYPE))
    order = np.argsort(-given_.scores, kind="stable")
    np.testing.assert_array_equal(back.confidences, given_.confidences[order])
    np.testing.assert_array_equal(back.depth_uncertainty, given_.depth_uncertainty[order])
    assert back.second_opinion.shape == back.classifier_confidences.shape == (count, 0)


@given(st.integers(0, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_labels_round_trip(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = Labels(
        boxes(count, rng),
        rng.integers(0, 18, count),
        tuple(f"track-{k}" for k in range(count)),
        rng.integers(-1, 500, count),
        rng.integers(-1, 90_000, count),
    )
    back, stamp = decode_labels(read(encode_labels(labels, STAMP, "base_link")))
    assert stamp == STAMP and back.track_ids == labels.track_ids
    assert_same_boxes(back.boxes, labels.boxes)
    for name in ("class_ids", "lidar_points", "visible_pixels"):
        np.testing.assert_array_equal(getattr(back, name), getattr(labels, name))
    as_detections = decode_long_tail(read(encode_labels(labels, STAMP, "base_link")))
    np.testing.assert_array_equal(as_detections.class_ids, labels.class_ids)
    assert (as_detections.scores == 1).all()


def test_detections_for_other_tools_round_trip() -> None:
    given_ = detections(5, np.random.default_rng(1))
    order = np.argsort(-given_.scores, kind="stable")
    back = decode_detection3d(read(encode_detection3d(given_, "base_link", top_k=18)))
    assert_same_boxes(back.boxes, given_.boxes[order], with_velocity=False)
    np.testing.assert_allclose(back.confidences, given_.confidences[order])
    labels = Labels(given_.boxes, np.arange(5))
    truth = decode_detection3d(read(encode_labels_detection3d(labels, STAMP, "base_link")))
    np.testing.assert_array_equal(truth.class_ids, labels.class_ids)


def test_messages_of_ros_classes_are_read_alike(types: Any) -> None:
    given_ = detections(5, np.random.default_rng(1))
    order = np.argsort(-given_.scores, kind="stable")
    back = decode_long_tail(long_tail_by_field(given_, "base_link", types=types))
    assert_same_boxes(back.boxes, given_.boxes[order])
    others = decode_detection3d(detection3d_by_field(given_, "base_link", 18, types=types))
    np.testing.assert_allclose(others.confidences, given_.confidences[order])


@pytest.mark.parametrize("top_k", [0, 1, 3, 50])
def test_every_detection_has_hypotheses_best_first_with_readable_names(top_k: int) -> None:
    given_ = detections(6, np.random.default_rng(2))
    given_.confidences[2] = 0.0
    message = read(encode_detection3d(given_, "base_link", top_k=top_k))
    best = []
    for item in message.detections:
        scores = [result.hypothesis.score for result in item.results]
        assert len(scores) == min(max(top_k, 1), 18)
        assert scores == sorted(scores, reverse=True)
        assert {result.hypothesis.class_id for result in item.results} <= set(CLASS_NAMES)
        assert (item.header.frame_id, item.header.stamp.nanosec) == ("base_link", STAMP % 10**9)
        best.append(scores[0])
    assert best == sorted(best, reverse=True)


def test_ground_truth_for_other_tools_has_tracks() -> None:
    labels = Labels(boxes(2, np.random.default_rng(3)), np.array([9, 15]), ("a", "b"))
    message = read(encode_labels_detection3d(labels, STAMP, "base_link"))
    assert [item.id for item in message.detections] == ["a", "b"]
    assert [[r.hypothesis.class_id for r in item.results] for item in message.detections] == [["child"], ["debris"]]


def test_groups_follow_the_taxonomy_and_other_classes_have_none() -> None:
    given_ = Detections(
        STAMP, boxes(2, np.random.default_rng(4)), np.array([[0.9, 0.1], [0.2, 0.8]]), ("child", "tank")
    )
    message = read(encode_long_tail(given_, "base_link"))
    assert [(item.class_name, item.group) for item in message.detections] == [("child", "few"), ("tank", "")]


def test_groups_of_ones_own_classes_travel() -> None:
    """Also where LT3D's list has one of the names, in another group; odd names disturb nobody."""
    for names, groups in ((("car", "deer"), ("few", "many")), (("car", "car"), ("", "")), (("", " "), ("", ""))):
        scores = np.array([[0.9, 0.1], [0.2, 0.8]])
        given_ = Detections(STAMP, boxes(2, np.random.default_rng(4)), scores, names, class_groups=groups)
        message = read(encode_long_tail(given_, "base_link"))
        assert [item.group for item in message.detections] == list(groups)
        assert decode_long_tail(message).class_names == names
        assert names[0] != "car" or names[1] == "car" or decode_long_tail(message).class_groups == groups


def test_objects_of_no_class_travel_without_a_name() -> None:
    labels = Labels(boxes(3, np.random.default_rng(6)), np.array([1, ABSENT, 0]), class_names=("deer", "stag"))
    message = read(encode_labels(labels, STAMP, "base_link"))
    assert [(item.class_name, item.score) for item in message.detections] == [("stag", 1.0), ("", 0.0), ("deer", 1.0)]
    back, _ = decode_labels(message)
    np.testing.assert_array_equal(back.class_ids, labels.class_ids)
    assert back.class_names == ("deer", "stag")
    for names, ids, told in ((("deer", "stag"), [1, ABSENT, 0], ["stag", "", "deer"]), ((), [ABSENT] * 3, [""] * 3)):
        message = read(encode_labels_detection3d(Labels(labels.boxes, ids, class_names=names), STAMP, "base_link"))
        hypotheses = [item.results[0].hypothesis for item in message.detections]
        assert [each.class_id for each in hypotheses] == told and all(each.score == 1.0 for each in hypotheses)


def test_classes_added_by_language_travel_beside_the_trained_ones() -> None:
    rng = np.random.default_rng(8)
    names = (*CLASS_NAMES, "wheelchair", "fallen tree")
    confidences = rng.random((4, len(names))) * 0.5
    confidences[0, 19] = 0.9
    given_ = Detections(STAMP, boxes(4, rng), confidences, names)
    message = read(encode_long_tail(given_, "base_link"))
    assert (message.detections[0].class_name, message.detections[0].group) == ("fallen tree", "")
    back, order = decode_long_tail(message), np.argsort(-given_.scores, kind="stable")
    assert back.class_names == names
    np.testing.assert_array_equal(back.confidences, given_.confidences[order])
    others = decode_detection3d(read(encode_detection3d(given_, "base_link", top_k=len(names))))
    columns = [others.class_names.index(name) for name in names]
    np.testing.assert_array_equal(others.confidences[:, columns], back.confidences)


def test_foreign_class_names_are_kept_beside_the_known_ones() -> None:
    given_ = Detections(STAMP, boxes(2, np.random.default_rng(5)), np.array([[0.9, 0.1], [0.2, 0.8]]), ("car", "7"))
    back = decode_detection3d(read(encode_detection3d(given_, "base_link")))
    assert back.class_names == (*CLASS_NAMES, "7")
    np.testing.assert_allclose(back.confidences[:, [CLASS_INDEX["car"], -1]], given_.confidences)


def left_out(count: int, row: int) -> list[int]:
    return [index for index in range(count) if index != row]


@pytest.mark.parametrize("row", [0, 1, 2])
def test_unknown_classes_in_ground_truth_leave_the_others_there(row: int) -> None:
    labels = Labels(boxes(3, np.random.default_rng(6)), np.array([3, 4, 5]), ("a", "b", "c"))
    message = read(encode_labels(labels, STAMP, "base_link"))
    message.detections[row].class_name = "tank"
    faults = FaultLog()
    back, _ = decode_labels(message, faults)
    assert_same_boxes(back.boxes, labels.boxes[np.array(left_out(3, row))])
    assert back.track_ids == tuple("abc"[index] for index in left_out(3, row))
    (fault,) = faults
    assert (fault.place, fault.reason, fault.count) == (topics.TRUTH_LONG_TAIL, "class_name", 1)
    assert f"element {row} of" in fault.line and "'tank'" in fault.line and "class_names has car, truck" in fault.line


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        (lambda item: setattr(item.pose.position, "x", float("nan")), "box", "centre nan x"),
        (lambda item: setattr(item.size, "y", -1.0), "box", "sizes positive"),
        (lambda item: setattr(item.size, "z", 0.0), "box", "sizes positive"),
        (lambda item: setattr(item.size, "x", float("nan")), "box", "size nan x"),
        (lambda item: setattr(item.pose.position, "z", -1e308), "box", "-1e+308"),
        (lambda item: setattr(item.size, "x", 1e308), "box", "1e+308"),
        (lambda item: [setattr(item.pose.orientation, axis, 0.0) for axis in "xyzw"], "box", "no heading"),
        (
            lambda item: setattr(item, "class_confidences", np.zeros(3, np.float32)),
            "class_confidences",
            "3 class_confidences, 18 are expected",
        ),
        (
            lambda item: setattr(item, "class_confidences", np.full(18, np.nan, np.float32)),
            "class_confidences",
            "not finite",
        ),
        (
            lambda item: setattr(item, "class_confidences", np.full(18, 87.0, np.float32)),
            "confidence_range",
            "87 does not lie in [0, 1]",
        ),
        (
            lambda item: setattr(item, "class_confidences", np.linspace(-4, 1, 18, dtype=np.float32)),
            "confidence_range",
            "-4 does not lie in [0, 1]",
        ),
        (lambda item: setattr(item, "expert_weights", np.zeros(9, np.float32)), "expert_weights", "9 expert_weights"),
    ],
)
def test_a_detection_that_does_not_fit_leaves_the_others_there(
    change: Callable[[Any], Any], reason: str, told: str, row: int
) -> None:
    given_ = detections(3, np.random.default_rng(7))
    whole = decode_long_tail(read(encode_long_tail(given_, "base_link")))
    message = read(encode_long_tail(given_, "base_link"))
    change(message.detections[row])
    faults = FaultLog()
    back, rest = decode_long_tail(message, faults, "/other/long_tail"), whole[np.array(left_out(3, row))]
    assert_same_boxes(back.boxes, rest.boxes)
    for name in ("confidences", "expert_weights", "depth_uncertainty"):
        np.testing.assert_array_equal(getattr(back, name), getattr(rest, name))
    (fault,) = faults
    assert (fault.place, fault.reason, fault.count) == ("/other/long_tail", reason, 1)
    assert f"element {row} of" in fault.line and told in fault.line
    assert len(decode_long_tail(message)) == 2, "without a log too"


def test_several_bad_elements_are_counted_and_all_bad_leave_none() -> None:
    message = read(encode_long_tail(detections(4, np.random.default_rng(9)), "base_link"))
    for item in message.detections[:3]:
        item.size.x = float("inf")
    message.detections[3].class_confidences = message.detections[3].class_confidences[:5]
    faults = FaultLog()
    assert len(decode_long_tail(message, faults)) == 0
    assert [(fault.reason, fault.count) for fault in faults] == [("class_confidences", 1), ("box", 3)]


@pytest.mark.parametrize("speed", [float("inf"), -float("inf"), 1e30])
def test_a_velocity_that_cannot_be_counts_as_unknown(speed: float) -> None:
    given_ = detections(2, np.random.default_rng(10))
    message = read(encode_long_tail(given_, "base_link"))
    message.detections[1].velocity.y = speed
    faults = FaultLog()
    back = decode_long_tail(message, faults)
    assert len(back) == 2 and np.isnan(back.boxes.velocity[1]).all()
    (fault,) = faults
    assert fault.reason == "velocity" and fault.harmless


def test_hypotheses_without_a_finite_score_are_left_out() -> None:
    given_ = Detections(
        STAMP, boxes(3, np.random.default_rng(11)), np.array([[0.9, 0.1], [0.7, 0.2], [0.6, 0.3]]), ("car", "bus")
    )
    message = read(encode_detection3d(given_, "base_link", top_k=2))
    message.detections[0].results[0].hypothesis.score = float("nan")
    for result in message.detections[1].results:
        result.hypothesis.score = float("inf")
    message.detections[2].bbox.size.y = -2.0
    faults = FaultLog()
    back = decode_detection3d(message, faults)
    assert len(back) == 1
    np.testing.assert_allclose(back.confidences[0, [CLASS_INDEX["car"], CLASS_INDEX["bus"]]], [0.0, 0.1])
    assert [(fault.place, fault.reason, fault.count) for fault in faults] == [
        (topics.DETECTIONS, "score", 2),
        (topics.DETECTIONS, "box", 1),
    ]


@pytest.mark.parametrize("score", [55.0, -2.5])
def test_scores_that_are_no_confidences_are_left_out(score: float) -> None:
    given_ = Detections(
        STAMP, boxes(3, np.random.default_rng(11)), np.array([[0.9, 0.1], [0.7, 0.2], [0.6, 0.3]]), ("car", "bus")
    )
    message = read(encode_detection3d(given_, "base_link", top_k=2))
    message.detections[1].results[1].hypothesis.score = score
    faults = FaultLog()
    assert_same_boxes(decode_detection3d(message, faults).boxes, boxes_of(message)[[0, 2]])
    (fault,) = faults
    assert fault.reason == "confidence_range" and f"{score:g} does not lie in [0, 1]" in fault.line


def boxes_of(message: Any) -> Any:
    message = deepcopy(message)
    for item in message.detections:
        for result in item.results:
            result.hypothesis.score = 0.5
    return decode_detection3d(message).boxes


@pytest.mark.parametrize("confidence", [1.0 + 1e-6, -1e-6])
def test_confidences_may_be_rounded(confidence: float) -> None:
    message = read(encode_long_tail(detections(1, np.random.default_rng(5)), "base_link"))
    message.detections[0].class_confidences = np.full(18, confidence, np.float32)
    faults = FaultLog()
    assert len(decode_long_tail(message, faults)) == 1 and not list(faults)

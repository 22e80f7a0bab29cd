"""Messages written from arrays are, byte for byte, what is written of message objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.encoding import (
    detection3d_by_field,
    labels_detection3d_by_field,
    labels_long_tail_by_field,
    long_tail_by_field,
    markers_by_field,
)
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.building import build_header, build_quaternion, build_vector
from semlt3d_ros.messages.cdr import serialize_records
from semlt3d_ros.messages.typestore import message_class, serialize

TF = "tf2_msgs/msg/TFMessage"
ODD = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-310, 1e30])
"""Numbers that are easily written wrong."""

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
seeds = st.integers(0, 2**32 - 1)


def numbers(random: np.random.Generator, shape: tuple[int, ...], odd: float) -> np.ndarray:
    """Random numbers, a share ``odd`` of them odd ones."""
    return np.where(random.random(shape) < odd, random.choice(ODD, shape), random.normal(0, 20, shape))


@st.composite
def found(draw: st.DrawFn) -> Detections:
    """Detections of any number of boxes, classes and experts, with names of any length and odd numbers."""
    random, odd = np.random.default_rng(draw(seeds)), draw(st.sampled_from([0.0, 0.05, 0.5]))
    count = draw(st.one_of(st.integers(0, 12), st.integers(0, 300)))
    known = draw(st.lists(st.sampled_from(CLASS_NAMES), max_size=20, unique=True))
    others = draw(st.lists(names, min_size=0 if known or not count else 1, max_size=20))
    classes = (*known, *others)
    boxes = Boxes3D(*(numbers(random, (count, *rest), odd) for rest in ((3,), (3,), (), (2,))))
    confidences = random.random((count, len(classes))) * random.integers(0, 2, (count, len(classes)))
    return Detections(
        draw(st.integers(0, 2**31 * 10**9 - 1)),
        boxes,
        np.where(random.random(confidences.shape) < odd, np.nan, confidences),
        classes,
        numbers(random, (count, draw(st.integers(0, 8))), odd).astype(np.float32),
        numbers(random, (count,), odd).astype(np.float32),
        tuple(draw(st.lists(names, max_size=3))),
        tuple(draw(st.lists(names, max_size=3))),
        draw(names),
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(found(), names, st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_detections_are_what_is_written_field_by_field(detections: Detections, frame_id: str, top_k: int) -> None:
    ours = encode.encode_long_tail(detections, frame_id)
    assert ours == serialize(long_tail_by_field(detections, frame_id), topics.LONG_TAIL_TYPE)
    assert ours.type_name == topics.LONG_TAIL_TYPE
    ours = encode.encode_detection3d(detections, frame_id, top_k)
    assert ours == serialize(detection3d_by_field(detections, frame_id, top_k), topics.DETECTION_3D_TYPE)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(
    found(),
    names,
    st.builds(
        encode.MarkerOptions,
        st.floats(0, 1),
        st.integers(0, 20),
        st.floats(0.1, 10),
        st.booleans(),
        st.booleans(),
        st.floats(0, 60),
    ),
)
@settings(max_examples=60, deadline=None)
def test_markers_are_what_is_written_field_by_field(
    detections: Detections, frame_id: str, options: encode.MarkerOptions
) -> None:
    ours = encode.encode_markers(detections, frame_id, options)
    assert ours == serialize(markers_by_field(detections, frame_id, options), topics.MARKER_TYPE)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(st.lists(names, max_size=30), names, seeds)
@settings(max_examples=40, deadline=None)
def test_truth_is_what_is_written_field_by_field(tracks: list[str], frame_id: str, seed: int) -> None:
    random, count = np.random.default_rng(seed), len(tracks)
    boxes = Boxes3D(*(numbers(random, (count, *rest), 0.1) for rest in ((3,), (3,), (), (2,))))
    counts = (random.integers(-1, 2**31, count) for _ in range(2))
    labels = Labels(boxes, random.integers(0, len(CLASS_NAMES), count), tuple(tracks), *counts)
    ours = encode.encode_labels(labels, 7, frame_id)
    assert ours == serialize(labels_long_tail_by_field(labels, 7, frame_id), topics.LONG_TAIL_TYPE)
    ours = encode.encode_labels_detection3d(labels, 7, frame_id)
    assert ours == serialize(labels_detection3d_by_field(labels, 7, frame_id), topics.DETECTION_3D_TYPE)


@given(st.lists(st.tuples(names, names), max_size=20), seeds)
@settings(deadline=None)
def test_any_message_that_ends_with_an_array_can_be_written(pairs: list[tuple[str, str]], seed: int) -> None:
    random, count = np.random.default_rng(seed), len(pairs)
    places, turns = random.normal(size=(count, 3)), random.normal(size=(count, 4))
    stamps = random.integers(0, 2**31, (count, 2))
    ours = serialize_records(
        message_class(TF)(transforms=[]),
        TF,
        count,
        {
            "header": {
                "stamp": {"sec": stamps[:, 0], "nanosec": stamps[:, 1]},
                "frame_id": [parent for parent, _ in pairs],
            },
            "child_frame_id": [child for _, child in pairs],
            "transform": {"translation": places, "rotation": turns},
        },
    )
    theirs = [
        message_class("geometry_msgs/msg/TransformStamped")(
            header=build_header(message_class, int(sec) * 10**9 + int(nanosec) % 10**9, parent),
            child_frame_id=child,
            transform=message_class("geometry_msgs/msg/Transform")(
                translation=build_vector(message_class, place), rotation=build_quaternion(message_class, turn)
            ),
        )
        for (sec, nanosec), (parent, child), place, turn in zip(stamps, pairs, places, turns, strict=True)
    ]
    for each, (_, nanosec) in zip(theirs, stamps, strict=True):
        each.header.stamp.nanosec = int(nanosec)
    assert ours == serialize(message_class(TF)(transforms=theirs), TF)


def test_a_field_that_is_not_there_is_no_field_to_be_written() -> None:
    with pytest.raises(KeyError, match="child_frame"):
        serialize_records(message_class(TF)(transforms=[]), TF, 1, {"child_frame": ["a"]})
    with pytest.raises(ValueError, match="broadcast"):
        serialize_records(message_class(TF)(transforms=[]), TF, 3, {"transform": np.zeros((2, 7))})

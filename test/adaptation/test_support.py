"""What the model that ran has seen of a teacher's objects: by frames, classes and places."""

import numpy as np
import pytest

from semlt3d_ros.adaptation.support import support_of
from semlt3d_ros.adaptation.views import write_named
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES, LT3D
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_detections import decode_labels
from semlt3d_ros.messages.encode_detections import encode_labels, encode_long_tail

FRAMES, PERIOD = 10, 250_000_000


def boxes_at(*xs: float) -> Boxes3D:
    count = len(xs)
    centers = np.stack([np.array(xs, float), np.zeros(count), np.zeros(count)], axis=1).reshape(count, 3)
    return Boxes3D(centers, np.full((count, 3), 1.5), np.zeros(count), np.zeros((count, 2)))


def detections(stamp: int, *found: tuple[float, str, float]) -> Detections:
    confidences = np.full((len(found), len(CLASS_NAMES)), 0.001, np.float32)
    for row, (_, name, confidence) in enumerate(found):
        confidences[row, CLASS_INDEX[name]] = confidence
    return Detections(stamp, boxes_at(*(x for x, _, _ in found)), confidences, CLASS_NAMES)


def write_labels(path, *objects: tuple[float, str]) -> None:
    """Objects at places along x, by class; each is a track of its own in all frames."""
    with BagSink(path) as sink:
        for number in range(FRAMES):
            kinds = [CLASS_INDEX.get(name, ABSENT) for _, name in objects]
            labels = Labels(
                boxes_at(*(x for x, _ in objects)), np.array(kinds), tuple(str(row) for row in range(len(objects)))
            )
            stamp = number * PERIOD
            data = encode_labels(labels, stamp, "base_link")
            sink.write(topics.TEACHER_LABELS, topics.LONG_TAIL_TYPE, data, stamp)


def write_detections(path, found, topic=topics.LONG_TAIL, late_ns: int = 0) -> None:
    """``found(number)`` are the detections of a frame; None where nothing was answered."""
    with BagSink(path) as sink:
        for number in range(FRAMES):
            seen = found(number)
            if seen is not None:
                said = detections(number * PERIOD + late_ns, *seen)
                sink.write(topic, topics.LONG_TAIL_TYPE, encode_long_tail(said, "base_link"), said.stamp)


@pytest.fixture
def labelled(tmp_path):
    path = tmp_path / "labelled.mcap"
    write_labels(path, (10.0, "car"), (20.0, "motorcycle"), (30.0, "adult"), (40.0, ""))
    return path


def test_what_is_seen_often_enough_with_its_class_and_surely_is_agreed_upon(tmp_path, labelled) -> None:
    def found(number: int):
        seen = [(11.5, "car", 0.3 if number < 2 else 0.05), (20.5, "bicycle", 0.4), (41.0, "debris", 0.2)]
        return [*seen, (30.0, "adult", 0.9)] if number == 0 else seen  # an adult in one frame of ten

    event = tmp_path / "event.mcap"
    write_detections(event, found)
    support = support_of(event, labelled, LT3D, 0.1)
    assert support is not None
    assert set(support.seen) == {"0", "1", "3"} and support.same == ("0",)
    assert support.unsupported == 2 * FRAMES, "motorcycle and adult; what was in doubt before is no object"
    everything = support_of(event, labelled, LT3D, 0.04)
    assert everything is not None and "0" in everything.same


def test_only_frames_that_were_answered_count(tmp_path, labelled) -> None:
    event = tmp_path / "event.mcap"
    write_detections(event, lambda number: [(10.0, "car", 0.5)] if number == 4 else None, late_ns=40_000_000)
    support = support_of(event, labelled, LT3D, 0.1)
    assert support is not None and support.same == ("0",)


@pytest.mark.parametrize("topic", [topics.TRUTH_LONG_TAIL, topics.TEACHER_LABELS])
def test_without_a_model_that_ran_nobody_can_disagree(tmp_path, labelled, topic) -> None:
    event = tmp_path / "event.mcap"
    write_detections(event, lambda number: [(10.0, "car", 0.5)], topic)
    assert support_of(event, labelled, LT3D, 0.1) is None
    other = tmp_path / "other.mcap"
    write_detections(other, lambda number: [(10.0, "car", 0.5)], late_ns=10**12)
    assert support_of(other, labelled, LT3D, 0.1) is None, "of another time"


def test_a_model_that_saw_nothing_agrees_to_nothing(tmp_path, labelled) -> None:
    event = tmp_path / "event.mcap"
    write_detections(event, lambda number: [], "/front/semlt3d/long_tail")
    support = support_of(event, labelled, LT3D, 0.1)
    assert support is not None and not support.seen and support.unsupported == 3 * FRAMES


def test_what_is_not_agreed_upon_is_in_doubt_unless_it_has_got_a_name(tmp_path, labelled) -> None:
    out = tmp_path / "named.mcap"
    write_named(labelled, out, {"1": "bicycle"}, LT3D, {"0"})
    with BagSource(out) as source:
        for entry in source.messages(topics=[topics.TEACHER_LABELS]):
            labels, _ = decode_labels(entry.message())
            assert labels.names == ("car", "bicycle", "", "")

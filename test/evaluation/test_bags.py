"""Detections of one bag against the truth of another."""

from __future__ import annotations

import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.data.bags import BagSink
from semlt3d_ros.evaluation import evaluate
from semlt3d_ros.evaluation.bags import pair_bags
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_detection3d, encode_labels, encode_long_tail

PLACES = [(10.0, 0.0), (20.0, 3.0)]


@pytest.fixture
def truth_bag(tmp_path, truth):
    """Four frames, stamps 1 to 4 s, two cars each."""
    path = tmp_path / "truth.mcap"
    with BagSink(path) as bag:
        for second in range(1, 5):
            message = encode_labels(truth(PLACES), second * 10**9, "base_link")
            bag.write(topics.TRUTH_LONG_TAIL, topics.LONG_TAIL_TYPE, message, second * 10**9)
    return path


@pytest.fixture
def write_detections(tmp_path, found):
    def write(stamps, frame_id="base_link", both=False, plain=False):
        path = tmp_path / "detections.mcap"
        with BagSink(path) as bag:
            for index, stamp in enumerate(stamps):
                detections = found(PLACES, [0.9, 0.8], stamp=stamp)
                if plain or both:
                    shifted = found([(x, y + 3.0) for x, y in PLACES], [0.9, 0.8], stamp=stamp) if both else detections
                    message = encode_detection3d(shifted, frame_id)
                    bag.write(topics.DETECTIONS, topics.DETECTION_3D_TYPE, message, 10**18 + index)
                if not plain:
                    message = encode_long_tail(detections, frame_id)
                    bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, 10**18 + index)
        return path

    return write


def test_frames_without_an_answer_count_as_missed(truth_bag, write_detections):
    """Detections of two of the four frames, and of one that has no truth."""
    pairs = pair_bags(write_detections([1 * 10**9, 3 * 10**9, 99 * 10**9]), truth_bag)
    report = evaluate(pairs)
    assert (pairs.answered, pairs.unanswered, pairs.without_truth) == (2, 2, 1)
    assert report.frames == 4
    assert report.ap["car"] == pytest.approx(0.5)
    # A second pass counts anew.
    assert len(list(pairs)) == 4
    assert (pairs.answered, pairs.unanswered, pairs.without_truth) == (2, 2, 1)


def test_the_packages_own_message_counts_before_the_common_one(truth_bag, write_detections):
    path = write_detections([second * 10**9 for second in range(1, 5)], both=True)
    assert evaluate(pair_bags(path, truth_bag)).ap["car"] == pytest.approx(1.0)


def test_detection3d_alone_will_do(truth_bag, write_detections):
    path = write_detections([second * 10**9 for second in range(1, 5)], plain=True)
    report = evaluate(pair_bags(path, truth_bag))
    assert report.ap["car"] == pytest.approx(1.0)
    assert report.errors["ave"] == 1.0


def test_truth_and_detections_in_one_bag(tmp_path, truth, found):
    path = tmp_path / "both.mcap"
    with BagSink(path) as bag:
        bag.write(topics.TRUTH_LONG_TAIL, topics.LONG_TAIL_TYPE, encode_labels(truth(PLACES), 5, "base_link"), 5)
        message = encode_long_tail(found(PLACES, [0.9, 0.8], stamp=5), "base_link")
        bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, 6)
    assert evaluate(pair_bags(path, path)).ap["car"] == pytest.approx(1.0)


def test_a_damaged_message_is_counted(tmp_path, truth_bag, found):
    path = tmp_path / "detections.mcap"
    with BagSink(path) as bag:
        message = encode_long_tail(found(PLACES, [0.9, 0.8], stamp=10**9), "base_link")
        bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, 1)
        bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, b"\x00\x01\x00\x00 cut", 2)
    pairs = pair_bags(path, truth_bag)
    assert len(list(pairs)) == 4
    assert (pairs.answered, sum(pairs.rejected.values())) == (1, 1)


def test_boxes_in_another_frame_are_refused(truth_bag, write_detections):
    with pytest.raises(ConfigurationError, match="map"):
        evaluate(pair_bags(write_detections([10**9], frame_id="map"), truth_bag))


def test_bags_without_the_topics_are_named(truth_bag, write_detections):
    detections = write_detections([10**9])
    with pytest.raises(ConfigurationError, match=r"truth\.mcap' has no detections.*/ground_truth/long_tail"):
        list(pair_bags(truth_bag, truth_bag))
    with pytest.raises(ConfigurationError, match=r"detections\.mcap' has no ground truth"):
        list(pair_bags(detections, detections))

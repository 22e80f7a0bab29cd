"""Detections of one bag against the truth of another."""

from __future__ import annotations

import pytest

from semlt3d_ros.bags import mcap_format as fmt
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import SampleInfo
from semlt3d_ros.evaluation import evaluate
from semlt3d_ros.evaluation.bags import BagPairs
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import (
    encode_detection3d,
    encode_labels,
    encode_long_tail,
    encode_sample,
    encode_transforms,
)
from semlt3d_ros.messages.typestore import deserialize, serialize

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
    pairs = BagPairs(write_detections([1 * 10**9, 3 * 10**9, 99 * 10**9]), truth_bag)
    report = evaluate(pairs)
    assert (pairs.answered, pairs.unanswered, pairs.without_truth) == (2, 2, 1)
    assert report.frames == 4
    assert report.ap["car"] == pytest.approx(0.5)
    # A second pass counts anew.
    assert len(list(pairs)) == 4
    assert (pairs.answered, pairs.unanswered, pairs.without_truth) == (2, 2, 1)


def test_the_packages_own_message_counts_before_the_common_one(truth_bag, write_detections):
    path = write_detections([second * 10**9 for second in range(1, 5)], both=True)
    assert evaluate(BagPairs(path, truth_bag)).ap["car"] == pytest.approx(1.0)


def test_detection3d_alone_will_do(truth_bag, write_detections):
    path = write_detections([second * 10**9 for second in range(1, 5)], plain=True)
    report = evaluate(BagPairs(path, truth_bag))
    assert report.ap["car"] == pytest.approx(1.0)
    assert report.errors["ave"] == 1.0


def test_truth_and_detections_in_one_bag(tmp_path, truth, found):
    path = tmp_path / "both.mcap"
    with BagSink(path) as bag:
        bag.write(topics.TRUTH_LONG_TAIL, topics.LONG_TAIL_TYPE, encode_labels(truth(PLACES), 5, "base_link"), 5)
        message = encode_long_tail(found(PLACES, [0.9, 0.8], stamp=5), "base_link")
        bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, 6)
    assert evaluate(BagPairs(path, path)).ap["car"] == pytest.approx(1.0)


def test_a_damaged_message_is_counted(tmp_path, truth_bag, found):
    path = tmp_path / "detections.mcap"
    with BagSink(path) as bag:
        message = encode_long_tail(found(PLACES, [0.9, 0.8], stamp=10**9), "base_link")
        bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, 1)
        bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, b"\x00\x01\x00\x00 cut", 2)
    pairs = BagPairs(path, truth_bag)
    assert len(list(pairs)) == 4
    assert (pairs.answered, sum(pairs.rejected.values())) == (1, 1)


@pytest.mark.parametrize(("frame_id", "told"), [("map", "the frame 'map'"), ("", "no frame")])
def test_boxes_in_another_frame_are_refused(truth_bag, write_detections, frame_id, told):
    with pytest.raises(ConfigurationError, match=f"are given in {told}.* in the frame 'base_link'"):
        evaluate(BagPairs(write_detections([10**9], frame_id=frame_id), truth_bag))


def test_slashes_before_frames_mean_nothing(truth_bag, write_detections):
    pairs = BagPairs(write_detections([10**9], frame_id="/base_link"), truth_bag)
    assert len(list(pairs)) > 0 and (pairs.answered, pairs.frame_id) == (1, "base_link")


def test_bags_without_the_topics_are_named(truth_bag, write_detections):
    detections = write_detections([10**9])
    with pytest.raises(ConfigurationError, match=r"truth\.mcap' has no detections.*/ground_truth/long_tail.*exchanged"):
        list(BagPairs(truth_bag, detections))
    with pytest.raises(ConfigurationError, match=r"detections\.mcap' has no ground truth.*exchanged"):
        list(BagPairs(detections, detections))


def read(encoded):
    return deserialize(encoded, encoded.type_name)


def shifted_bag(tmp_path, truth, name, offsets, period=10**9, changes=()):
    """A truth bag of one frame per offset (ns), ``period`` apart; ``changes`` are made to the messages."""
    path = tmp_path / name
    with BagSink(path, compress=False) as bag:
        for index, offset in enumerate(offsets):
            stamp = (index + 1) * period + offset
            message = read(encode_labels(truth(PLACES), stamp, "base_link"))
            for change in changes:
                change(message)
            bag.write(topics.TRUTH_LONG_TAIL, topics.LONG_TAIL_TYPE, message, stamp)
            bag.flush()
    return path


def lines(faults, reason):
    return [fault.line for fault in faults if fault.reason == reason]


@pytest.mark.parametrize("offset", [5_000_000, -5_000_000, 1])
def test_a_constant_offset_is_told_with_its_remedy(tmp_path, truth, write_detections, offset):
    detections = write_detections([second * 10**9 for second in range(1, 5)])
    pairs = BagPairs(detections, shifted_bag(tmp_path, truth, "late.mcap", [offset] * 4))
    assert len(list(pairs)) == 4
    assert (pairs.answered, pairs.unanswered, pairs.without_truth) == (0, 4, 4)
    (line,) = lines(pairs.faults, "unanswered")
    assert ("1 ns apart" if offset == 1 else "5.000 ms apart") in line
    assert f"detections {'before' if offset > 0 else 'after'} the truth throughout: give detections the stamp" in line


@pytest.mark.parametrize(
    ("offsets", "apart"),
    [([3 * 10**8, -(10**8), 2 * 10**8, 0], "40.000 ms to 260.000 ms"), ([10**12] * 4, "997.0 s to 1000.0 s")],
)
def test_other_distances_are_told_without_a_guess(tmp_path, truth, write_detections, offsets, apart):
    detections = write_detections([second * 10**9 + 4 * 10**7 for second in range(1, 5)])
    pairs = BagPairs(detections, shifted_bag(tmp_path, truth, "other.mcap", offsets))
    list(pairs)
    (line,) = lines(pairs.faults, "unanswered")
    assert f" {apart} apart" in line and "throughout" not in line


def test_bad_elements_leave_their_messages_on_both_sides(tmp_path, truth, found):
    def no_box(message):
        message.detections[1].size.x = float("nan")

    def no_class(message):
        message.detections[0].class_name = "tank"

    truth_bag = shifted_bag(tmp_path, truth, "truth.mcap", [0, 0], changes=[no_class])
    path = tmp_path / "detections.mcap"
    with BagSink(path) as bag:
        for second in (1, 2):
            message = read(encode_long_tail(found(PLACES, [0.9, 0.8], stamp=second * 10**9), "base_link"))
            no_box(message)
            bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, second)
    pairs = BagPairs(path, truth_bag)
    shown = list(pairs)
    assert [(len(detections), len(labels.boxes)) for detections, labels in shown] == [(1, 1), (1, 1)]
    assert pairs.rejected == {"box": 2, "class_name": 2}
    assert pairs.to_json() == {
        "answered": 2,
        "unanswered": 0,
        "without_truth": 0,
        "rejected": {"box": 2, "class_name": 2},
    }


def test_stamps_that_come_twice_are_told(tmp_path, truth, found):
    truth_bag = shifted_bag(tmp_path, truth, "truth.mcap", [0, -(10**9)])
    path = tmp_path / "detections.mcap"
    with BagSink(path) as bag:
        for log_time in (1, 2):
            message = encode_long_tail(found(PLACES, [0.9, 0.8], stamp=10**9), "base_link")
            bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, log_time)
    pairs = BagPairs(path, truth_bag)
    assert len(list(pairs)) == 1
    assert pairs.answered == 1
    assert sum("comes twice" in fault.line or "come twice" in fault.line for fault in pairs.faults) == 2


@pytest.mark.parametrize("share", [0.4, 0.6])
@pytest.mark.parametrize("which", ["detections", "truth"])
def test_bags_that_break_off_are_told(tmp_path, truth, found, which, share):
    paths = {"truth": shifted_bag(tmp_path, truth, "truth.mcap", [0] * 60), "detections": tmp_path / "found.mcap"}
    with BagSink(paths["detections"], compress=False) as bag:
        for second in range(1, 61):
            message = encode_long_tail(found(PLACES, [0.9, 0.8], stamp=second * 10**9), "base_link")
            bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, second)
            bag.flush()
    content = paths[which].read_bytes()
    paths[which].write_bytes(content[: int(len(content) * share)])
    pairs = BagPairs(paths["detections"], paths["truth"])
    list(pairs)
    assert [fault.place for fault in pairs.incomplete] == [str(paths[which])]


def test_a_topic_of_two_types_is_read_by_type(tmp_path, truth, found):
    """A recording into which two detectors wrote, one of them the common message only."""
    truth_bag = shifted_bag(tmp_path, truth, "truth.mcap", [0, 0, 0])
    kinds = [topics.LONG_TAIL_TYPE, topics.DETECTION_3D_TYPE, topics.TF_TYPE]
    encoders = [encode_long_tail, encode_detection3d, lambda *_: serialize(encode_transforms([]), topics.TF_TYPE)]
    parts = [fmt.MAGIC, fmt.pack_record(fmt.HEADER, fmt.pack_text("ros2"), fmt.pack_text("x"))]
    for number, (kind, encode) in enumerate(zip(kinds, encoders, strict=True), start=1):
        parts.append(fmt.pack_schema(fmt.Schema(number, kind, "ros2msg", b"")))
        parts.append(fmt.pack_channel(fmt.Channel(number, number, topics.LONG_TAIL, "cdr", {})))
        message = encode(found(PLACES, [0.9, 0.8], stamp=number * 10**9), "base_link")
        head = fmt.MESSAGE_HEAD.pack(number, 0, number, number)
        parts.append(fmt.pack_record(fmt.MESSAGE, head, message))
    path = tmp_path / "detections.mcap"
    path.write_bytes(b"".join([*parts, fmt.pack_record(fmt.DATA_END, bytes(4))]))
    pairs = BagPairs(path, truth_bag)
    list(pairs)
    assert (pairs.answered, pairs.unanswered, dict(pairs.rejected)) == (2, 1, {"type": 1})
    assert topics.TF_TYPE in lines(pairs.faults, "type")[0]


def test_an_empty_topic_does_not_hide_the_other_one(tmp_path, truth_bag, write_detections):
    detections = write_detections([second * 10**9 for second in range(1, 5)], plain=True)
    declared = tmp_path / "declared.mcap"
    with BagSink(declared) as sink, BagSource(detections) as source:
        sink._add_topic(topics.LONG_TAIL, topics.LONG_TAIL_TYPE)
        for entry in source.messages():
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
    pairs = BagPairs(declared, truth_bag)
    list(pairs)
    assert pairs.answered == 4


def test_truth_in_place_of_detections_is_told(tmp_path, truth, truth_bag):
    path = tmp_path / "copy.mcap"
    with BagSink(path) as bag:
        message = encode_labels(truth(PLACES), 10**9, "base_link")
        bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, 1)
    pairs = BagPairs(path, truth_bag)
    list(pairs)
    assert "ground truth itself" in lines(pairs.faults, "own_truth")[0]


def test_the_keys_of_the_data_set_come_with_the_truth(tmp_path, truth, truth_bag, write_detections):
    keyed = tmp_path / "keyed.mcap"
    with BagSink(keyed) as sink, BagSource(truth_bag) as source:
        for index, entry in enumerate(source.messages()):
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
            sample = encode_sample(
                SampleInfo("nuScenes", "scene-0061", f"token-{index}" if index < 3 else ""), entry.stamp, "base_link"
            )
            sink.write(topics.TRUTH_SAMPLE, topics.SAMPLE_TYPE, sample, entry.stamp)
    pairs = BagPairs(write_detections([10**9]), keyed)
    list(pairs)
    assert pairs.sample_tokens == {second * 10**9: f"token-{second - 1}" for second in (1, 2, 3)}
    assert not pairs.rejected

"""Live messages: frames meet the detector's answers as they come, over real DDS."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.frame import SampleInfo
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_long_tail, encode_sample
from semlt3d_ros.messages.typestore import deserialize
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.port import LATCHED, RELIABLE
from semlt3d_ros.sensing.rig import rig_from_topics
from semlt3d_ros.viewing.live import LiveFrames, view_live

PERIOD_NS = 700_000_000


@pytest.fixture
def entries(drive_bag):
    with BagSource(drive_bag) as source:
        return list(source.messages())


@pytest.fixture
def rig(entries):
    return rig_from_topics({entry.topic: entry.type_name for entry in entries})


@pytest.fixture
def answer(detections):
    def make(stamp):
        encoded = encode_long_tail(replace(detections, stamp=stamp), "base_link")
        return topics.LONG_TAIL, topics.LONG_TAIL_TYPE, deserialize(encoded, topics.LONG_TAIL_TYPE)

    return make


def play(live, entries):
    return [shown for e in entries for shown in live.add(e.topic, e.type_name, e.message())]


def test_a_frame_is_shown_when_its_answer_is_there(entries, rig, frame, answer):
    live = LiveFrames(rig)
    assert set(live.topics) == {entry.topic for entry in entries} | {topics.LONG_TAIL, topics.TRUTH_SAMPLE}
    assert play(live, entries) == []
    (shown,) = live.add(*answer(frame.stamp))
    assert shown[0].stamp == shown[1].stamp == frame.stamp
    assert len(shown[2].boxes) == 3
    # An answer to the third frame means that the second has none.
    later = live.add(*answer(frame.stamp + 2 * PERIOD_NS))
    assert [(f.stamp - frame.stamp, d is not None) for f, d, _ in later] == [(PERIOD_NS, False), (2 * PERIOD_NS, True)]


def test_what_is_labelled_is_known(entries, rig, frame, answer):
    live = LiveFrames(rig)
    sample = encode_sample(SampleInfo("own", "s", region=LabelledRegion(range_m=30.0)), frame.stamp, "base_link")
    broken = encode_sample(SampleInfo("own", "s", region=LabelledRegion(range_m=-1.0)), frame.stamp, "base_link")
    for message in (sample, broken):
        assert live.add(topics.TRUTH_SAMPLE, topics.SAMPLE_TYPE, message) == []
    play(live, entries)
    (shown,) = live.add(*answer(frame.stamp))
    assert shown[0].region.range_m == 30.0 and live.rejected == {"sample": 1}


def test_an_answer_before_its_frame_waits_for_it(entries, rig, frame, answer):
    live = LiveFrames(rig)
    assert live.add(*answer(frame.stamp)) == []
    shown = play(live, entries)
    assert [(f.stamp, d is not None) for f, d, _ in shown] == [(frame.stamp, True)]


def test_without_a_detector_frames_do_not_pile_up(write_drive, rig, frame):
    with BagSource(write_drive(24)) as source:
        shown = play(LiveFrames(rig), source.messages())
    # Twenty may wait for their answers; the assembler itself holds the last one or two.
    assert [f.stamp - frame.stamp for f, _, _ in shown] == [index * PERIOD_NS for index in range(len(shown))]
    assert len(shown) >= 2
    assert all(d is None and len(labels.boxes) == 3 for _, d, labels in shown)


SECOND = 1_000_000_000


def test_a_wait_for_an_answer_ends(write_drive, rig, frame, answer):
    live = LiveFrames(rig)
    with BagSource(write_drive(4)) as source:
        assert play(live, source.messages()) == []
    assert live.poll(0) == live.poll(2 * SECOND) == []
    shown = live.poll(4 * SECOND)
    assert [(f.stamp - frame.stamp, d) for f, d, _ in shown] == [
        (index * PERIOD_NS, None) for index in range(len(shown))
    ]
    # What the builder still held came out with the first look after the stream had stalled.
    assert len(shown) + len(live.poll(8 * SECOND)) + len(live.poll(12 * SECOND)) == 4


def test_nobody_waits_where_there_is_no_detector(write_drive, rig, frame):
    live, shown = LiveFrames(rig), []
    with BagSource(write_drive(5)) as source:
        for number, entry in enumerate(source.messages()):
            shown += live.add(entry.topic, entry.type_name, entry.message())
            shown += live.poll(number * SECOND // 100, detector=False)
    assert [f.stamp - frame.stamp for f, _, _ in shown[:3]] == [0, PERIOD_NS, 2 * PERIOD_NS]
    shown += live.flush()
    assert [f.stamp - frame.stamp for f, _, _ in shown] == [index * PERIOD_NS for index in range(5)]


def test_what_waits_at_the_end_is_shown(entries, rig, frame, answer):
    live = LiveFrames(rig)
    assert play(live, entries) == []
    _, type_name, message = answer(frame.stamp)
    assert len(live.add(topics.LONG_TAIL, type_name, message)) == 1
    assert [(f.stamp - frame.stamp, d) for f, d, _ in live.flush()] == [(PERIOD_NS, None), (2 * PERIOD_NS, None)]


def test_what_was_wrong_is_told(entries, rig):
    live = LiveFrames(rig)
    for entry in entries:
        message = entry.message()
        if entry.topic == topics.POINTS:
            message.fields = message.fields[:2]
        elif entry.topic == topics.TRUTH_LONG_TAIL:
            message.detections[0].class_name = "tank"
        elif entry.topic == topics.camera_image_topic("CAM_BACK"):
            continue
        live.add(entry.topic, entry.type_name, message)
    assert len(live.flush()) == 3
    told = {fault.place: fault for fault in live.all_faults}
    assert set(told) >= {topics.POINTS, topics.TRUTH_LONG_TAIL, topics.camera_image_topic("CAM_BACK")}
    assert (told[topics.POINTS].count, told[topics.TRUTH_LONG_TAIL].count) == (3, 3)


def test_a_replay_that_starts_over_is_answered_anew(entries, rig, frame, answer):
    live = LiveFrames(rig)
    play(live, entries)
    live.add(*answer(frame.stamp + 2 * PERIOD_NS))
    live.add(*answer(frame.stamp + 2 * PERIOD_NS))  # a left-over of the first round
    again = play(live, entries) + live.add(*answer(frame.stamp))
    assert [(f.stamp, d is not None) for f, d, _ in again] == [(frame.stamp, True)]


def test_a_message_that_is_no_answer_is_counted(rig, frame, answer):
    live = LiveFrames(rig)
    topic, type_name, message = answer(frame.stamp)
    message.detections[0].class_confidences = message.detections[0].class_confidences[:3]
    assert live.add(topic, type_name, message) == []
    assert sum(live.drops.values()) == 1
    (fault,) = live.faults
    assert (fault.place, fault.reason) == (topic, "class_confidences")


def test_view_live_over_dds(entries, rig, frame, answer, tmp_path, logged, capsys):
    """The messages of a drive and the answers to it, published and shown in one process, until all frames are there."""
    middleware = DdsMiddleware("test_view_live", domain_id=100 + os.getpid() % 100)
    types = {entry.topic: entry.type_name for entry in entries} | {topics.LONG_TAIL: topics.LONG_TAIL_TYPE}
    publishers = {
        topic: middleware.create_publisher(topic, kind, LATCHED if topic == topics.TF_STATIC else RELIABLE)
        for topic, kind in types.items()
    }
    received: Counter[str] = Counter()

    def subscribe(topic, type_name, callback):
        def counted(message, stamp):
            received[topic] += 1
            callback(message, stamp)

        qos = LATCHED if topic == topics.TF_STATIC else RELIABLE
        middleware.create_subscription(topic, type_name, counted, qos)

    def spin(until):
        assert middleware.spin(lambda: all(publisher.matched for publisher in publishers.values()), timeout_s=30)
        for entry in entries:
            publishers[entry.topic].publish(bytes(entry.data))
        for index in range(3):
            publishers[topics.LONG_TAIL].publish(answer(frame.stamp + index * PERIOD_NS)[2])
        total = len(entries) + 3
        assert middleware.spin(lambda: received.total() == total or until(), timeout_s=30)

    path = tmp_path / "live.rrd"
    try:
        assert view_live(subscribe, spin, rig, save=path, open_browser=False) == 3
    finally:
        middleware.shutdown()
    assert "viewer: http://127.0.0.1:" in capsys.readouterr().out
    assert [row["Boxes3D:labels"][0] for row in logged(path)["/world/ego/detections"]] == ["car 0.90"] * 3

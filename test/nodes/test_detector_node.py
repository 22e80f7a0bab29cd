"""The detector node, message by message, on a middleware without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_detection3d, decode_long_tail
from semlt3d_ros.messages.encode import encode_image
from semlt3d_ros.nodes.lockstep import PROGRESS

LiveNode = Callable[..., Any]


def test_every_set_is_answered_on_all_topics(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages())
    for index in range(3):
        node.feed(recording.set_messages(index))
    assert node.answers == [recording.stamp_of_set(index) for index in range(3)]
    published = node.middleware.published
    for long_tail, boxes, markers in zip(
        published[topics.LONG_TAIL], published[topics.DETECTIONS], published[topics.MARKERS], strict=True
    ):
        assert long_tail.header == boxes.header
        assert long_tail.header.frame_id == "base_link"
        detections = decode_long_tail(long_tail)
        assert detections.cameras == recording.cameras
        assert detections.model_version == "fake@0"
        np.testing.assert_allclose(decode_detection3d(boxes).boxes.centers, detections.boxes.centers)
        assert len(markers.markers) > 1


def test_report_counts_sets_and_times_every_stage(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    assert node.report()["latency"]["latency_ms.p50"] == "n/a"
    node.feed(recording.static_messages())
    for index in range(4):
        node.feed(recording.set_messages(index))
    report = node.report()
    assert (report["sets"]["sets_in"], report["sets"]["sets_processed"]) == ("4", "4")
    assert report["sets"]["level"] == "0"
    # The test's clock runs 0.5 ms from receiving to handling, and stands still otherwise.
    assert float(report["latency"]["latency_ms.p99"]) == 0.5
    assert float(report["latency"]["receive_ms.p50"]) == 0.5
    for stage in ("prepare", "wait", "publish"):
        assert float(report["latency"][f"{stage}_ms.p99"]) == 0.0
    assert float(report["latency"]["forward_ms.p50"]) > 0
    assert report["model"]["version"] == "fake@0"
    assert report["camera CAM_FRONT"]["state"] == "ok"
    assert report["camera CAM_FRONT"]["images"] == "4"


def test_rate_is_that_since_the_last_report(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages())
    node.report()
    begin = node.middleware.clock
    for index in range(5):
        node.feed(recording.set_messages(index))
    node.middleware.clock = begin + 500_000_000
    assert node.report()["sets"]["rate_hz"] == "10.00"
    node.middleware.clock += 1_000_000_000
    assert node.report()["sets"]["rate_hz"] == "0.00"


def test_newest_set_wins_while_the_detector_is_busy(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.middleware.followers = 0
    with node.held() as started:
        node.middleware.feed(recording.static_messages() + recording.set_messages(0))
        assert started.wait(60)
        for index in range(1, 5):
            node.middleware.feed(recording.set_messages(index))
        assert node.report()["sets"]["sets_processed"] == "0"
    node.middleware.run(2)
    assert node.answers == [recording.stamp_of_set(0), recording.stamp_of_set(4)]
    sets = node.report()["sets"]
    assert (sets["sets_in"], sets["sets_processed"], sets["drops.superseded"]) == ("5", "2", "3")


def test_a_failing_detector_costs_one_set(
    live_node: LiveNode, recording: Any, caplog: pytest.LogCaptureFixture
) -> None:
    node = live_node()
    detect = node.detector.detect

    def fail_once(frame: Any) -> Any:
        node.detector.detect = detect
        raise FloatingPointError("by design")

    node.detector.detect = fail_once
    node.feed(recording.static_messages() + recording.set_messages(0) + recording.set_messages(1))
    assert node.answers == [recording.stamp_of_set(1)]
    sets = node.report()["sets"]
    assert (sets["sets_in"], sets["sets_processed"], sets["drops.inference_error"]) == ("2", "1", "1")
    assert "by design" in caplog.text


def damaged_jpeg(recording: Any) -> list:
    message = recording.image_message("CAM_BACK", 1)
    message[2].data = np.concatenate([message[2].data[:40], np.zeros(60, np.uint8)])
    return [message]


def other_bytes(recording: Any) -> list:
    topic, kind, _, stamp = recording.image_message("CAM_BACK", 1)
    return [(topic, kind, b"\x00\x01\x00\x00garbage", stamp)]


def no_jpeg(recording: Any) -> list:
    message = recording.image_message("CAM_BACK", 1)
    message[2].data = np.frombuffer(b"this is not an image", np.uint8)
    return [message]


def bad_transform(recording: Any) -> list:
    message = recording.pose_message(recording.stamp_of_set(1))
    message[2].transforms[0].transform.rotation.w = float("nan")
    return [message]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (damaged_jpeg, "corrupt_jpeg"),
        (no_jpeg, "encoding"),
        (other_bytes, "corrupt_message"),
        (bad_transform, ""),
    ],
)
def test_bad_messages_are_counted_and_the_node_goes_on(
    live_node: LiveNode, recording: Any, bad: Callable[[Any], list], reason: str
) -> None:
    node = live_node(min_cameras=1)
    node.feed(recording.static_messages() + recording.set_messages(0))
    node.feed(bad(recording))
    for index in range(2, 6):
        node.feed(recording.set_messages(index))
    assert node.answers == [recording.stamp_of_set(index) for index in (0, 2, 3, 4, 5)]
    messages = node.report()["messages"]
    counted = {key for key, value in messages.items() if key.startswith("drops.") and int(value)}
    assert any(key.startswith(f"drops.{reason}") for key in counted), messages
    assert messages["level"] == "1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": np.zeros(9), "p": np.zeros(12)}, "no calibration"),
        ({"k": np.full(9, np.nan)}, "is not an intrinsic matrix"),
        ({"distortion_model": "magic"}, "'magic' is not supported"),
        ({"width": 0}, "is not positive"),
    ],
)
def test_a_camera_with_an_impossible_calibration_says_so(
    live_node: LiveNode, recording: Any, change: dict, words: str
) -> None:
    node = live_node(min_cameras=1)
    transforms, front, back = recording.static_messages()
    for name, value in change.items():
        setattr(back[2], name, value)
    node.feed([transforms, front, back])
    for index in range(6):
        node.feed(recording.set_messages(index))
    report = node.report()["camera CAM_BACK"]
    assert (report["state"], report["level"]) == ("rejected", "2")
    assert words in report["message"]
    assert node.answers[0] == recording.stamp_of_set(0)
    node.feed(recording.static_messages() + recording.set_messages(6) + recording.set_messages(7))
    assert node.report()["camera CAM_BACK"]["state"] == "ok"
    assert decode_long_tail(node.middleware.published[topics.LONG_TAIL][-1]).missing == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "yuv444"}, "encoding"),
        ({"step": 10}, "image_size"),
        ({"height": 4000}, "image_size"),
        ({"data": np.zeros(5, np.uint8)}, "image_size"),
    ],
)
def test_bad_raw_images_cost_one_image(live_node: LiveNode, recording: Any, change: dict, reason: str) -> None:
    def images(index: int) -> list:
        stamp = recording.stamp_of_set(index)
        made = [recording.pose_message(stamp)]
        for name in recording.cameras:
            image = encode_image(np.full((48, 64, 3), index, np.uint8), stamp, name)
            made.append((topics.camera_image_topic(name, False), topics.IMAGE_TYPE, image, stamp))
        return made

    node = live_node(compressed=False, min_cameras=1)
    node.feed(recording.static_messages() + images(0))
    broken = images(1)
    for name, value in change.items():
        setattr(broken[-1][2], name, value)
    node.feed(broken)
    assert node.report()["camera CAM_BACK"]["state"] == "rejected"
    assert node.report()["camera CAM_BACK"]["level"] == "2"
    for index in range(2, 5):
        node.feed(images(index))
    assert node.answers == [recording.stamp_of_set(index) for index in range(5)]
    report = node.report()
    assert any(key.startswith(f"drops.{reason}") for key in report["messages"])
    assert report["camera CAM_BACK"]["state"] == "ok"
    assert decode_long_tail(node.middleware.published[topics.LONG_TAIL][1]).missing == ("CAM_BACK",)


def test_without_camera_info_the_camera_says_what_it_lacks(live_node: LiveNode, recording: Any) -> None:
    node = live_node(min_cameras=1)
    node.feed(recording.static_messages()[:2])  # tf and the front camera's
    for index in range(6):
        node.feed(recording.set_messages(index))
    report = node.report()
    assert report["camera CAM_BACK"]["state"] == "waiting_camera_info"
    assert topics.camera_info_topic("CAM_BACK") in report["camera CAM_BACK"]["message"]
    assert report["messages"]["drops.no_camera_info"] == "5"
    assert node.answers
    node.feed(recording.static_messages()[2:])
    node.feed(recording.set_messages(6) + recording.set_messages(7))
    assert node.report()["camera CAM_BACK"]["state"] == "ok"
    assert decode_long_tail(node.middleware.published[topics.LONG_TAIL][-1]).missing == ()


def test_without_tf_sets_are_dropped_and_come_back_with_it(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages()[1:])
    for index in range(12):
        node.feed(recording.set_messages(index))
    assert node.answers == []
    sets = node.report()["sets"]
    assert int(sets["drops.no_transform"]) > 0
    assert sets["level"] == "1"
    assert node.report()["camera CAM_FRONT"]["state"] == "waiting_tf"
    node.feed(recording.static_messages()[:1])
    for index in range(12, 15):
        node.feed(recording.set_messages(index))
    assert node.answers[-1] == recording.stamp_of_set(14)
    sets = node.report()["sets"]
    assert int(sets["sets_in"]) == int(sets["sets_processed"]) + int(sets["drops.no_transform"])


@pytest.mark.parametrize(("back_to", "kind"), [(0, "time_jump"), (100, "gap")])
def test_time_jumps_make_the_detector_forget(live_node: LiveNode, recording: Any, back_to: int, kind: str) -> None:
    node = live_node()
    node.feed(recording.static_messages())
    for index in range(20, 24):
        node.feed(recording.set_messages(index))
    assert node.detector.frames == 4
    for index in range(back_to, back_to + 3):
        node.feed(recording.set_messages(index))
    assert node.answers[4:] == [recording.stamp_of_set(index) for index in range(back_to, back_to + 3)]
    assert (node.detector.frames, node.detector.resets) == (3, 1)
    assert node.report()["messages"][f"resets.{kind}"] == "1"


def test_a_camera_that_stops_and_returns(live_node: LiveNode, recording: Any) -> None:
    node = live_node(min_cameras=1)
    node.feed(recording.static_messages())
    for index in range(40):
        pose, front, back = recording.set_messages(index)
        node.feed([pose, front] if 10 <= index < 30 else [pose, front, back])
        if index == 25:
            report = node.report()["camera CAM_BACK"]
            assert (report["state"], report["level"]) == ("stopped", "2")
    assert node.answers == [recording.stamp_of_set(index) for index in range(40)]
    missing = [decode_long_tail(message).missing for message in node.middleware.published[topics.LONG_TAIL]]
    assert missing == [("CAM_BACK",) if 10 <= index < 30 else () for index in range(40)]
    assert node.report()["camera CAM_BACK"]["state"] == "ok"


def test_the_last_incomplete_set_is_used_when_the_stream_stalls(live_node: LiveNode, recording: Any) -> None:
    node = live_node(min_cameras=1)
    node.feed(recording.static_messages() + recording.set_messages(0) + recording.set_messages(1)[:2])
    assert node.answers == [recording.stamp_of_set(0)]
    node.stall(2.0)
    assert node.answers == [recording.stamp_of_set(0), recording.stamp_of_set(1)]
    assert node.report()["camera CAM_BACK"]["state"] == "stopped"


def test_in_lockstep_time_stands_still_between_messages(live_node: LiveNode, recording: Any) -> None:
    node = live_node(min_cameras=1)
    node.feed(recording.static_messages() + recording.set_messages(0) + recording.set_messages(1)[:2])
    for _ in range(3):
        node.middleware.clock += 5_000_000_000
        node.middleware.poll()
    assert node.answers == [recording.stamp_of_set(0)]
    node.feed(recording.set_messages(1)[2:])
    assert node.answers == [recording.stamp_of_set(0), recording.stamp_of_set(1)]
    assert decode_long_tail(node.middleware.published[topics.LONG_TAIL][-1]).missing == ()


def test_in_lockstep_two_sets_of_one_message_are_both_answered(live_node: LiveNode, recording: Any) -> None:
    node = live_node(min_cameras=1)
    node.feed(recording.static_messages() + recording.set_messages(0)[:2] + recording.set_messages(1))
    assert node.answers == [recording.stamp_of_set(0), recording.stamp_of_set(1)]
    assert node.report()["sets"]["sets_processed"] == "2"


def test_progress_waits_for_the_set_under_way(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    progress = node.middleware.published[PROGRESS]
    node.middleware.feed(recording.static_messages())
    assert len(progress) == 1 + 3
    node.middleware.feed(recording.set_messages(0))
    assert len(progress) == 1 + 3 + 2  # the last image started the detector
    node.middleware.run(1)
    assert len(progress) == 1 + 3 + 3
    counts = {value.key: value.value for value in progress[-1].values}
    assert set(counts.values()) == {"1"}
    assert topics.camera_image_topic("CAM_BACK") in counts


def test_qos_follows_the_parameters(live_node: LiveNode) -> None:
    node = live_node(image_reliability="best_effort", image_depth=7)
    image = node.middleware.subscriptions[topics.camera_image_topic("CAM_FRONT")].qos
    assert (image.reliable, image.depth) == (False, 7)
    assert node.middleware.subscriptions[topics.TF_STATIC].qos.transient_local
    assert node.middleware.subscriptions[topics.TF].qos.reliable


def test_cameras_without_calibration_have_not_stopped(live_node: LiveNode, recording: Any) -> None:
    node = live_node(camera_timeout_s=1.0)
    node.middleware.followers = 0  # as live, where the stream is watched by the clock
    for index in range(15):
        node.feed(recording.set_messages(index)[1:])
        node.middleware.clock += 100_000_000
        node.middleware.poll()
    assert node.report()["camera CAM_FRONT"]["state"] == "waiting_camera_info"
    node.stall(3.0)
    assert node.report()["camera CAM_FRONT"]["state"] == "stopped"

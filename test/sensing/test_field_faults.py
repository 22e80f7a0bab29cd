"""What the field does to cameras and transforms is put right, or told by topic with numbers, and never called ok."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import StampedTransform
from semlt3d_ros.messages.typestore import message_class
from semlt3d_ros.sensing.assembler import AssemblerConfig
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.preparation import ImageSpec
from semlt3d_ros.sensing.rig import CameraConfig, Rig

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_700_000_000 * SECOND
PERIOD = 100 * MS
SPEC = ImageSpec(32, 20)


def test_good_input_tells_nothing(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC, with_points=True)
    messages = [m for i in range(40) for m in (*drive.round(i), drive.cloud(START + i * PERIOD))]
    assert len(feed(builder, [*drive.ready(), *messages]) + builder.flush()) == 40
    assert not list(builder.faults) and {status.state for status in builder.camera_status.values()} == {"ok"}


# Rectified images


def test_rectified_images_sit_in_the_turned_frame(drive, feed):
    rig = replace(drive.rig, cameras=(replace(drive.rig.cameras[0], rectified=True), *drive.rig.cameras[1:]))
    builder = FrameBuilder(rig, SPEC)
    c, s = np.cos(0.1), np.sin(0.1)
    R = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    infos = drive.infos()
    for _, _, info in infos:
        info.r = R.reshape(-1)
        info.p = np.hstack([drive.camera.K, [[-5.0], [0], [0]]]).reshape(-1)
    (frame,) = feed(builder, [drive.static(), *infos, *drive.round(0)])
    # The centre lies 5 / 50 = 0.1 m to the right, of the turned camera.
    turned = rigid.transform(R.T @ (0.1, 0.0, 0.0), R.T)
    np.testing.assert_allclose(frame.views[0].T_ego_camera, drive.T_base_camera @ turned, atol=1e-12)
    assert np.array_equal(frame.views[1].T_ego_camera, frame.views[2].T_ego_camera)
    np.testing.assert_allclose(frame.views[1].T_ego_camera, drive.T_base_camera, atol=1e-12)
    assert [fault.harmless for fault in drive.told(builder, "stereo_shift")] == [True]


def test_a_window_that_changes_while_running_takes_effect(drive, feed):
    builder = FrameBuilder(drive.rig)
    full = drive.camera.cropped(0, 0, 128, 96)
    region = message_class("sensor_msgs/msg/RegionOfInterest")
    centres = []
    for index, (left, top) in enumerate([(0, 0), (20, 10), (64, 48)]):
        infos = [drive.info(name, full) for name in drive.names]
        for _, _, info in infos:
            info.roi = region(x_offset=left, y_offset=top, width=64, height=48, do_rectify=False)
        (frame,) = feed(builder, [drive.static(), *infos, *drive.round(index)])
        centres.append(tuple(frame.views[1].camera.K[:2, 2]))
    assert centres == [(31.5, 23.5), (11.5, 13.5), (-32.5, -24.5)]


# Stamps


@pytest.mark.parametrize("stamp", [0, START])
def test_stamps_of_all_cameras_that_do_not_advance_are_rejected(drive, feed, stamp):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, drive.ready())
    for index in range(12):
        feed(builder, [drive.tf(START + index * PERIOD)])
        feed(builder, [drive.image(name, stamp, 60 + 10 * index) for name in drive.names])
    for name, status in builder.camera_status.items():
        assert (status.state, status.reason) == ("rejected", "stamp")
        assert topics.camera_image_topic(name) in status.detail and "driver must fill" in status.detail
    assert [(fault.place, fault.count) for fault in drive.told(builder, "stamp")] == [
        (topics.camera_image_topic(name), 11) for name in drive.names
    ]
    assert not builder.resets


def test_zero_is_no_stamp_even_of_one_picture(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, [*drive.ready(), *[m for _ in range(3) for m in drive.images(0)]])
    assert {status.reason for status in builder.camera_status.values()} == {"stamp"}
    assert builder.completeness.fruitless == 0


def test_one_camera_whose_stamps_do_not_advance_is_named_and_the_others_go_on(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    frames = feed(builder, drive.ready())
    for index in range(10):
        tf, a, _, c = drive.round(index)
        frames += feed(builder, [tf, a, drive.image("B", START, 60 + index * 10), c])
    frames += builder.flush()
    assert [frame.missing for frame in frames] == [(), *[("B",)] * 9]
    states = {name: status.state for name, status in builder.camera_status.items()}
    assert states == {"A": "ok", "B": "rejected", "C": "ok"}
    # Once its stamps advance, it is as good as the others.
    assert feed(builder, drive.round(10))[0].missing == ()
    assert builder.camera_status["B"].state == "ok"


def test_stamps_of_clouds_and_transforms_that_do_not_advance_are_told(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC, with_points=True)
    feed(builder, drive.ready())
    for index in range(6):
        topic, kind, cloud = drive.cloud(0)
        cloud.data = np.roll(cloud.data, index)
        link = StampedTransform("odom", "base_link", 0, rigid.planar(index, 0.0, 0.0))
        fixed = StampedTransform("base_link", "imu", 0, np.eye(4))
        feed(builder, [(topic, kind, cloud), (topics.TF, topics.TF_TYPE, encode.encode_transforms([link, fixed]))])
    told = {fault.place: fault for fault in drive.told(builder, "stamp")}
    assert set(told) == {topics.POINTS, "/tf odom -> base_link", "/tf base_link -> imu"}
    assert "publisher must fill" in told[topics.POINTS].text and "/tf_static" in told["/tf base_link -> imu"].text


# A new start


@pytest.mark.parametrize("names", [("A",), ("A", "B", "C")])
@pytest.mark.parametrize("sets", [1, 2, 4, 9])
@pytest.mark.parametrize("fixed", ["odom", None])
def test_every_pass_of_a_short_bag_is_answered(drive, feed, names, sets, fixed):
    drive.names = names
    builder = FrameBuilder(replace(drive.rig, fixed_frame=fixed), SPEC, with_points=True)
    bag = [*drive.ready(), *[m for i in range(sets) for m in (drive.cloud(START + i * PERIOD), *drive.round(i))]]
    frames = feed(builder, bag * 4) + builder.flush()
    assert [frame.stamp for frame in frames] == [START + i * PERIOD for _ in range(4) for i in range(sets)]
    assert [builder.reset_before(frame) for frame in frames[:: max(sets, 1)]].count("time_jump") >= 3
    assert builder.resets == {"time_jump": 3} and not builder.drops and not list(builder.faults)
    assert all(len(frame.points.xyz) == 2 for frame in frames)
    for frame, first in zip(frames, frames[:sets] * 4, strict=True):
        assert np.array_equal(frame.views[0].T_ego_camera, first.views[0].T_ego_camera)
        assert np.array_equal(frame.views[0].image, first.views[0].image)


def test_a_clock_that_goes_back_is_a_new_start(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    bag = [m for i in range(3) for m in drive.round(i)]
    frames = feed(builder, [*drive.ready(), *bag])
    assert builder.restart() == []
    frames += feed(builder, bag)
    assert [frame.stamp for frame in frames] == [START + i * PERIOD for i in (0, 1, 2, 0, 1, 2)]
    assert builder.reset_before(frames[3]) == "time_jump" and not builder.drops


# Images that go into no set


@pytest.mark.parametrize(
    ("shift", "reason", "words"),
    [(-500 * MS, "late", "raise deadline_s"), (50 * MS, "incomplete", "time_offset_s")],
)
def test_a_camera_whose_images_go_into_no_set_is_not_ok(drive, feed, shift, reason, words):
    builder = FrameBuilder(drive.rig, SPEC, AssemblerConfig(tolerance_s=0.03))
    feed(builder, drive.ready())
    for index in range(40):
        stamp = START + index * PERIOD
        feed(
            builder,
            [drive.tf(stamp), drive.image("C", stamp + shift), drive.image("A", stamp), drive.image("B", stamp)],
        )
    status = builder.camera_status["C"]
    assert (status.state, status.reason) == ("unused", reason)
    assert topics.camera_image_topic("C") in status.detail and words in status.detail
    (fault,) = drive.told(builder, reason)
    assert fault.place == topics.camera_image_topic("C") and fault.count >= 20 and fault.line == status.detail
    assert builder.camera_status["A"].state == "ok"


def test_a_camera_that_is_much_faster_than_the_anchor_is_none_of_it(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, drive.ready())
    for index in range(200):
        stamp = START + index * 20 * MS
        feed(builder, [drive.tf(stamp), *(drive.images(stamp) if index % 50 == 0 else [drive.image("C", stamp)])])
        assert builder.camera_status["C"].state == "ok"
    assert builder.frames_out == 4


def test_images_without_a_set_are_counted_until_one_comes(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, drive.ready())
    for _ in range(10):
        feed(builder, drive.images(0))
    assert builder.completeness.fruitless == 27
    feed(builder, drive.round(0))
    feed(builder, drive.round(1))
    assert builder.completeness.fruitless == 0


def test_what_only_the_end_of_a_recording_shows_is_told(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, [drive.static(), drive.info("A"), *[drive.image(n, START) for n in "AB"]])
    builder.flush()
    places = {(fault.place, fault.reason) for fault in builder.faults}
    assert (topics.camera_image_topic("C"), "never_seen") in places
    assert (topics.camera_info_topic("B"), "no_camera_info") in places
    assert (topics.camera_image_topic("A"), "incomplete") in places


# Images without a picture


@pytest.mark.parametrize(
    ("shade", "contrast", "reason", "words"),
    [
        (128, 0, "constant", "one colour"),
        (0, 0, "dark", "nearly black"),
        (7, 5, "dark", "between 2 and 1"),
        (250, 5, "bright", "nearly white"),
    ],
)
def test_images_without_a_picture_are_told_after_a_while(drive, feed, shade, contrast, reason, words):
    builder = FrameBuilder(drive.rig, SPEC)
    frames, states = feed(builder, drive.ready()), []
    for index in range(40):
        tf, a, _, c = drive.round(index)
        poor = index >= 10
        b = drive.image("B", START + index * PERIOD, *((shade, contrast) if poor else ()))
        frames += feed(builder, [tf, a, b, c])
        states.append(builder.camera_status["B"].state)
    assert len(frames) == 40 and not any(frame.missing for frame in frames)
    assert states[:29] == ["ok"] * 29 and states[-10:] == ["no_picture"] * 10
    status = builder.camera_status["B"]
    assert status.reason == reason and topics.camera_image_topic("B") in status.detail and words in status.detail
    ((fault),) = drive.told(builder, reason)
    assert fault.line == status.detail and fault.count == 30 and not fault.harmless
    feed(builder, drive.round(40))
    assert builder.camera_status["B"].state == "ok"


def test_a_short_recording_without_pictures_tells_so_at_its_end(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, drive.ready())
    feed(builder, [m for i in range(4) for m in [drive.tf(START + i * PERIOD), *drive.images(START + i * PERIOD)]])
    black = [drive.image("B", START + i * PERIOD, 0, 0) for i in range(4, 8)]
    assert not list(builder.faults)
    feed(builder, black)
    builder.flush()
    assert not drive.told(builder, "dark")
    empty = FrameBuilder(drive.rig, SPEC)
    feed(empty, [*drive.ready(), drive.image("B", START, 0, 0), drive.image("B", START + PERIOD, 0, 0)])
    empty.flush()
    ((fault),) = drive.told(empty, "dark")
    assert fault.place == topics.camera_image_topic("B") and fault.count == 2


def test_night_is_no_missing_picture(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, [*drive.ready(), *[m for i in range(40) for m in [drive.tf(START + i * PERIOD)]]])
    for index in range(40):
        feed(builder, [drive.image(name, START + index * PERIOD, 15, 12) for name in drive.names])
    assert {status.state for status in builder.camera_status.values()} == {"ok"}


@given(bits=st.sampled_from([10, 12, 14]), big_endian=st.booleans())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_samples_that_do_not_fill_their_bits_give_the_same_frames_and_one_note(drive, feed, bits, big_endian):
    names = ("A",)
    rig = Rig((CameraConfig("A", "/a/image", "/a/info", compressed=False),), "A", fixed_frame=None)
    link = encode.encode_transforms([StampedTransform("base_link", "A", 0, drive.T_base_camera)])
    shown = []
    for shift in (bits - 8, 8):
        builder = FrameBuilder(rig, SPEC)
        feed(builder, [(topics.TF_STATIC, topics.TF_TYPE, link), ("/a/info", "", drive.info("A")[2])])
        grey = np.tile(np.linspace(0, 255, 64).astype(np.uint16), (48, 1)) << shift
        frames = []
        for index in range(3):
            raw = encode.encode_image(np.zeros((48, 64, 3), np.uint8), START + index * PERIOD, names[0])
            raw.encoding, raw.step, raw.is_bigendian = "mono16", 128, int(big_endian)
            raw.data = np.frombuffer(grey.astype(">u2" if big_endian else "<u2").tobytes(), np.uint8)
            frames += builder.add("/a/image", topics.IMAGE_TYPE, raw)
        shown.append([frame.views[0].image for frame in frames])
        notes = [(fault.place, fault.count, fault.harmless) for fault in drive.told(builder, "sample_depth")]
        assert notes == ([("/a/image", 1, True)] if shift < 8 else [])
    assert len(shown[0]) == 3 and np.array_equal(shown[0], shown[1])


# Transforms


def test_one_bad_transform_is_named_and_costs_no_other(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    topic, kind, static = drive.static()
    gyro = encode.encode_transforms([StampedTransform("A", "gyro", 0, np.eye(4))]).transforms[0]
    gyro.transform.rotation.w = float("nan")
    empty = encode.encode_transforms([StampedTransform("A", "", 0, np.eye(4))]).transforms[0]
    static.transforms[1:1] = [gyro, empty]
    frames = feed(builder, [(topic, kind, static), *drive.infos(), *drive.round(0)])
    assert [frame.missing for frame in frames] == [()] and builder.drops == {"transform": 2}
    lines = [fault.line for fault in drive.told(builder, "transform")]
    assert lines[0].startswith("/tf_static A -> gyro: transform 'A' -> 'gyro': quaternion")
    assert "a frame has no name" in lines[1]


def test_two_parents_are_told_once_and_cost_nothing(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    frames = feed(builder, drive.ready())
    for index in range(20):
        link = StampedTransform("map", "base_link", START + index * PERIOD, rigid.planar(100.0, index, 0.3))
        frames += feed(builder, [(topics.TF, topics.TF_TYPE, encode.encode_transforms([link])), *drive.round(index)])
    assert [frame.T_world_ego[0, 3] for frame in frames] == pytest.approx([float(i) for i in range(20)])
    ((note),) = drive.told(builder, "two_parents")
    assert note.harmless and note.count == 1 and "'map' and 'odom'" in note.text


def test_a_camera_without_a_transform_is_named_by_its_topic(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, [drive.static(("A", "B")), *drive.infos(), *[m for i in range(20) for m in drive.round(i)]])
    ((fault),) = drive.told(builder, "no_transform")
    assert fault.place == topics.camera_image_topic("C") and "'C' unknown" in fault.text and "/tf_static" in fault.text
    assert builder.camera_status["C"].detail == fault.line


def test_points_that_are_not_there_are_told(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC, with_points=True)
    topic, kind, cloud = drive.cloud(START)
    cloud.data = np.full(len(cloud.data), 255, np.uint8)
    (frame,) = feed(builder, [*drive.ready(), (topic, kind, cloud), *drive.round(0)])
    assert len(frame.points) == 0
    assert [fault.place for fault in drive.told(builder, "cloud_empty")] == [topics.POINTS]

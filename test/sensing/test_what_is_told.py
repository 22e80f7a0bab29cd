"""What is wrong with stamps, clouds, pictures and frames is told in one line, and what is unusual is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import StampedTransform
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.preparation import ImageSpec

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_700_000_000 * SECOND
PERIOD = 100 * MS
SPEC = ImageSpec(32, 20)


# Clouds


@pytest.mark.parametrize("clouds", [1, 5])
def test_clouds_that_no_set_takes_are_told_at_the_end(drive, feed, clouds):
    builder = FrameBuilder(drive.rig, SPEC, with_points=True)
    feed(builder, drive.ready())
    for index in range(10):
        late = [drive.cloud(START + index * PERIOD + SECOND)] if index < clouds else []
        feed(builder, [*drive.round(index), *late])
    builder.flush()
    ((fault),) = drive.told(builder, "points_unmatched")
    assert fault.place == topics.POINTS and fault.count == clouds and "+0.100 s off" in fault.text


def test_clouds_of_which_sets_take_some_are_no_fault(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC, with_points=True)
    feed(builder, drive.ready())
    for index in range(10):
        feed(builder, [*drive.round(index), *[drive.cloud(START + index * PERIOD + k * 25 * MS) for k in range(4)]])
    builder.flush()
    assert not list(builder.faults)


@pytest.mark.parametrize(("scale", "reason"), [(1000.0, "cloud_far"), (0.0, "cloud_empty")])
def test_points_where_nothing_can_be_are_told(drive, feed, scale, reason):
    """Millimetres, a wrong byte order; zeros for what gave no echo."""
    builder = FrameBuilder(drive.rig, SPEC, with_points=True)
    cloud = PointCloud(np.array([[5.0, 0, 0], [0, 4.0, 1.0], [9.0, 9.0, 0]], np.float32) * np.float32(scale))
    message = (topics.POINTS, topics.POINT_CLOUD_TYPE, encode.encode_point_cloud(cloud, START, "lidar"))
    (frame,) = feed(builder, [*drive.ready(), message, *drive.round(0)])
    assert (frame.points is None) == (reason == "cloud_far")
    ((fault),) = list(builder.faults)
    assert (fault.place, fault.reason) == (topics.POINTS, reason)


# What is told once


def test_of_a_calibration_that_is_none_one_line_is_told(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    _, _, nothing = info = drive.info("B")
    nothing.k, nothing.p = np.zeros(9), np.zeros(12)
    feed(builder, [drive.static(), drive.info("A"), info, drive.info("C")])
    feed(builder, [m for i in range(5) for m in (*drive.round(i), info)])
    builder.flush()
    ((fault),) = list(builder.faults)
    assert fault.line == builder.camera_status["B"].detail and fault.reason == "intrinsics"
    assert builder.drops["no_camera_info"] == 5


def test_a_calibration_that_never_comes_is_told_in_one_line(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, [drive.static(), drive.info("A"), drive.info("C"), *[m for i in range(5) for m in drive.round(i)]])
    ((fault),) = list(builder.faults)
    assert fault.line == builder.camera_status["B"].detail and fault.reason == "no_camera_info"


def test_a_wrong_clock_is_told_in_one_line_with_numbers(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, drive.ready())
    for index in range(30):
        tf, a, _, c = drive.round(index)
        feed(builder, [tf, a, drive.image("B", 12 * SECOND + index * PERIOD), c])
    ((fault),) = list(builder.faults)
    status = builder.camera_status["B"]
    assert fault.line == status.detail and (status.state, status.reason) == ("rejected", "clock")
    assert "-1699999988.0 s off" in fault.text


@pytest.mark.parametrize("every", [2, 3])
def test_stamps_that_are_zero_now_and_then_cost_no_other(drive, feed, every):
    builder = FrameBuilder(drive.rig, SPEC)
    frames = feed(builder, drive.ready())
    for index in range(1, 31):
        stamp = START + index * PERIOD
        empty = index % every == 0
        frames += feed(builder, [drive.tf(stamp), *drive.images(0 if empty else stamp)])
    assert len(frames) == 30 - 30 // every and not builder.resets and not builder.dropped_sets
    assert {fault.reason for fault in builder.faults} == {"stamp"}
    assert all("is zero" in fault.text and fault.count == 30 // every for fault in builder.faults)


def test_a_simulation_may_begin_at_zero_again_and_again(drive, feed):
    builder = FrameBuilder(replace(drive.rig, fixed_frame=None), SPEC)
    feed(builder, drive.ready())
    frames = [f for _ in range(3) for i in range(5) for f in feed(builder, drive.images(i * PERIOD))]
    assert len(frames + builder.flush()) == 15 and not list(builder.faults)


def test_transforms_of_another_clock_are_told(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    links = [StampedTransform("odom", "base_link", second * SECOND, np.eye(4)) for second in (9, 10)]
    boot = (topics.TF, topics.TF_TYPE, encode.encode_transforms(links))
    feed(builder, [*drive.ready(), boot, *drive.images(START)])
    builder.flush()
    ((fault),) = drive.told(builder, "transform_too_new")
    assert "1699999990.000 s (another clock) after its newest stamp 10.000 s" in fault.text


# Pictures, and noise in place of one


def _images(drive, name: str, pixels: np.ndarray, index: int):
    message = encode.encode_compressed_image(pixels, START + index * PERIOD, name, quality=98)
    return topics.camera_image_topic(name), topics.COMPRESSED_IMAGE_TYPE, message


@pytest.mark.parametrize("lit", [False, True])
def test_noise_is_no_picture_and_lights_at_night_are_one(drive, feed, lit):
    builder = FrameBuilder(replace(drive.rig, fixed_frame=None))
    large = drive.camera.resized(640, 480)
    feed(builder, [drive.static(), *[drive.info(name, large) for name in drive.names]])
    rng = np.random.default_rng(0)
    for index in range(25):
        night = np.clip(rng.normal(6, 6, (480, 640, 3)), 0, 255).astype(np.uint8)
        if lit:
            night[230:250, 100:120] = night[230:250, 400:420] = 240
        feed(builder, [_images(drive, name, night, index) for name in drive.names])
    assert {status.state for status in builder.camera_status.values()} == {"ok" if lit else "no_picture"}


# Places


def test_two_cameras_in_one_frame_are_told(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, drive.ready())
    for index in range(3):
        messages = drive.round(index)
        messages[2][2].header.frame_id = "C"
        assert [frame.missing for frame in feed(builder, messages)] == [()]
    ((fault),) = list(builder.faults)
    assert (
        fault.place == topics.camera_image_topic("C") and "frame 'C', as those of B" in fault.text and fault.count == 3
    )
    status = builder.camera_status
    assert status["C"].detail == fault.line and status["B"].state == status["A"].state == "ok"


def test_each_frame_that_moves_to_another_parent_is_named(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    feed(builder, [*drive.ready(), *drive.round(0)])
    links = [StampedTransform("base_link", "kit", 0, np.eye(4))]
    links += [StampedTransform("kit", name, 0, drive.T_base_camera) for name in drive.names]
    moved = (topics.TF_STATIC, topics.TF_TYPE, encode.encode_transforms(links))
    assert [frame.missing for frame in feed(builder, [moved, *drive.round(1)])] == [()]
    assert [fault.place for fault in builder.faults] == [f"/tf_static kit -> {name}" for name in drive.names]
    assert all("'base_link' and 'kit'" in fault.text and fault.harmless for fault in builder.faults)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.sensing.assembler import AssemblerConfig
from semlt3d_ros.sensing.frame_builder import BuilderConfig, FrameBuilder
from semlt3d_ros.sensing.preparation import ImageSpec

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_700_000_000 * SECOND
PERIOD = 100 * MS
SPEC = ImageSpec(32, 20)


def _builder(drive, **settings) -> FrameBuilder:
    return FrameBuilder(drive.rig, SPEC, **settings)


def _round(drive, index: int, start: int = START):
    stamp = start + index * PERIOD
    return [drive.tf(stamp), *drive.images(stamp)]


def _ready(drive):
    return [drive.static(), *drive.infos()]


def test_messages_become_frames(drive, feed):
    builder = _builder(drive)
    frames = feed(builder, [*_ready(drive), *_round(drive, 0), *_round(drive, 1)])
    assert [frame.stamp for frame in frames] == [START, START + PERIOD]
    frame = frames[1]
    assert [view.name for view in frame.views] == ["A", "B", "C"] and frame.missing == ()
    assert frame.points is None and frame.labels is None
    np.testing.assert_allclose(frame.T_world_ego, rigid.planar(1.0, 0, 0), atol=1e-12)
    for view in frame.views:
        assert view.image.shape == (20, 32, 3) and view.camera.is_pinhole
        assert abs(int(view.image.mean()) - 128) < 3
        np.testing.assert_allclose(view.T_ego_camera, drive.T_base_camera, atol=1e-12)
    assert not builder.drops and builder.waiting == 0 and builder.sets_in == builder.frames_out == 2
    assert {status.state for status in builder.camera_status.values()} == {"ok"}


def test_camera_poses_contain_the_ego_motion_since_their_exposure(drive, feed):
    builder = _builder(drive)
    messages = [*_ready(drive), drive.tf(START), drive.tf(START + PERIOD)]
    messages += [drive.image("A", START + 40 * MS), drive.image("B", START), drive.image("C", START + 60 * MS)]
    (frame,) = feed(builder, messages)
    ahead = [view.T_ego_camera[0, 3] - drive.T_base_camera[0, 3] for view in frame.views]
    np.testing.assert_allclose(ahead, [0.0, -0.4, 0.2], atol=1e-9)


def test_whole_images_keep_their_own_camera(drive, feed):
    drive.camera = CameraModel(64, 48, drive.camera.K, "plumb_bob", np.array([-0.1, 0.01, 0, 0]))
    builder = FrameBuilder(drive.rig)
    (frame,) = feed(builder, [*_ready(drive), *_round(drive, 0)])
    assert frame.views[0].image.shape == (48, 64, 3)
    np.testing.assert_allclose(frame.views[0].camera.K, drive.camera.K)
    assert frame.views[0].camera.distortion_model == "plumb_bob"


def test_images_wait_for_transforms_that_come_later(drive, feed):
    builder = _builder(drive)
    assert feed(builder, [*_ready(drive), drive.tf(START - PERIOD), *drive.images(START)]) == []
    assert builder.waiting == 3 and builder.sets_in == 1
    (frame,) = feed(builder, [drive.tf(START + PERIOD)])
    assert frame.stamp == START and frame.T_world_ego[0, 3] == pytest.approx(0.0)


def test_without_transforms_sets_are_dropped_and_counted(drive, feed):
    builder = _builder(drive)
    messages = [*_ready(drive), *[image for i in range(20) for image in drive.images(START + i * PERIOD)]]
    assert feed(builder, messages) + builder.flush() == []
    assert builder.dropped_sets == {"no_transform": 20} and builder.drops == {"no_transform": 60}
    status = builder.camera_status["B"]
    assert status.state == "waiting_tf" and status.reason == "no_transform" and "'odom'" in status.detail


def test_few_sets_wait_for_transforms(drive, feed):
    builder = _builder(drive, config=BuilderConfig(wait_s=1000.0, max_pending=3))
    feed(builder, [*_ready(drive), *[image for i in range(20) for image in drive.images(START + i * PERIOD)]])
    assert builder.waiting == 9 and builder.dropped_sets == {"no_transform": 17}


def test_one_camera_without_a_place_is_masked_and_holds_nothing_up(drive, feed):
    builder = _builder(drive)
    messages = [drive.static(("A", "B")), *drive.infos()]
    frames = feed(builder, [*messages, *[m for i in range(20) for m in _round(drive, i)]])
    assert len(frames) == 20 and {frame.missing for frame in frames} == {("C",)}
    assert builder.drops == {"no_transform": 20} and not builder.dropped_sets
    assert builder.camera_status["C"].state == "waiting_tf" and builder.camera_status["A"].state == "ok"
    more = feed(builder, [drive.static(), *_round(drive, 20)])
    assert [frame.missing for frame in more] == [()]


def test_without_ego_motion(drive, feed):
    builder = FrameBuilder(replace(drive.rig, fixed_frame=None), SPEC)
    (frame,) = feed(builder, [*_ready(drive), *drive.images(START)])
    assert frame.T_world_ego is None
    np.testing.assert_allclose(frame.views[2].T_ego_camera, drive.T_base_camera, atol=1e-12)


def test_ego_motion_from_odometry(drive, feed):
    builder = FrameBuilder(replace(drive.rig, odometry_topic=topics.ODOMETRY), SPEC)
    odometry = encode.encode_odometry(drive.pose(START + SECOND), START + SECOND)
    (frame,) = feed(
        builder, [*_ready(drive), (topics.ODOMETRY, topics.ODOMETRY_TYPE, odometry), *drive.images(START + SECOND)]
    )
    assert frame.T_world_ego[0, 3] == pytest.approx(10.0)


def test_missing_camera_info(drive, feed):
    builder = _builder(drive)
    messages = [drive.static(), drive.info("A"), drive.info("B"), *[m for i in range(5) for m in _round(drive, i)]]
    frames = feed(builder, messages) + builder.flush()
    assert [frame.missing for frame in frames] == [("C",)] * 5
    assert builder.drops == {"no_camera_info": 5}
    assert builder.camera_status["C"].state == "waiting_camera_info"


def test_camera_info_just_after_the_first_image_loses_nothing(drive, feed):
    builder = _builder(drive)
    frames = feed(builder, [drive.static(), *_round(drive, 0), *drive.infos(), *_round(drive, 1)])
    assert [frame.missing for frame in frames] == [(), ()] and not builder.drops


def test_camera_info_of_another_size(drive, feed):
    builder = _builder(drive)
    double, other = drive.camera.resized(128, 96), drive.camera.resized(64, 64)
    messages = [drive.static(), drive.info("A", double), drive.info("B"), drive.info("C", other), *_round(drive, 0)]
    (frame,) = feed(builder, messages) + builder.flush()
    assert frame.missing == ("C",)
    np.testing.assert_allclose(frame.views[0].camera.K, frame.views[1].camera.K, atol=1e-9)
    scaled = next(fault for fault in builder.faults if fault.reason == "camera_info_scaled")
    assert scaled.harmless and scaled.place == topics.camera_info_topic("A") and "128x96" in scaled.text
    assert builder.drops == {"camera_info_size": 1}
    status = builder.camera_status["C"]
    assert (status.state, status.reason) == ("rejected", "camera_info_size") and "64x64" in status.detail


def test_a_changed_calibration_is_used_from_then_on(drive, feed):
    builder = _builder(drive)
    longer = CameraModel(64, 48, np.diag([2.0, 2.0, 1.0]) @ drive.camera.K)
    frames = feed(builder, [*_ready(drive), *_round(drive, 0), drive.info("A", longer), *_round(drive, 1)])
    assert frames[1].views[0].camera.K[0, 0] == pytest.approx(2 * frames[0].views[0].camera.K[0, 0])


def test_bad_images_are_counted_and_masked(drive, feed):
    builder = _builder(drive)
    topic, kind, broken = drive.image("B", START)
    broken.data = broken.data[: len(broken.data) // 3]
    raw = encode.encode_image(np.zeros((48, 64, 3), np.uint8), START, "C")
    raw.encoding = "yuv444"
    messages = [*_ready(drive), drive.tf(START), drive.image("A", START), (topic, kind, broken)]
    messages.append((topics.camera_image_topic("C"), topics.IMAGE_TYPE, raw))
    assert feed(builder, messages) == [] and builder.flush() == []
    assert builder.drops["encoding"] == 1 and builder.drops["corrupt_jpeg"] == 1
    assert builder.dropped_sets == {"incomplete": 1}
    assert builder.camera_status["C"].reason == "encoding" and "yuv444" in builder.camera_status["C"].detail
    (frame,) = feed(builder, _round(drive, 1))
    assert frame.missing == () and builder.camera_status["C"].state == "ok"


@pytest.mark.parametrize("focal", [0.0, float("nan")])
def test_bad_intrinsics(drive, feed, focal):
    builder = _builder(drive)
    topic, kind, info = drive.info("B")
    info.k = info.k.copy()
    info.k[0] = focal
    frames = feed(builder, [drive.static(), drive.info("A"), (topic, kind, info), drive.info("C"), *_round(drive, 0)])
    frames += builder.flush()
    assert [frame.missing for frame in frames] == [("B",)]
    assert (builder.camera_status["B"].state, builder.camera_status["B"].reason) == ("rejected", "intrinsics")


def test_a_bad_calibration_after_a_good_one_is_counted_and_changes_nothing(drive, feed):
    builder = _builder(drive)
    topic, kind, info = drive.info("B")
    info.k, info.p = info.k * 0.0, info.p * 0.0
    (before,) = feed(builder, [*_ready(drive), *_round(drive, 0)])
    feed(builder, [(topic, kind, info)])
    assert builder.drops == {"intrinsics": 1}
    assert builder.camera_status["B"].reason == "intrinsics"
    (after,) = feed(builder, _round(drive, 1))
    assert after.missing == () and np.array_equal(after.views[1].camera.K, before.views[1].camera.K)


def test_bad_transforms_are_counted(drive, feed):
    builder = _builder(drive)
    topic, kind, message = drive.tf(START)
    message.transforms[0].transform.rotation.w = 0.0
    message.transforms[0].transform.rotation.z = 0.0
    loop = encode.encode_transforms([])
    feed(builder, [(topic, kind, message), (topics.TF_STATIC, topics.TF_TYPE, loop), *_ready(drive)])
    assert builder.drops == {"transform": 1}
    assert len(feed(builder, _round(drive, 0))) == 1


def test_a_camera_that_stops_and_returns(drive, feed):
    builder = _builder(drive)
    frames, states = feed(builder, _ready(drive)), []
    for index in range(40):
        gone = 5 <= index < 30
        messages = [m for m in _round(drive, index) if not (gone and m[0] == topics.camera_image_topic("B"))]
        frames += feed(builder, messages)
        states.append(builder.camera_status["B"].state)
    assert [frame.missing for frame in frames] == [("B",) if 5 <= i < 30 else () for i in range(40)]
    assert states[4] == "ok" and states[29] == "stopped" and states[30] == "ok"
    assert not builder.drops


def test_a_camera_that_becomes_slow_and_recovers(drive, feed):
    builder = _builder(drive)
    feed(builder, _ready(drive))
    states = {}
    for index in range(160):
        slow = 50 <= index < 100 and index % 5
        messages = [m for m in _round(drive, index) if not (slow and m[0] == topics.camera_image_topic("B"))]
        feed(builder, messages)
        states[index] = builder.camera_status["B"]
    assert states[10].rate_hz is None and states[10].state == "ok"
    assert states[49].rate_hz == pytest.approx(10.0, abs=0.5)
    assert (states[99].state, states[99].reason) == ("slow", "slow")
    assert states[99].rate_hz == pytest.approx(2.0, abs=0.5) and "10.0 are expected" in states[99].detail
    assert states[159].state == "ok" and {status.state for status in builder.camera_status.values()} == {"ok"}


def test_the_same_image_twice_is_delivered_once(drive, feed):
    builder = _builder(drive)
    feed(builder, _ready(drive))
    for index in range(50):
        feed(builder, [m for m in _round(drive, index) for _ in range(2)])
    assert builder.camera_status["B"].rate_hz == pytest.approx(10.0, abs=0.5)


def test_a_slow_camera_with_damaged_images_is_told_by_its_damage(drive, feed):
    builder = _builder(drive)
    feed(builder, _ready(drive))
    for index in range(100):
        messages = [m for m in _round(drive, index) if index % 5 == 0 or m[0] != topics.camera_image_topic("B")]
        for topic, _, message in messages:
            if topic == topics.camera_image_topic("B") and index > 80:
                message.data = message.data[:20]
        feed(builder, messages)
    assert builder.camera_status["B"].state == "rejected"


def test_sets_are_counted_by_what_they_lack(drive, feed):
    builder = _builder(drive, assembler_config=AssemblerConfig(min_cameras=2))
    feed(builder, _ready(drive))
    for index in range(20):
        gone = {5: "B", 6: "B", 7: "C"}.get(index)
        only = "A" if index == 9 else None
        names = [name for name in drive.names if name != gone and (only is None or name == only)]
        wanted = {topics.camera_image_topic(name) for name in names}
        feed(builder, [m for m in _round(drive, index) if m[1] != topics.COMPRESSED_IMAGE_TYPE or m[0] in wanted])
    builder.flush()
    sets = builder.completeness
    assert (sets.complete, sets.partial) == (16, 3)
    assert sets.missing == {"B": 2, "C": 1} and sets.dropped == {"incomplete": 1}
    assert sets.complete + sets.partial + sum(sets.dropped.values()) == builder.sets_in


def test_a_bag_that_starts_over(drive, feed):
    builder = _builder(drive)
    bag = [m for i in range(30) for m in _round(drive, i)]
    frames = feed(builder, [*_ready(drive), *bag, *bag])
    assert [frame.stamp for frame in frames] == [START + i * PERIOD for i in range(30)] * 2
    assert not builder.drops and builder.resets == {"time_jump": 1}
    assert builder.reset_before(frames[30]) == "time_jump" and builder.reset_before(frames[31]) == ""


def test_points_and_labels_come_along(drive, feed):
    builder = _builder(drive, with_points=True, with_labels=True)
    messages = [*_ready(drive), drive.tf(START), drive.tf(START + PERIOD), *drive.images(START)]
    assert feed(builder, [*messages, drive.labels(START)]) == []
    (frame,) = feed(builder, [drive.cloud(START + 20 * MS)])
    # The vehicle has gone 0.2 m by then; the sensor sits 2 m above the ground.
    np.testing.assert_allclose(frame.points.xyz, [[5.2, 0.0, 2.0], [0.2, 3.0, 3.0]], atol=1e-5)
    np.testing.assert_allclose(frame.points.time, [0.02, 0.03], atol=1e-6)
    assert list(frame.labels.class_ids) == [3]


def test_frames_do_not_wait_for_ever_for_points(drive, feed):
    builder = _builder(drive, with_points=True, with_labels=True, config=BuilderConfig(wait_s=0.3))
    frames = feed(builder, [*_ready(drive), *[m for i in range(8) for m in _round(drive, i)]])
    assert [frame.stamp for frame in frames] == [START + i * PERIOD for i in range(5)]
    assert all(frame.points is None and frame.labels is None for frame in frames)
    assert len(builder.flush()) == 3


def test_a_cloud_without_coordinates_costs_only_the_points(drive, feed):
    builder = _builder(drive, with_points=True)
    topic, kind, cloud = drive.cloud(START)
    cloud.fields[0].name = "range"
    (frame,) = feed(builder, [*_ready(drive), *_round(drive, 0), (topic, kind, cloud)])
    assert frame.points is None and builder.drops.total() == 1


def test_topics_that_are_not_wanted_are_not_looked_at(drive, feed):
    builder = _builder(drive)
    nonsense = [(topics.POINTS, topics.POINT_CLOUD_TYPE, None), (topics.TRUTH_LONG_TAIL, topics.LONG_TAIL_TYPE, None)]
    assert feed(builder, [*nonsense, ("/chatter", "std_msgs/msg/String", None)]) == []
    assert topics.POINTS not in builder.topics


def test_clouds_that_no_frame_takes_are_bounded_and_counted(drive, feed):
    builder = _builder(drive, with_points=True)
    feed(builder, [drive.cloud(START + i * PERIOD) for i in range(50)])
    assert builder.drops == {"points_unmatched": 34}


def test_a_stall_gives_out_what_waits(drive, feed):
    builder = _builder(drive)
    feed(builder, [*_ready(drive), *_round(drive, 0)[:3]])
    assert builder.poll(0) == [] and builder.poll(400 * MS) == []
    (frame,) = builder.poll(600 * MS)
    assert frame.missing == ("C",)
    builder.poll(3 * SECOND)
    assert builder.camera_status["A"].state == "stopped" and builder.camera_status["C"].state == "never_seen"


def test_the_same_messages_give_the_same_frames_with_or_without_a_clock(drive, feed):
    messages = [*_ready(drive), *[m for i in range(10) for m in _round(drive, i)]]
    del messages[9::7]
    plain, polled = _builder(drive), _builder(drive)
    expected = feed(plain, messages) + plain.flush()
    frames = []
    for number, message in enumerate(messages):
        frames += polled.add(*message) + polled.poll(number * 3 * SECOND)
    frames += polled.flush()
    assert [frame.stamp for frame in frames] == [frame.stamp for frame in expected]
    for one, other in zip(frames, expected, strict=True):
        assert one.missing == other.missing
        for mine, theirs in zip(one.views, other.views, strict=True):
            assert np.array_equal(mine.image, theirs.image)
            assert np.array_equal(mine.T_ego_camera, theirs.T_ego_camera)


def test_too_many_cameras_asked_for(drive):
    with pytest.raises(ConfigurationError, match="min_cameras is 4"):
        _builder(drive, assembler_config=AssemblerConfig(min_cameras=4))


def test_waiting_times_that_do_not_fit():
    with pytest.raises(ConfigurationError, match=r"wait_s.*max_pending"):
        BuilderConfig(wait_s=-1.0, max_pending=0)


@pytest.mark.parametrize(("width", "wanted"), [(1, 40), (80, 80), (10_000, 160)])
def test_whole_images_come_along_as_large_as_asked_and_decoded_once(drive, feed, width, wanted):
    drive = replace(drive, camera=CameraModel.from_numbers(160, 120, 90.0, 90.0, 79.5, 59.5))
    plain, with_whole = (
        feed(_builder(drive, whole_width=each), [*_ready(drive), *_round(drive, 0), *_round(drive, 1)])[0]
        for each in (None, width)
    )
    for old, new in zip(plain.views, with_whole.views, strict=True):
        assert old.whole is None and new.whole.image.shape == (wanted * 3 // 4, wanted, 3)
        assert (new.whole.camera.width, new.whole.camera.height) == (wanted, wanted * 3 // 4)
        assert new.image.shape == old.image.shape and np.abs(new.image.astype(int) - old.image).max() <= 12
        # The same point of the world lies at the same share of the whole image.
        pixel, seen = new.whole.camera.project(np.array([0.3, 0.2, 2.0]))
        assert seen and (pixel + 0.5) / wanted == pytest.approx((np.array([93.0, 68.5]) + 0.5) / 160, abs=1e-6)

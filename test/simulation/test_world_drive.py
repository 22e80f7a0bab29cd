import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.simulation.actors import Track, overlap, pose_at
from semlt3d_ros.simulation.drive import Drive, DriveConfig
from semlt3d_ros.simulation.lidar import LidarConfig
from semlt3d_ros.simulation.rig import CAMERAS

SMALL = {"image_size": (112, 64), "objects": (6, 10)}


def test_same_seed_gives_the_same_bytes():
    first, second = (Drive(DriveConfig(5, frames=2, **SMALL)).frame(1) for _ in range(2))
    assert first.stamp == second.stamp
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first.views, second.views, strict=True))
    assert np.array_equal(first.points.xyz, second.points.xyz)
    assert np.array_equal(first.points.intensity, second.points.intensity)
    assert np.array_equal(first.labels.boxes.corners(), second.labels.boxes.corners())
    assert first.labels.track_ids == second.labels.track_ids


def test_frames_do_not_depend_on_the_order_they_are_asked_for():
    drive = Drive(DriveConfig(5, frames=2, **SMALL))
    late = drive.frame(1)
    drive.frame(0)
    again = drive.frame(1)
    assert np.array_equal(late.views[3].image, again.views[3].image)
    assert np.array_equal(late.points.xyz, again.points.xyz)


def test_another_seed_gives_another_world():
    first, second = (Drive(DriveConfig(seed, frames=1, **SMALL)).frame(0) for seed in (1, 2))
    assert not np.array_equal(first.views[0].image, second.views[0].image)


def test_rig_and_stamps_follow_the_conventions():
    drive = Drive(DriveConfig(1, frames=3, interval_s=0.1, **SMALL))
    frame = drive.frame(2)
    assert [view.name for view in frame.views] == [camera[0] for camera in CAMERAS]
    assert frame.stamp - drive.stamp(0) == 200_000_000
    for view, (_, _, heading, _) in zip(frame.views, CAMERAS, strict=True):
        forward = view.T_ego_camera[:3, :3] @ (0, 0, 1)
        assert np.allclose(forward, (np.cos(np.radians(heading)), np.sin(np.radians(heading)), 0), atol=1e-9)
        assert view.image.shape == (64, 112, 3)
    with pytest.raises(IndexError):
        drive.frame(3)


def test_cropping_leaves_out_rows_and_changes_nothing_else():
    whole = Drive(DriveConfig(8, frames=1, **SMALL)).frame(0)
    cropped = Drive(DriveConfig(8, frames=1, top_crop=0.25, **SMALL)).frame(0)
    for full, part in zip(whole.views, cropped.views, strict=True):
        # Rays differ by rounding, which may move a hit across an edge here and there.
        different = (full.image[17:] != part.image[1:]).any(axis=-1)
        assert different.mean() < 0.01
        assert part.camera.K[1, 2] == full.camera.K[1, 2] - 16


def test_boxes_never_overlap(drives):
    for drive, _ in drives:
        for time_s in (0.0, 1.0):
            tracks = []
            for actor in drive.actors:
                xy, yaw, _ = pose_at(drive._road, actor.placement, np.array([time_s]))
                tracks.append(Track(xy, yaw, tuple(actor.shape.size[:2] / 2)))
            pairs = [(a, b) for i, a in enumerate(tracks) for b in tracks[:i]]
            assert pairs and not any(overlap(a, b, clearance=0.0) for a, b in pairs)


@pytest.mark.parametrize(
    ("offset", "yaw", "expected"),
    [((4.1, 0.0), 0.0, False), ((3.9, 0.0), 0.0, True), ((3.1, 0.0), np.pi / 2, False), ((2.9, 0.0), np.pi / 2, True)],
)
def test_overlap_of_two_rectangles(offset, yaw, expected):
    a = Track(np.zeros((1, 2)), np.zeros(1), (2.0, 1.0))
    b = Track(np.array([offset]), np.array([yaw]), (2.0, 1.0))
    assert overlap(a, b, clearance=0.0) is expected


def test_tracks_keep_their_identity_and_move_at_their_velocity(drives):
    for drive, after in drives:
        step = 0.01
        config = DriveConfig(**{**drive.config.__dict__, "lidar": None})
        before = Drive(config).frame(0)
        assert set(before.labels.track_ids) & set(after.labels.track_ids)
        for actor in drive.actors:
            early, _, velocity = pose_at(drive._road, actor.placement, 0.5)
            late, _, _ = pose_at(drive._road, actor.placement, 0.5 + step)
            assert np.allclose((late - early) / step, velocity, atol=0.05)


def test_objects_stand_on_the_ground_within_the_label_range(drives):
    for _, frame in drives:
        boxes = frame.labels.boxes
        assert np.allclose(boxes.centers[:, 2], boxes.sizes[:, 2] / 2, atol=1e-6)
        assert np.hypot(boxes.centers[:, 0], boxes.centers[:, 1]).max() <= 60.0


def test_ego_speed_is_the_slope_of_its_path():
    drive = Drive(DriveConfig(4, frames=20, lidar=None, **SMALL))
    for time_s in (0.2, 1.1):
        early, speed = drive.ego_pose(time_s)
        late, _ = drive.ego_pose(time_s + 0.001)
        step = rigid.inverse(early) @ late
        assert np.isclose(step[0, 3] / 0.001, speed, atol=0.02)
        assert abs(step[1, 3]) < 1e-4


def test_a_lidar_can_be_left_out():
    frame = Drive(DriveConfig(4, frames=1, lidar=None, **SMALL)).frame(0)
    assert frame.points is None
    assert (frame.labels.lidar_points == -1).all()


@pytest.mark.parametrize("bad", [{"frames": 0}, {"interval_s": 0.0}, {"image_size": (0, 4)}, {"top_crop": 1.0}])
def test_impossible_configurations_are_refused(bad):
    with pytest.raises(ConfigurationError, match="cannot be simulated"):
        DriveConfig(1, **bad)


def test_lidar_geometry_of_a_custom_sensor():
    sensor = LidarConfig(beams=4, lowest_deg=-20, highest_deg=-5, steps=90, range_m=30, noise_m=0.0, dropout=0.0)
    frame = Drive(DriveConfig(6, frames=1, lidar=sensor, **SMALL)).frame(0)
    xyz = frame.points.xyz - (0.94, 0.0, 1.84)
    ranges = np.linalg.norm(xyz, axis=1)
    elevation = np.degrees(np.arcsin(xyz[:, 2] / ranges))
    assert len(xyz) <= 4 * 90
    assert ranges.max() <= 30.0
    assert np.abs(elevation[:, None] - (-20, -15, -10, -5)).min(axis=1).max() < 0.01

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.simulation.drive import Drive


def _seen(drive: Drive, index: int):
    """The solid behind every pixel, and the actors' labels with nothing left out."""
    time_s = index * drive.config.interval_s
    T_world_ego, _ = drive.ego_pose(time_s)
    boxes = drive._boxes(time_s)
    scene = drive._world.posed(np.column_stack([boxes.centers, boxes.yaw]), T_world_ego[:2, 3])
    _, solid = drive._renderer.render(scene, T_world_ego, boxes.corners()[:, :4, :2].astype(np.float32))
    return solid, boxes.moved(rigid.inverse(T_world_ego))


def test_an_object_is_seen_only_inside_its_projected_box(drives):
    checked = 0
    for drive, _ in drives:
        solid, boxes = _seen(drive, 1)
        corners = boxes.corners()
        for camera, seen in zip(drive.cameras, solid, strict=True):
            in_camera = rigid.apply(rigid.inverse(camera.T_ego_camera), corners)
            pixels, _ = camera.camera.project(in_camera)
            for actor in np.unique(seen[(seen >= 0) & (seen < len(boxes))]):
                if in_camera[actor, :, 2].min() < 0.2:
                    continue  # the outline of a box that reaches behind the camera is not its corners' hull
                rows, columns = np.nonzero(seen == actor)
                low, high = pixels[actor].min(axis=0) - 0.51, pixels[actor].max(axis=0) + 0.51
                assert columns.min() >= low[0] and columns.max() <= high[0]
                assert rows.min() >= low[1] and rows.max() <= high[1]
                checked += 1
    assert checked > 20


def test_visible_pixels_count_what_the_cameras_see(drives):
    for drive, frame in drives:
        solid, boxes = _seen(drive, 1)
        near = np.hypot(boxes.centers[:, 0], boxes.centers[:, 1]) <= drive.config.label_range_m
        expected = np.array([(solid == actor).sum() for actor in range(len(boxes))])[near]
        assert np.array_equal(frame.labels.visible_pixels, expected)
        assert (expected > 0).sum() >= 5


def test_lidar_points_lie_on_boxes(drives):
    for _, frame in drives:
        counted = frame.labels.lidar_points
        inside = frame.labels.boxes.contains(frame.points.xyz, margin=0.06).sum(axis=1)
        assert counted.sum() > 50
        # Ground returns beneath a vehicle also fall into its enlarged box, so the count is a lower bound.
        assert (inside >= 0.97 * counted - 1).all()
        on_top = frame.points.xyz[frame.points.xyz[:, 2] > 0.25]
        high = frame.labels.boxes.contains(on_top, margin=0.06).sum(axis=1)
        assert (high <= counted).all()


def test_ground_returns_lie_on_the_ground(drives):
    for _, frame in drives:
        near = np.hypot(frame.points.xyz[:, 0], frame.points.xyz[:, 1]) < 20
        heights = frame.points.xyz[near, 2]
        assert heights.min() > -0.1
        assert (np.abs(heights) < 0.05).mean() > 0.3


def test_point_attributes_are_in_range(drives):
    for _, frame in drives:
        points = frame.points
        assert points.intensity.min() >= 0 and points.intensity.max() <= 1 and points.intensity.std() > 0.02
        assert points.time.min() >= -0.1 and points.time.max() <= 0
        assert 10_000 < len(points) < 32 * 1080


def test_a_lidar_point_projects_onto_the_object_it_hit(drives):
    """The calibration chain: points inside a box fall on pixels of that object in the images that see it."""
    agree, total = 0, 0
    for drive, frame in drives:
        solid, boxes = _seen(drive, 1)
        inside = boxes.contains(frame.points.xyz[frame.points.xyz[:, 2] > 0.3])
        xyz = frame.points.xyz[frame.points.xyz[:, 2] > 0.3]
        for camera, seen in zip(drive.cameras, solid, strict=True):
            pixels, valid = camera.camera.project(rigid.apply(rigid.inverse(camera.T_ego_camera), xyz))
            for actor in range(len(boxes)):
                columns, rows = np.round(pixels[valid & inside[actor]]).astype(int).T
                agree += int((seen[rows, columns] == actor).sum())
                total += len(rows)
    # The LiDAR looks from elsewhere: some of what it sees is hidden from the camera.
    assert total > 100 and agree / total > 0.75

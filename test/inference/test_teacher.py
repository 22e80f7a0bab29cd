"""A teacher at work: what it says of clouds, of any cloud, and in which frame."""

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.frame import PointCloud


def rows_of(sight) -> np.ndarray:
    b = sight.detections.boxes
    return np.concatenate([b.centers, b.sizes, b.yaw[:, None], b.velocity], axis=1)


def test_what_it_says_has_the_shapes_it_promises(detector, cloud) -> None:
    sight, grid = detector.look(cloud, 7), detector.grid
    shape = (grid.rows, grid.columns)
    assert sight.bev.shape == (12, *shape) and sight.heat.shape == (4, *shape) and sight.cells.shape == (9, *shape)
    assert sight.occupied.shape == shape and sight.occupied.any()
    found = sight.detections
    assert found.stamp == 7 and found.model_version == "small@1" and found.class_names == detector.class_names
    best = found.confidences.max(axis=1)
    assert len(best) and (np.diff(best) <= 0).all()
    inside = (np.abs(cloud.xyz[:, :2]) < 12.8).all(axis=1)
    assert (sight.point_classes[inside] >= 0).all() and (sight.point_classes[~inside] == -1).all()
    assert (sight.point_scores[inside] > 0).all() and (sight.point_scores[~inside] == 0).all()


def test_the_box_of_a_detection_is_the_box_of_its_cell(detector, cloud) -> None:
    sight, grid = detector.look(cloud), detector.grid
    row, column = np.unravel_index(sight.heat.max(axis=0).argmax(), sight.occupied.shape)
    cell = sight.cells[:, row, column].astype(np.float64)
    cell[:2] += grid.centers()[row, column]
    # Float16 keeps three digits.
    assert rows_of(sight)[0] == pytest.approx(cell, rel=2e-3, abs=0.02)


@pytest.mark.parametrize("count", [0, 1])
def test_clouds_of_hardly_any_point(detector, count) -> None:
    sight = detector.look(PointCloud(np.full((count, 3), 1.0, np.float32)))
    assert sight.occupied.sum() == count and len(sight.point_classes) == count
    assert np.isfinite(rows_of(sight)).all() and np.isfinite(sight.bev).all()


def test_points_that_are_nowhere_change_nothing(detector, cloud) -> None:
    rng = np.random.default_rng(0)
    wrong = rng.choice([np.nan, np.inf, -np.inf, 1e30, 200.0], (50, 3)).astype(np.float32)
    more = PointCloud(
        np.concatenate([wrong, cloud.xyz]),
        np.concatenate([np.ones(50, np.float32), cloud.intensity]),
        np.concatenate([np.zeros(50, np.float32), cloud.time]),
    )
    sight, plain = detector.look(more), detector.look(cloud)
    assert np.array_equal(rows_of(sight), rows_of(plain))
    assert (sight.point_classes[:50] == -1).all() and np.array_equal(sight.point_classes[50:], plain.point_classes)


def test_clouds_without_intensity_and_time_are_clouds_with_zeros(detector, cloud) -> None:
    bare, zeros = PointCloud(cloud.xyz), np.zeros(len(cloud), np.float32)
    assert np.array_equal(rows_of(detector.look(bare)), rows_of(detector.look(PointCloud(cloud.xyz, zeros, zeros))))


def test_intensities_and_times_that_cannot_be_are_not_passed_on(detector, cloud) -> None:
    zeros = np.zeros(len(cloud), np.float32)
    for wrong in (np.nan, np.inf, -5.0, 1e6):
        sight = detector.look(replace(cloud, intensity=np.full(len(cloud), wrong, np.float32), time=zeros))
        assert np.isfinite(rows_of(sight)).all() and np.isfinite(sight.bev.astype(np.float32)).all()
    late = detector.look(replace(cloud, time=np.full(len(cloud), 3.0, np.float32)))
    assert np.array_equal(rows_of(late), rows_of(detector.look(replace(cloud, time=zeros))))
    for wrong in (np.nan, -np.inf, -1e9):
        sight = detector.look(replace(cloud, time=np.full(len(cloud), wrong, np.float32)))
        assert np.isfinite(rows_of(sight)).all() and np.isfinite(sight.bev.astype(np.float32)).all()


def test_a_teacher_of_another_frame_says_the_same_of_the_same_world(make_detector, cloud) -> None:
    """What was trained in a frame that is turned and shifted sees its own frame, and answers in the ego frame."""
    T = rigid.planar(1.5, -0.5, np.pi / 2, 1.8)
    mounted = make_detector(T_ego_model=tuple(map(tuple, T.tolist())))
    plain = make_detector().look(cloud)
    moved = mounted.look(PointCloud(rigid.apply(T, cloud.xyz).astype(np.float32), cloud.intensity, cloud.time))
    expected = plain.detections.boxes.moved(T)
    assert moved.detections.boxes.centers == pytest.approx(expected.centers, abs=1e-3)
    assert np.cos(moved.detections.boxes.yaw - expected.yaw) == pytest.approx(1.0, abs=1e-6)
    assert moved.detections.boxes.velocity == pytest.approx(expected.velocity, abs=1e-4)


def test_a_million_points(detector) -> None:
    rng = np.random.default_rng(3)
    sight = detector.look(PointCloud(rng.uniform(-13, 13, (1_000_000, 3)).astype(np.float32)))
    assert len(sight.point_classes) == 1_000_000 and np.isfinite(rows_of(sight)).all()


def test_without_classes_of_points(make_detector, cloud) -> None:
    sight = make_detector(point_classes=()).look(cloud)
    assert sight.point_classes is None and sight.point_scores is None

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import EDGES, Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES, CLASSES, GROUPS, classes_of_group


def _random_boxes(seed: int, count: int = 6) -> Boxes3D:
    rng = np.random.default_rng(seed)
    return Boxes3D(
        rng.uniform(-30, 30, (count, 3)),
        rng.uniform(0.2, 8, (count, 3)),
        rng.uniform(-np.pi, np.pi, count),
        rng.uniform(-10, 10, (count, 2)),
    )


boxes = st.integers(0, 10_000).map(_random_boxes)
planar_moves = st.builds(rigid.planar, *[st.floats(-20, 20)] * 2, st.floats(-3, 3), st.floats(-2, 2))


@given(boxes)
def test_corners_span_the_box(some):
    corners = some.corners()
    np.testing.assert_allclose(corners.mean(axis=1), some.centers, atol=1e-9)
    lengths = np.linalg.norm(corners[:, [0, 1, 0]] - corners[:, [3, 0, 4]], axis=-1)
    np.testing.assert_allclose(lengths, some.sizes, atol=1e-9)
    heading = corners[:, [0, 1]].mean(axis=1) - some.centers
    assert np.all(np.einsum("ij,ij->i", heading[:, :2], np.stack([np.cos(some.yaw), np.sin(some.yaw)], -1)) > 0)


def test_edges_are_the_twelve_of_a_cuboid():
    corners = Boxes3D([[0, 0, 0]], [[4, 2, 1]], [0.3], [[0, 0]]).corners()[0]
    lengths = sorted(round(float(np.linalg.norm(corners[a] - corners[b])), 6) for a, b in EDGES)
    assert lengths == [1.0] * 4 + [2.0] * 4 + [4.0] * 4


@given(boxes, planar_moves)
def test_moved_boxes_keep_their_shape(some, move):
    moved = some.moved(move)
    np.testing.assert_allclose(moved.corners(), rigid.apply(move, some.corners()), atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(moved.velocity, axis=1), np.linalg.norm(some.velocity, axis=1))


@given(boxes, planar_moves)
def test_moving_there_and_back_changes_nothing(some, move):
    again = some.moved(move).moved(rigid.inverse(move))
    np.testing.assert_allclose(again.centers, some.centers, atol=1e-8)
    np.testing.assert_allclose(rigid.wrap_angle(again.yaw - some.yaw + 1.0), 1.0, atol=1e-8)
    np.testing.assert_allclose(again.velocity, some.velocity, atol=1e-8)


def test_unknown_velocity_stays_unknown():
    some = Boxes3D([[1, 2, 3]], [[1, 1, 1]], [0], [[np.nan, np.nan]])
    assert np.isnan(some.moved(rigid.planar(1, 2, 0.5)).velocity).all()


@given(boxes, st.integers(0, 1000))
def test_contains_agrees_with_the_box_frame(some, seed):
    rng = np.random.default_rng(seed)
    inside = rng.uniform(-0.49, 0.49, (20, 3))
    outside = inside.copy()
    outside[:, seed % 3] = np.sign(outside[:, seed % 3]) * 0.51
    for index in range(len(some)):
        pose = rigid.planar(*some.centers[index, :2], some.yaw[index], some.centers[index, 2])
        one = some[index : index + 1]
        assert one.contains(rigid.apply(pose, inside * some.sizes[index])).all()
        far = rigid.apply(pose, outside * some.sizes[index])
        assert not one.contains(far).any()
        assert one.contains(far, margin=0.02 * some.sizes[index].max()).all()


def test_empty_boxes():
    none = Boxes3D.empty()
    assert len(none) == 0 and none.corners().shape == (0, 8, 3)
    assert none.moved(np.eye(4)).velocity.shape == (0, 2)
    assert none.contains(np.zeros((5, 3))).shape == (0, 5)


@pytest.mark.parametrize("field", ["sizes", "yaw", "velocity"])
def test_boxes_of_unequal_rows(field):
    parts = {"centers": np.zeros((2, 3)), "sizes": np.ones((2, 3)), "yaw": np.zeros(2), "velocity": np.zeros((2, 2))}
    parts[field] = parts[field][:1]
    with pytest.raises(ValueError, match=field):
        Boxes3D(**parts)


def test_labels_fill_in_what_is_unknown_and_select():
    labels = Labels(_random_boxes(0, 3), [4, 5, 6])
    assert labels.track_ids == ("0", "1", "2")
    assert list(labels.lidar_points) == [-1, -1, -1]
    chosen = labels[np.array([True, False, True])]
    assert list(chosen.class_ids) == [4, 6] and chosen.track_ids == ("0", "2")
    assert chosen.visible_pixels.shape == (2,)


def test_labels_of_unequal_rows():
    with pytest.raises(ValueError, match="class_ids"):
        Labels(_random_boxes(0, 3), [1, 2])
    with pytest.raises(ValueError, match="track_ids"):
        Labels(_random_boxes(0, 3), [1, 2, 3], track_ids=("a",))


def test_detections_name_the_best_class():
    confidences = np.zeros((2, len(CLASS_NAMES)))
    confidences[0, 3], confidences[1, 7] = 0.9, 0.4
    found = Detections(0, _random_boxes(1, 2), confidences)
    assert list(found.class_ids) == [3, 7]
    np.testing.assert_allclose(found.scores, [0.9, 0.4])
    assert found.expert_weights.shape == (2, 0) and np.isnan(found.depth_uncertainty).all()


def test_no_detections():
    none = Detections(0, Boxes3D.empty(), np.zeros((0, len(CLASS_NAMES))))
    assert len(none) == 0 and len(none.class_ids) == 0 and len(none.scores) == 0


def test_detections_of_unequal_rows():
    with pytest.raises(ValueError, match="depth_uncertainty"):
        Detections(0, _random_boxes(1, 2), np.zeros((2, 18)), depth_uncertainty=np.zeros(3))


def test_taxonomy_is_the_protocols():
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 18
    assert sorted(index for group in GROUPS for index in classes_of_group(group)) == list(range(18))
    assert all(CLASSES[CLASS_INDEX[name]].name == name for name in CLASS_NAMES)
    assert {CLASSES[i].name for i in classes_of_group("few")} == {
        "emergency_vehicle", "child", "police_officer", "stroller", "personal_mobility", "debris",
    }  # fmt: skip


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(-3, 3)), max_size=5))
def test_boxes_of_poses_stand_where_the_poses_are(places):
    poses = [rigid.planar(x, y, turn, 1.0) for x, y, turn in places]
    boxes = Boxes3D.from_poses(poses, np.tile([4.0, 2.0, 1.5], (len(poses), 1)))
    assert len(boxes) == len(places) and np.isnan(boxes.velocity).all()
    for row, (x, y, turn) in enumerate(places):
        np.testing.assert_allclose([*boxes.centers[row], boxes.yaw[row]], [x, y, 1.0, turn], atol=1e-9)

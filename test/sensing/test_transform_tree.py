from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.sensing.transform_tree import TransformError, TransformTree

S = 1_000_000_000
MOUNT = rigid.transform((1.0, 0.5, 1.5), rigid.quaternion_from_yaw(0.4))


def _pose(stamp: int) -> rigid.Matrix:
    return rigid.planar(12.0 * stamp / S, 1.0, 0.3 * stamp / S)


def _tree(last: int = 5 * S, **settings: float) -> TransformTree:
    tree = TransformTree(**settings)
    tree.add("base_link", "camera", 0, MOUNT, static=True)
    for stamp in range(0, last + 1, S // 10):
        tree.add("odom", "base_link", stamp, _pose(stamp))
    return tree


def _reason(call) -> tuple[str, str]:
    with pytest.raises(TransformError) as error:
        call()
    return error.value.reason, str(error.value)


def test_chain_through_static_and_dynamic_links():
    T = _tree().lookup("odom", "camera", 2 * S)
    np.testing.assert_allclose(T, _pose(2 * S) @ MOUNT, atol=1e-12)


def test_through_the_common_ancestor():
    tree = _tree()
    tree.add("base_link", "lidar", 0, rigid.transform((0, 0, 2)), static=True)
    np.testing.assert_allclose(
        tree.lookup("lidar", "camera", 10**18), rigid.inverse(rigid.transform((0, 0, 2))) @ MOUNT
    )
    np.testing.assert_allclose(tree.lookup("camera", "camera", 0), np.eye(4))


@given(st.integers(0, 5 * S))
def test_interpolates_between_stamps(stamp):
    tree = _tree()
    np.testing.assert_allclose(tree.lookup("odom", "base_link", stamp), _pose(stamp), atol=5e-3)
    there, back = tree.lookup("odom", "camera", stamp), tree.lookup("camera", "odom", stamp)
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-9)


def test_exact_stamps_are_given_back_exactly():
    assert np.array_equal(_tree().lookup("odom", "base_link", 3 * S), _pose(3 * S))


def test_between_two_stamps_through_the_fixed_frame():
    T = _tree().lookup_between("base_link", 3 * S, "camera", 2 * S, "odom")
    np.testing.assert_allclose(T, rigid.inverse(_pose(3 * S)) @ _pose(2 * S) @ MOUNT, atol=1e-12)


def test_equal_stamps_need_no_fixed_frame():
    tree = TransformTree()
    tree.add("base_link", "camera", 0, MOUNT, static=True)
    np.testing.assert_allclose(tree.lookup_between("base_link", 7, "camera", 7, "odom"), MOUNT)


def test_leading_slashes_are_ignored():
    tree = TransformTree()
    tree.add("/base_link", "/camera", 0, MOUNT, static=True)
    assert np.array_equal(tree.lookup("base_link", "/camera", 0), MOUNT)
    assert tree.frames == ("base_link", "camera")


def test_too_new_and_too_old_say_by_how_much():
    tree = _tree()
    reason, message = _reason(lambda: tree.lookup("odom", "camera", 5 * S + S // 4))
    assert reason == "transform_too_new" and "'odom' -> 'base_link'" in message and "0.250 s" in message
    tree.add("odom", "base_link", 14 * S + S // 2, _pose(14 * S))
    reason, message = _reason(lambda: tree.lookup("odom", "camera", 4 * S))
    assert reason == "transform_too_old" and "0.500 s" in message


def test_history_is_bounded():
    tree = _tree(last=60 * S, history_s=10.0)
    tree.lookup("odom", "base_link", 50 * S)
    assert _reason(lambda: tree.lookup("odom", "base_link", 49 * S))[0] == "transform_too_old"


def test_a_gap_is_not_bridged():
    tree = _tree()
    tree.add("odom", "base_link", 8 * S, _pose(8 * S))
    reason, message = _reason(lambda: tree.lookup("odom", "base_link", 6 * S))
    assert reason == "transform_gap" and "3.000 s" in message


def test_extrapolates_no_further_than_allowed():
    tree = _tree(extrapolation_s=0.05)
    np.testing.assert_allclose(tree.lookup("odom", "base_link", 5 * S + S // 25), _pose(5 * S + S // 25), atol=5e-3)
    assert _reason(lambda: tree.lookup("odom", "base_link", 5 * S + S // 10))[0] == "transform_too_new"


def test_unknown_frames_are_named_with_what_is_known():
    reason, message = _reason(lambda: _tree().lookup("base_link", "CAM_LEFT", 0))
    assert reason == "no_transform"
    assert "'CAM_LEFT' unknown" in message and "base_link, camera, odom" in message


def test_unconnected_frames_are_named_with_their_trees():
    tree = _tree()
    tree.add("map", "lidar", 0, np.eye(4), static=True)
    reason, message = _reason(lambda: tree.lookup("camera", "lidar", 0))
    assert reason == "no_transform" and "tree of 'odom'" in message and "that of 'map'" in message


@pytest.mark.parametrize(("parent", "child"), [("camera", "odom"), ("camera", "base_link"), ("odom", "odom")])
def test_loops_are_refused(parent, child):
    tree = _tree()
    reason, message = _reason(lambda: tree.add(parent, child, 0, np.eye(4), static=True))
    assert reason == "transform" and "loop" in message
    tree.lookup("odom", "camera", S)


@pytest.mark.parametrize(("child", "matrix"), [("", np.eye(4)), ("camera", np.full((4, 4), np.nan))])
def test_what_is_no_transform_is_refused(child, matrix):
    assert _reason(lambda: TransformTree().add("base_link", child, 0, matrix))[0] == "transform"


def test_a_child_moves_to_another_parent():
    tree = _tree()
    tree.add("map", "base_link", 5 * S, np.eye(4))
    np.testing.assert_allclose(tree.lookup("map", "camera", 5 * S), MOUNT)
    assert _reason(lambda: tree.lookup("odom", "camera", 6 * S))[0] == "transform_too_new"


def test_a_child_moves_between_its_relations():
    tree = _tree()
    tree.add("odom", "footprint", 0, np.eye(4), static=True)
    tree.add("footprint", "base_link", 6 * S, rigid.planar(1.0, 2.0, 0.0))
    # The direct link ends at 5 s; before that the new one knows nothing.
    np.testing.assert_allclose(tree.lookup("odom", "base_link", 6 * S), rigid.planar(1.0, 2.0, 0.0))
    assert np.array_equal(tree.lookup("odom", "base_link", 4 * S), _pose(4 * S))


def test_what_is_mounted_anew_is_found_in_its_new_place():
    tree = TransformTree()
    tree.add("base_link", "roof", 0, rigid.transform((0, 0, 2)), static=True)
    tree.add("base_link", "bumper", 0, rigid.transform((3, 0, 0)), static=True)
    for parent, x, z in (("roof", 0.0, 2.0), ("bumper", 3.0, 0.0), ("roof", 0.0, 2.0)):
        tree.add(parent, "camera", 0, np.eye(4), static=True)
        np.testing.assert_allclose(tree.lookup("base_link", "camera", 7)[:3, 3], (x, 0.0, z))


@given(st.lists(st.sampled_from(["odom", "map"]), min_size=2, max_size=60))
def test_two_parents_in_any_turn_have_histories_of_their_own(turns):
    tree = TransformTree(max_gap_s=10.0)
    tree.add("base_link", "camera", 0, MOUNT, static=True)
    stamps: dict[str, list[int]] = {"odom": [], "map": []}
    there = {"odom": np.eye(4), "map": rigid.planar(500.0, -300.0, 1.2)}
    for tick, parent in enumerate(turns):
        tree.add(parent, "base_link", tick * S // 50, there[parent] @ _pose(tick * S // 50))
        stamps[parent].append(tick * S // 50)
    for parent, known in stamps.items():
        for stamp in known:
            np.testing.assert_allclose(
                tree.lookup(parent, "camera", stamp), there[parent] @ _pose(stamp) @ MOUNT, atol=1e-9
            )
    # What both know at one instant connects the two as well.
    if len(set(turns)) == 2 and (middle := max(known[0] for known in stamps.values())) <= min(
        known[-1] for known in stamps.values()
    ):
        np.testing.assert_allclose(tree.lookup("odom", "map", middle), rigid.inverse(there["map"]), atol=2e-2)


def test_several_parents_are_named_where_none_of_them_is_asked_for():
    tree = _tree()
    tree.add("map", "base_link", 5 * S, np.eye(4))
    _, message = _reason(lambda: tree.lookup("world", "camera", 5 * S))
    assert "'base_link' has the parents 'odom' and 'map'" in message
    tree.add("world", "lidar", 0, np.eye(4), static=True)
    _, message = _reason(lambda: tree.lookup("world", "camera", 5 * S))
    assert "that of 'odom' and 'map'" in message and tree.parents("/base_link") == ("odom", "map")


def test_a_loop_through_a_parent_that_was_left_is_none():
    tree = _tree()
    tree.add("world", "base_link", 6 * S, np.eye(4))
    tree.add("camera", "odom", 6 * S, np.eye(4))
    np.testing.assert_allclose(tree.lookup("world", "odom", 6 * S), MOUNT)
    assert tree.parents("base_link") == ("world",)
    assert _reason(lambda: tree.add("odom", "world", 6 * S, np.eye(4)))[0] == "transform"


def test_a_bag_that_starts_over():
    tree = _tree()
    for stamp in (0, S // 10):
        tree.add("odom", "base_link", stamp, rigid.planar(stamp / S, 9.0, 0.0))
    assert tree.lookup("odom", "base_link", S // 20)[1, 3] == pytest.approx(9.0)
    assert _reason(lambda: tree.lookup("odom", "base_link", 2 * S))[0] == "transform_too_new"


@given(st.permutations(range(0, 10)))
def test_order_of_arrival_does_not_matter(order):
    tree = TransformTree(max_backward_s=2.0)
    for tick in order:
        tree.add("odom", "base_link", tick * S // 10, _pose(tick * S // 10))
    assert np.array_equal(tree.lookup("odom", "base_link", S // 4), _tree().lookup("odom", "base_link", S // 4))

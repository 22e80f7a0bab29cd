from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid

numbers = st.floats(-50, 50, allow_nan=False)
vectors = st.tuples(numbers, numbers, numbers).map(np.array)
quaternions = st.tuples(*[st.floats(-1, 1)] * 4).map(np.array).filter(lambda q: np.linalg.norm(q) > 1e-3)
transforms = st.builds(rigid.transform, vectors, quaternions)
fractions = st.floats(0, 1)


@given(quaternions)
def test_rotation_is_orthonormal_and_right_handed(quaternion):
    rotation = rigid.rotation_from_quaternion(quaternion)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@given(st.tuples(*[st.floats(-3.1, 3.1)] * 3).map(np.array))
def test_rotation_agrees_with_opencv(vector):
    angle = np.linalg.norm(vector)
    axis = vector / angle if angle > 0 else np.zeros(3)
    quaternion = np.append(np.sin(angle / 2) * axis, np.cos(angle / 2))
    np.testing.assert_allclose(rigid.rotation_from_quaternion(quaternion), cv2.Rodrigues(vector)[0], atol=1e-9)


@given(quaternions)
def test_quaternion_round_trip_is_unit_with_positive_w(quaternion):
    again = rigid.quaternion_from_rotation(rigid.rotation_from_quaternion(quaternion))
    unit = quaternion / np.linalg.norm(quaternion)
    assert again[3] >= 0 and np.linalg.norm(again) == pytest.approx(1.0)
    assert abs(again @ unit) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quaternion_of_half_turns(axis):
    quaternion = np.eye(4)[axis]
    again = rigid.quaternion_from_rotation(rigid.rotation_from_quaternion(quaternion))
    assert abs(again @ quaternion) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [(0, 0, 0, 0), (0, 0, 0, np.nan), (0, 0, np.inf, 1), (0, 0, 1)])
def test_quaternions_that_are_no_rotation(bad):
    with pytest.raises(ValueError, match="not a rotation"):
        rigid.rotation_from_quaternion(bad)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160])
def test_quaternion_of_extreme_length(scale):
    np.testing.assert_allclose(
        rigid.rotation_from_quaternion(scale * np.array([0, 0, 1.0, 1.0])),
        rigid.planar(0, 0, np.pi / 2)[:3, :3],
        atol=1e-12,
    )


@given(transforms, vectors)
def test_inverse_undoes(matrix, point):
    np.testing.assert_allclose(matrix @ rigid.inverse(matrix), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(rigid.apply(rigid.inverse(matrix), rigid.apply(matrix, point)), point, atol=1e-8)


@given(transforms, transforms)
def test_inverse_of_a_stack(first, second):
    stack = np.stack([first, second])
    np.testing.assert_allclose(rigid.inverse(stack), np.stack([rigid.inverse(first), rigid.inverse(second)]))


@given(transforms, transforms, vectors)
def test_apply_composes(T_a_b, T_b_c, point):
    np.testing.assert_allclose(
        rigid.apply(T_a_b @ T_b_c, point), rigid.apply(T_a_b, rigid.apply(T_b_c, point)), atol=1e-8
    )


@given(transforms, transforms, fractions)
def test_interpolation_lies_between(first, second, fraction):
    middle = rigid.interpolate(first, second, fraction)
    np.testing.assert_allclose(middle[:3, :3] @ middle[:3, :3].T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(middle[:3, 3], first[:3, 3] + fraction * (second[:3, 3] - first[:3, 3]), atol=1e-9)
    whole, part = _angle(first, second), _angle(first, middle)
    assert part == pytest.approx(fraction * whole, abs=2e-4)


@given(transforms, transforms)
def test_interpolation_ends_at_its_ends(first, second):
    np.testing.assert_allclose(rigid.interpolate(first, second, 0.0), first, atol=1e-6)
    np.testing.assert_allclose(rigid.interpolate(first, second, 1.0), second, atol=1e-6)


@given(numbers, numbers, st.floats(-3.14, 3.14))
def test_planar_heading(x, y, yaw):
    matrix = rigid.planar(x, y, yaw, 2.0)
    assert rigid.yaw_from_rotation(matrix[:3, :3]) == pytest.approx(yaw)
    np.testing.assert_allclose(matrix, rigid.transform((x, y, 2.0), rigid.quaternion_from_yaw(yaw)), atol=1e-12)


@given(st.floats(-1000, 1000))
def test_wrapped_angle_is_the_same_direction(angle):
    wrapped = float(rigid.wrap_angle(angle))
    assert -np.pi <= wrapped <= np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-9)
    assert np.sin(wrapped) == pytest.approx(np.sin(angle), abs=1e-9)


def _angle(first, second):
    rotation = first[:3, :3].T @ second[:3, :3]
    return float(np.linalg.norm(cv2.Rodrigues(rotation)[0]))

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.point_classes import BACKGROUND, UNKNOWN, point_class_names
from semlt3d_ros.core.sweeps import Sweep, accumulated

NOW = 10_000_000_000


def _cloud(*xyz, time=None, classes=None, intensity=None):
    def column(values, dtype):
        return None if values is None else np.array(values, dtype)

    points = np.array(xyz, np.float32).reshape(-1, 3)
    return PointCloud(points, column(intensity, np.float32), column(time, np.float32), column(classes, np.int16))


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3), st.floats(-3, 3), st.floats(-50, 50), st.floats(-50, 50))
def test_what_stands_still_lies_on_itself(point, yaw, x, y) -> None:
    here, there = rigid.planar(x, y, yaw), rigid.planar(x - 1.0, y + 0.5, yaw - 0.2)
    in_world = rigid.apply(here, point)
    now = Sweep(_cloud(point), here, NOW)
    then = Sweep(_cloud(rigid.apply(rigid.inverse(there), in_world)), there, NOW - 100_000_000)
    cloud = accumulated(now, [then], near_m=0.0)
    assert np.allclose(cloud.xyz[0], cloud.xyz[1], atol=1e-4)
    assert cloud.time == pytest.approx([0.0, -0.1])


def test_times_add_up_and_what_is_missing_is_filled() -> None:
    now = Sweep(_cloud((5, 0, 0), time=[-0.03], intensity=[0.4]), np.eye(4), NOW)
    past = Sweep(_cloud((6, 0, 0), (7, 0, 0), time=[-0.05, 0.0], classes=[3, 4]), np.eye(4), NOW - 200_000_000)
    cloud = accumulated(now, [past])
    assert cloud.time == pytest.approx([-0.03, -0.25, -0.2])
    assert cloud.intensity.tolist() == pytest.approx([0.4, 0, 0]) and cloud.intensity.dtype == np.float32
    assert cloud.classes.tolist() == [UNKNOWN, 3, 4] and cloud.classes.dtype == np.int16


def test_the_own_vehicle_of_the_past_is_left_out() -> None:
    now = Sweep(_cloud((0.5, 0, 1)), np.eye(4), NOW)
    past = Sweep(_cloud((0.5, 0, 1), (0, 1.5, 1)), rigid.planar(-3, 0, 0), NOW - 100_000_000)
    assert accumulated(now, [past]).xyz.tolist() == [[0.5, 0, 1], [-3, 1.5, 1]]
    assert len(accumulated(now, [past], near_m=0.0)) == 3


@pytest.mark.parametrize(("here", "there"), [(None, np.eye(4)), (np.eye(4), None)])
def test_without_a_pose_there_is_only_the_sweep_of_now(here, there) -> None:
    cloud = accumulated(Sweep(_cloud((9, 0, 0)), here, NOW), [Sweep(_cloud((5, 0, 0)), there, NOW - 100_000_000)])
    assert cloud.xyz.tolist() == [[9, 0, 0]] and cloud.time.tolist() == [0]
    assert cloud.intensity is None and cloud.classes is None


def test_empty_sweeps_are_no_trouble() -> None:
    cloud = accumulated(Sweep(_cloud(), np.eye(4), NOW), [Sweep(_cloud(), np.eye(4), NOW - 1)])
    assert cloud.xyz.shape == (0, 3) and cloud.time.shape == (0,)


def test_the_sweeps_given_stay_as_they_are() -> None:
    past = Sweep(_cloud((5, 0, 0), time=[-0.01]), rigid.planar(1, 0, 0), NOW - 100_000_000)
    accumulated(Sweep(_cloud((5, 0, 0)), np.eye(4), NOW), [past])
    assert past.points.xyz.tolist() == [[5, 0, 0]] and past.points.time.tolist() == pytest.approx([-0.01])


def test_classes_of_points_follow_those_of_objects() -> None:
    assert point_class_names(("car", "tram")) == ("car", "tram", *BACKGROUND)


def test_clouds_are_chosen_from_with_all_they_have() -> None:
    cloud = _cloud((1, 0, 0), (2, 0, 0), (3, 0, 0), time=[0, 1, 2], classes=[5, 6, 7], intensity=[0.1, 0.2, 0.3])
    for index in (np.array([False, True, True]), np.array([1, 2]), slice(1, None)):
        part = cloud[index]
        assert part.xyz[:, 0].tolist() == [2, 3] and part.time.tolist() == [1, 2] and part.classes.tolist() == [6, 7]
        assert part.intensity.tolist() == pytest.approx([0.2, 0.3])

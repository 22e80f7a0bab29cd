import numpy as np
import pytest

from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.datasets.cloud_map import CloudMap


def _map(*extra):
    x, y = np.meshgrid(np.arange(-10, 10, 0.2), np.arange(-10, 10, 0.2))
    ground = np.stack([x, y, 0.1 * x], -1).reshape(-1, 3)
    return CloudMap(PointCloud(np.concatenate([ground, np.array(extra).reshape(-1, 3)]).astype(np.float32)))


def test_heights_follow_a_slope_and_are_unknown_where_nothing_is_seen() -> None:
    heights = _map().heights(np.array([[0.0, 0.0], [8.0, -3.0], [40.0, 0.0], [500.0, 0.0], [-500.0, -500.0]]))
    assert heights[:2] == pytest.approx([0.0, 0.8], abs=0.15)
    assert np.isnan(heights[2:]).all()


def test_a_place_is_free_where_the_ground_is_level_and_nothing_stands() -> None:
    place = np.array([[2.0, 2.0], [2.5, 2.0]])
    assert _map().is_free(place, 0.2)
    assert not _map([2.1, 2.1, 1.0]).is_free(place, 0.2)
    assert _map([2.1, 2.1, 5.0]).is_free(place, 0.2), "what is above everybody's head is in nobody's way"
    assert not _map().is_free(place, 0.9)
    assert not _map().is_free(np.array([[80.0, 0.0]]), 0.0)


def test_a_map_of_nothing_knows_nothing() -> None:
    nothing = CloudMap(PointCloud(np.zeros((0, 3), np.float32)))
    assert np.isnan(nothing.heights(np.zeros((1, 2)))).all()

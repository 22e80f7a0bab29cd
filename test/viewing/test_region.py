"""Borders of what is labelled, in images and from above."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.viewing.region import LABELLED_COLOR, LEFT_OUT_COLOR, lines_from_above, lines_in_image

AHEAD = rigid.transform((1.0, 0.3, 1.5), np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
BOUND = st.floats(-0.6, 0.6)


def window_of(left: float, top: float, right: float, bottom: float) -> ViewWindow:
    return ViewWindow(AHEAD, min(left, right), min(top, bottom), max(left, right), max(top, bottom))


@given(BOUND, BOUND, BOUND, BOUND)
def test_in_its_own_camera_a_window_is_a_rectangle(view, left, top, right, bottom) -> None:
    camera = replace(view("CAM_FRONT", 0.0), T_ego_camera=AHEAD)
    window = window_of(left, top, right, bottom)
    K = camera.camera.K
    edges = np.array([[window.left, window.top], [window.right, window.bottom]]) * K[[0, 1], [0, 1]] + K[:2, 2]
    inside = np.clip(edges, -0.5, (447.5, 255.5))
    for region, color in ((LabelledRegion((window,)), LABELLED_COLOR), (LabelledRegion((), (window,)), LEFT_OUT_COLOR)):
        lines = lines_in_image(region, camera)
        assert all(line.color == color for line in lines)
        for points in (line.points for line in lines):
            assert (points >= inside[0] - 1e-6).all() and (points <= inside[1] + 1e-6).all()
        if (inside == edges).all() and (edges[1] - edges[0] > 1e-3).all():
            drawn = np.concatenate([line.points for line in lines])
            np.testing.assert_allclose([drawn.min(axis=0), drawn.max(axis=0)], edges, atol=1e-6)
            assert len(lines) == (4 if color == LABELLED_COLOR else 11)


def test_a_window_behind_is_in_no_image_of_the_front(view) -> None:
    region = LabelledRegion((window_of(-0.5, -0.3, 0.5, 0.3),))
    assert lines_in_image(region, view("CAM_BACK", 180.0)) == [] != lines_in_image(region, view("CAM_FRONT", 0.0))
    bent = view("CAM_FRONT", 0.0, D=np.array([-0.2, 0.03, 0.0, 0.0, 0.0]), distortion_model="plumb_bob")
    assert max(len(line.points) for line in lines_in_image(region, bent)) > 10, "a lens bends straight lines"


@given(st.floats(-0.9, 0.9), st.floats(0.01, 0.9), st.floats(5.0, 80.0) | st.just(np.inf))
def test_from_above_borders_part_what_counts_from_what_does_not(left, width, range_m) -> None:
    region = LabelledRegion((ViewWindow(AHEAD, left, -0.5, left + width, 0.5),), range_m=range_m)
    ((points, color),) = lines_from_above(region, 100.0)
    assert color == LABELLED_COLOR
    tip = AHEAD[:2, 3]
    ends = points[np.linalg.norm(points - tip, axis=1) > 1e-6]
    center = ends.mean(axis=0)
    for end in ends:
        # A hand's breadth towards the middle is inside, one away from it outside; at the camera's height.
        inward = (center - end) / np.linalg.norm(center - end)
        if np.linalg.norm(center - end) > 0.2:
            assert region.contains(np.array([[*(end + 0.05 * inward), 1.5]])).all()
            assert not region.contains(np.array([[*(end - 0.05 * inward), 1.5]])).any() or not np.isfinite(range_m)
    if np.isfinite(range_m):
        np.testing.assert_allclose(np.linalg.norm(ends, axis=1), range_m, atol=1e-6)


def test_a_range_alone_is_a_circle_and_no_region_is_nothing(view) -> None:
    ((points, _),) = lines_from_above(LabelledRegion(range_m=25.0), 100.0)
    assert np.linalg.norm(points, axis=1) == pytest.approx(25.0) and (points[0] == pytest.approx(points[-1], abs=1e-9))
    for region in (LabelledRegion(), LabelledRegion(range_m=25.0)):
        assert lines_in_image(region, view("CAM_FRONT", 0.0)) == []
    assert lines_from_above(LabelledRegion(), 100.0) == []

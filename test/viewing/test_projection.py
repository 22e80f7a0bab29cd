"""Outlines of boxes in images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import EDGES, Boxes3D
from semlt3d_ros.viewing.projection import clip_segments, project_outlines

FISHEYE = {"distortion_model": "equidistant", "D": np.array([0.05, -0.01, 0.002, 0.0])}
BARREL = {"distortion_model": "plumb_bob", "D": np.array([-0.3, 0.08, 0.001, -0.001, 0.0])}


def box(x, y, z=1.0, size=(4.0, 2.0, 1.6), yaw=0.0) -> Boxes3D:
    return Boxes3D(np.array([[x, y, z]]), np.array([size]), np.array([yaw]), np.zeros((1, 2)))


def test_a_box_ahead_has_all_twelve_edges_where_its_corners_project(view):
    front = view("CAM_FRONT", 0.0)
    boxes = box(15.0, 1.0, yaw=0.4)
    corners = rigid.apply(rigid.inverse(front.T_ego_camera), boxes.corners()[0])
    pixels, seen = front.camera.project(corners)
    assert seen.all()
    (outline,) = project_outlines(boxes, front)
    for polyline, (first, second) in zip(outline, EDGES, strict=True):
        np.testing.assert_allclose(polyline, pixels[[first, second]], atol=1e-9)


def test_a_box_behind_or_beside_the_camera_is_not_seen(view):
    front = view("CAM_FRONT", 0.0)
    for boxes in (box(-15.0, 0.0), box(0.0, 15.0), box(10.0, 30.0)):
        assert project_outlines(boxes, front) == [[]]
    assert project_outlines(Boxes3D.empty(), front) == []


def test_a_box_that_reaches_behind_the_camera_keeps_its_true_outline(view):
    """A long truck on the left, from 6 m behind to 14 m ahead: its side runs along one ray towards the horizon."""
    front = view("CAM_FRONT", 0.0)
    side_y, top_z = 2.0, 3.0
    (outline,) = project_outlines(box(4.0, side_y + 1.5, top_z / 2, (20.0, 3.0, top_z)), front)
    assert outline
    camera_height, focal, (cx, cy) = 1.6, 260.0, (223.5, 127.5)
    slope = (top_z - camera_height) / side_y
    # In the picture the near top edge is the line from the vanishing point with this slope, left and up.
    near_top = [line for line in outline if np.allclose((cy - line[:, 1]) - slope * (cx - line[:, 0]), 0, atol=1e-6)]
    assert len(near_top) == 1
    far_end = near_top[0][np.argmax(near_top[0][:, 0])]
    np.testing.assert_allclose(far_end, [cx - focal * side_y / 14, cy - focal * (top_z - camera_height) / 14])
    # The other end lies on the image's border, not somewhere across the picture.
    border = near_top[0][np.argmin(near_top[0][:, 0])]
    assert border[0] == pytest.approx(-0.5) or border[1] == pytest.approx(-0.5)
    # Nothing of a box on the left appears on the right.
    assert max(line[:, 0].max() for line in outline) < cx


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-20, 20), st.floats(-20, 20), st.floats(-2, 4), st.floats(0.3, 15), st.floats(0.3, 4), st.floats(-3, 3)
)
def test_outlines_stay_in_the_image_and_on_the_box(view, x, y, z, length, width, yaw):
    """Every end of a line is the picture of a point on an edge of the box, in front of the camera."""
    front = view("CAM_FRONT", 0.0)
    boxes = box(x, y, z, (length, width, 1.5), yaw)
    (outline,) = project_outlines(boxes, front)
    assume(outline)
    corners = rigid.apply(rigid.inverse(front.T_ego_camera), boxes.corners()[0])
    starts, ends = corners[np.array(EDGES)[:, 0]], corners[np.array(EDGES)[:, 1]]
    for pixel in np.concatenate(outline):
        assert -0.5 - 1e-6 <= pixel[0] <= 447.5 + 1e-6
        assert -0.5 - 1e-6 <= pixel[1] <= 255.5 + 1e-6
        ray = np.array([(pixel[0] - 223.5) / 260, (pixel[1] - 127.5) / 260, 1.0])
        assert min(ray_to_segment(ray, a, b) for a, b in zip(starts, ends, strict=True)) < 1e-6


def ray_to_segment(ray: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Tangent of the angle between a ray from the origin and the nearest point, ahead, of a segment."""
    normal = np.cross(ray, [1.0, 0.0, 0.0]), np.cross(ray, [0.0, 1.0, 0.0])
    away_a = np.array([a @ n for n in normal])
    change = np.array([(b - a) @ n for n in normal])
    share = np.clip(-(away_a @ change) / max(change @ change, 1e-12), 0, 1)
    candidates = [a + share * (b - a), a, b]
    ahead = [p for p in candidates if p[2] > 0.05]
    return min((float(np.hypot(*(p[:2] / p[2] - ray[:2]))) for p in ahead), default=np.inf)


@pytest.mark.parametrize("lens", [BARREL, FISHEYE], ids=["barrel", "fisheye"])
def test_edges_bend_with_the_lens(view, lens):
    """Points of the polyline are pictures of points along the edge, and their middle leaves the chord."""
    bent = view("CAM_FRONT", 0.0, **lens)
    boxes = box(6.0, 0.0, 1.6, (2.0, 8.0, 4.0))
    (outline,) = project_outlines(boxes, bent)
    assert len(outline) >= 12
    leaving = []
    for line in outline:
        assert (line >= -0.5).all()
        chord = (line[-1] - line[0]) / max(np.linalg.norm(line[-1] - line[0]), 1e-9)
        offset = line[len(line) // 2] - line[0]
        leaving.append(abs(chord[0] * offset[1] - chord[1] * offset[0]))
    assert max(leaving) > 1.0


def test_a_bending_lens_sees_nothing_of_what_is_behind_it(view):
    for lens in (BARREL, FISHEYE):
        assert project_outlines(box(-15.0, 0.0), view("CAM_FRONT", 0.0, **lens)) == [[]]


def test_clip_segments_by_hand():
    values = np.array(
        [
            [[1.0], [3.0]],  # inside
            [[-1.0], [3.0]],  # enters after a quarter
            [[3.0], [-1.0]],  # leaves after three quarters
            [[-1.0], [-2.0]],  # outside
            [[-1.0], [-1.0]],  # outside, parallel
            [[1.0], [1.0]],  # inside, parallel
        ]
    )
    shares = clip_segments(values)
    np.testing.assert_allclose(shares[[0, 1, 2, 5]], [[0, 1], [0.25, 1], [0, 0.75], [0, 1]])
    assert (shares[[3, 4], 0] > shares[[3, 4], 1]).all()

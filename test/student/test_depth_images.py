"""Images made of depth: where points fall, how holes close, and what the channels say."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.depth_images import FARTHEST_M, densified, nearest_depths, seeing_depth

HEIGHT, WIDTH = 24, 40


def looking_ahead(views: int = 1) -> Batch:
    """A camera 1.5 m high that looks along x."""
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    pose[2, 3] = 1.5
    return Batch(
        torch.full((1, views, 3, HEIGHT, WIDTH), 77, dtype=torch.uint8),
        torch.tensor([[20.0, 0.0, 19.5], [0.0, 20.0, 11.5], [0.0, 0.0, 1.0]]).repeat(1, views, 1, 1),
        pose.repeat(1, views, 1, 1),
        torch.ones(1, views, dtype=torch.bool),
        torch.zeros(1, dtype=torch.int64),
        torch.full((1, 4, 4), torch.nan, dtype=torch.float64),
    )


def test_the_nearest_point_of_a_pixel_is_seen() -> None:
    points = torch.tensor(
        [[20.0, 0.0, 1.5], [10.0, 0.0, 1.5], [-10.0, 0.0, 1.5], [10.0, 50.0, 1.5], [FARTHEST_M + 1, 0.3, 1.5]]
    )
    depth = nearest_depths(looking_ahead(), [points])
    place = depth[0, 0].nonzero()
    assert len(place) == 1 and depth[0, 0][tuple(place[0])].item() == 10.0
    assert abs(place[0, 0] - 11.5) <= 0.5 and abs(place[0, 1] - 19.5) <= 0.5


def test_holes_close_and_the_nearer_surface_wins() -> None:
    depth = torch.zeros(1, HEIGHT, WIDTH)
    depth[0, 4:20:4, 4:36:4] = 30.0
    depth[0, 12, 20] = 8.0
    dense = densified(depth)
    assert (dense[0, 4:17, 4:33] > 0).all() and dense[0, 12, 20].item() == pytest.approx(8.0, abs=1e-4)
    assert dense[0, 12, 21].item() == pytest.approx(8.0, abs=1e-4)  # the nearer one grows
    assert dense[0, 4, 4].item() == pytest.approx(30.0, abs=1e-4)
    assert dense[0, 0, 39] == 0  # far from everything nothing is known
    assert not densified(torch.zeros(1, HEIGHT, WIDTH)).any()


def test_channels_say_depth_its_logarithm_and_height() -> None:
    points = torch.tensor([[x, y / 4, 0.0] for x in (5.0, 6.0, 8.0, 10.0, 20.0) for y in range(-80, 80)])
    images = seeing_depth(looking_ahead(), [points]).images[0, 0]
    assert images.dtype == torch.uint8 and images.shape == (3, HEIGHT, WIDTH)
    known = images[0] > 0
    assert known.any() and not known.all() and torch.equal(known, images[2] > 0)
    # The ground at 8 m is seen 20 * 1.5 / 8 rows below the middle; it is 3 of 9 m above the least that is told apart.
    linear, logarithm, height = images[:, round(11.5 + 20 * 1.5 / 8), WIDTH // 2].tolist()
    assert linear == round(1 + 254 * 8 / FARTHEST_M) and logarithm == round(1 + 254 * math.log(16) / math.log(160))
    assert height == pytest.approx(1 + 254 * 3 / 9, abs=5)  # within a pixel


def test_views_that_are_not_there_and_frames_without_points_show_nothing() -> None:
    batch, points = looking_ahead(2), torch.tensor([[5.0, 0.0, 1.0]])
    batch.valid[0, 1] = False
    images = seeing_depth(batch, [points]).images
    assert images[0, 0].any() and not images[0, 1].any()
    assert not seeing_depth(batch, [points[:0]]).images.any()


@given(st.lists(st.tuples(*[st.floats(-200, 200, width=32)] * 3), max_size=40))
def test_any_points_make_images(rows) -> None:
    batch = looking_ahead()
    points = torch.tensor(rows, dtype=torch.float32).reshape(-1, 3)
    images = seeing_depth(batch, [points]).images
    assert images.dtype == torch.uint8 and images.shape == batch.images.shape
    # Turned about the vertical together with the camera, the world looks the same.
    turn = torch.tensor([[0.0, -1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    turned = seeing_depth(replace(batch, T_ego_camera=turn @ batch.T_ego_camera), [points @ turn[:3, :3].T]).images
    assert ((turned.int() - images.int()).abs() <= 1).all()

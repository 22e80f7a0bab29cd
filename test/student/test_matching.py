"""What the matching calls near is what the box codes say."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.losses.matcher import _distances
from semlt3d_ros.student.geometry import encode_boxes


@given(st.integers(0, 2**31), st.integers(0, 6), st.integers(1, 6))
def test_distances_are_those_of_the_codes_of_every_pair(seed, boxes, queries) -> None:
    chance = torch.Generator().manual_seed(seed)
    codes, references = torch.randn(queries, 10, generator=chance), torch.randn(queries, 3, generator=chance) * 20
    references[0] = 0.0  # the vehicle itself: no direction is special there
    objects = torch.randn(boxes, 9, generator=chance) * 9
    objects[:, 3:6] = objects[:, 3:6].abs()
    pairs = references[:, None].expand(-1, boxes, -1)
    error = (codes[:, None] - encode_boxes(objects[None].expand(queries, -1, -1), pairs)).abs()
    position, shape = _distances(codes, references, objects)
    assert torch.allclose(position, error[..., :3].sum(-1), atol=1e-4)
    assert torch.allclose(shape, error[..., 3:8].sum(-1), atol=1e-4)

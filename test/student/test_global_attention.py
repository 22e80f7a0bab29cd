"""Global cross-attention: where its tokens say they are, and that it is softmax attention over the valid views."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.student.attention import ImageContext
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.global_attention import DepthPointEncoding, GlobalAttention, linear_increasing_depths
from semlt3d_ros.student.student import Student


@pytest.fixture
def wide(config):
    return replace(config, cross_attention="global", depth_points=5, proposals=0)


def context_of(config, frames, seed: int = 0) -> ImageContext:
    """Random features of all levels, with a random position embedding of the tokens."""
    torch.manual_seed(seed)
    batch = collate(frames, config.image_width, config.image_height)
    shape = batch.valid.shape
    features = [torch.randn(*shape, config.width, 64 // stride, 96 // stride) for stride in config.strides]
    context = ImageContext(features, batch, config.strides, config.token_level)
    context.token_position = torch.randn(shape[0], shape[1] * 4 * 6, config.width)
    return context


@given(st.integers(2, 80), st.floats(0.2, 2.0), st.floats(20.0, 200.0))
def test_depths_grow_by_linearly_growing_steps(points, nearest, farthest) -> None:
    depths = linear_increasing_depths(points, nearest, farthest).double().numpy()
    steps = np.diff(depths)
    assert np.isclose(depths[0], nearest) and np.isclose(depths[-1], farthest)
    assert np.allclose(steps, steps[0] * np.arange(1, points), rtol=1e-2, atol=1e-4)


def test_one_depth_point_is_the_nearest() -> None:
    assert linear_increasing_depths(1, 1.0, 60.0).tolist() == [1.0]


def test_tokens_are_encoded_by_the_points_along_their_rays(wide, frames) -> None:
    """The network's input equals an unprojection in plain NumPy, cell by cell."""
    encoding = DepthPointEncoding(wide)
    given_points: list[torch.Tensor] = []
    encoding.mix = torch.nn.Sequential(torch.nn.Identity())
    encoding.mix.register_forward_hook(lambda module, values, output: given_points.append(values[0]))
    context = context_of(wide, frames)
    assert encoding(context, wide.token_level).shape == (3, 6 * 24, 15)
    points = given_points[0].reshape(3, 6, 4, 6, 5, 3).numpy() * wide.range_m
    depths = linear_increasing_depths(5, 1.0, 1.2 * wide.range_m).numpy()
    for view_number, view in enumerate(frames[0].views):
        for row in range(4):
            for column in range(6):
                pixel = [(column + 0.5) * 16 - 0.5, (row + 0.5) * 16 - 0.5, 1.0]
                ray = np.linalg.inv(view.camera.K) @ pixel
                expected = depths[:, None] * ray @ view.T_ego_camera[:3, :3].T + view.T_ego_camera[:3, 3]
                assert np.allclose(points[0, view_number, row, column], expected, atol=1e-3)


@torch.no_grad()
def test_position_embeddings_follow_the_calibration_alone(wide, frames) -> None:
    encoding, first = DepthPointEncoding(wide), frames[0]
    plain = encoding(context_of(wide, [first]), wide.token_level)
    assert torch.equal(plain, encoding(context_of(wide, [first], seed=1), wide.token_level))
    moved = np.eye(4)
    moved[:3, 3] = [0.5, 0.0, 0.0]
    views = (replace(first.views[0], T_ego_camera=moved @ first.views[0].T_ego_camera), *first.views[1:])
    other = encoding(context_of(wide, [replace(first, views=views)]), wide.token_level)
    assert torch.equal(plain[:, 24:], other[:, 24:]) and not torch.allclose(plain[:, :24], other[:, :24], atol=1e-4)


@torch.no_grad()
def test_equals_softmax_attention_written_out(wide, frames) -> None:
    attention = GlobalAttention(wide)
    torch.nn.init.normal_(attention.attention.in_proj_bias)
    context = context_of(wide, frames)
    context.batch.valid[1, 2:4] = False
    queries = torch.randn(3, 7, wide.width)
    got = attention(queries, torch.zeros(3, 7, 3), context)

    weight, bias = attention.attention.in_proj_weight.chunk(3), attention.attention.in_proj_bias.chunk(3)
    feature = context.features[wide.token_level]
    heads, size = wide.heads, wide.width // wide.heads
    for b in range(3):
        cells = [feature[b, v, :, y, x] for v in range(6) for y in range(4) for x in range(6)]
        tokens = torch.stack(cells)
        seen = context.batch.valid[b].repeat_interleave(24)
        q = queries[b] @ weight[0].T + bias[0]
        k = ((tokens + context.token_position[b]) @ weight[1].T + bias[1])[seen]
        v = (tokens @ weight[2].T + bias[2])[seen]
        parts = []
        for head in range(heads):
            rows = slice(head * size, (head + 1) * size)
            share = (q[:, rows] @ k[:, rows].T / size**0.5).softmax(-1)
            parts.append(share @ v[:, rows])
        out = attention.attention.out_proj
        expected = torch.cat(parts, -1) @ out.weight.T + out.bias
        assert torch.allclose(got[b], expected, atol=1e-5)


@torch.no_grad()
def test_invalid_views_contribute_nothing(wide, frames) -> None:
    attention, queries = GlobalAttention(wide), torch.randn(3, 5, wide.width)
    context = context_of(wide, frames)
    context.batch.valid[:, 0] = False
    before = attention(queries, torch.zeros(3, 5, 3), context)
    context.features[wide.token_level][:, 0] = 1e4
    assert torch.equal(before, attention(queries, torch.zeros(3, 5, 3), context))
    context.features[wide.token_level][:, 1] += 1.0
    assert not torch.allclose(before, attention(queries, torch.zeros(3, 5, 3), context), atol=1e-3)


def test_a_frame_without_views_gives_zeros_and_the_others_are_unharmed(wide, frames) -> None:
    attention, queries = GlobalAttention(wide), torch.randn(3, 5, wide.width, requires_grad=True)
    context = context_of(wide, frames)
    whole = attention(queries, torch.zeros(3, 5, 3), context)
    context.batch.valid[1] = False
    blind = attention(queries, torch.zeros(3, 5, 3), context)
    assert not blind[1].any() and torch.equal(blind[::2], whole[::2])
    blind.square().sum().backward()
    assert queries.grad is not None and torch.isfinite(queries.grad).all() and not queries.grad[1].any()


@torch.no_grad()
def test_the_whole_student_bears_blind_frames_and_shuffled_cameras(wide, frames) -> None:
    student = Student(wide).eval()
    frame = frames[0]

    def boxes(*given_frames):
        return student(collate(list(given_frames), 96, 64)).layers[-1].boxes()

    plain = boxes(frame)
    order = np.random.default_rng(3).permutation(6)
    assert torch.allclose(plain, boxes(replace(frame, views=tuple(frame.views[i] for i in order))), atol=1e-3)
    fewer = replace(frame, views=frame.views[:4])
    together = boxes(frame, fewer, replace(frame, views=()))
    assert torch.allclose(together[:1], plain, atol=1e-3) and torch.allclose(together[1:2], boxes(fewer), atol=1e-3)
    assert torch.isfinite(together).all()

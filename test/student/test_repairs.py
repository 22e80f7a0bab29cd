"""Positions of tokens and queries, dropout and image statistics: off as they were, on as they should be."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.checkpoints.checkpoint import load_student, read_config, save_checkpoint
from semlt3d_ros.checkpoints.shipped import default_checkpoint
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.attention import ImageContext
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import PositionEncoding
from semlt3d_ros.student.features import ImageFeatures
from semlt3d_ros.student.geometry import cell_centers, unproject
from semlt3d_ros.student.global_attention import DepthPointEncoding
from semlt3d_ros.student.student import Student


@pytest.fixture
def wide(config):
    return replace(config, cross_attention="global", depth_points=6, proposals=0)


def context_of(config, frames) -> ImageContext:
    batch = collate(frames, config.image_width, config.image_height)
    shape = batch.valid.shape
    features = [torch.randn(*shape, config.width, 64 // stride, 96 // stride) for stride in config.strides]
    return ImageContext(features, batch, config.strides, config.token_level)


def test_heights_of_token_points_span_the_unit_interval(wide, frames) -> None:
    context = context_of(wide, frames)
    plain = DepthPointEncoding(wide).coordinates(context, wide.token_level)
    own = DepthPointEncoding(replace(wide, token_height_m=8.0)).coordinates(context, wide.token_level)
    assert torch.equal(own[..., :2], plain[..., :2])
    pixels = cell_centers(4, 6, 16, torch.device("cpu")).flatten(0, 1)
    depths = DepthPointEncoding(wide).depths
    batch = context.batch
    points = unproject(
        pixels[None, None, :, None].expand(3, 6, 24, 6, 2),
        depths.expand(3, 6, 24, 6),
        batch.intrinsics[:, :, None, None],
        batch.T_ego_camera[:, :, None, None],
    )
    assert torch.allclose(own[..., 2], (points[..., 2] / 8.0).clamp(-1, 1), atol=1e-5)
    assert torch.allclose(plain, points / wide.range_m, atol=1e-5)
    assert own[..., 2].amin() == -1.0 and own[..., 2].amax() == 1.0
    # At 10 m, where objects are: two rows of tokens are told apart as much as by their direction on the ground.
    near = (depths - 10.0).abs().argmin()
    rows = own[0, 0, :, near, 2].unflatten(0, (4, 6))[:, 0]
    before = plain[0, 0, :, near, 2].unflatten(0, (4, 6))[:, 0]
    assert (rows[:-1] - rows[1:]).min() > 3 * (before[:-1] - before[1:]).max()


def test_what_a_token_shows_scales_its_embedding_only_where_gated(wide, frames) -> None:
    context, gated = context_of(wide, frames), DepthPointEncoding(replace(wide, gated_tokens=True))
    plain = DepthPointEncoding(wide)
    plain.mix.load_state_dict(gated.mix.state_dict())
    with torch.no_grad():
        ratio = gated(context, wide.token_level) / plain(context, wide.token_level)
    assert (ratio > 0).all() and (ratio < 1).all() and ratio.std() > 1e-3
    features = list(context.features)
    features[wide.token_level] = features[wide.token_level].clone()
    features[wide.token_level][0, 0, :, 0, 0] += 1.0
    other = replace(context, features=features)
    with torch.no_grad():
        changed = (gated(other, wide.token_level) != gated(context, wide.token_level)).any(-1)
        assert torch.equal(plain(other, wide.token_level), plain(context, wide.token_level))
    assert changed.sum() == 1 and changed[0, 0], "only the token that shows something else"


def inputs_of(encoding: PositionEncoding, references: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    encoding.mix = torch.nn.Sequential(torch.nn.Identity())
    encoding.mix.register_forward_hook(lambda module, values, output: seen.append(values[0]))
    encoding(references)
    return seen[0]


@settings(max_examples=100)
@given(st.floats(-math.pi, math.pi), st.floats(0.5, 60.0), st.integers(1, 8))
def test_directions_are_sine_waves_of_the_azimuth(azimuth, distance, octaves) -> None:
    encoding = PositionEncoding(StudentConfig(azimuth_octaves=octaves))
    point = torch.tensor([[distance * math.cos(azimuth), distance * math.sin(azimuth), 1.0]])
    waves = inputs_of(encoding, point)[0, -2 * octaves :].unflatten(0, (octaves, 2))
    angles = azimuth * 2.0 ** np.arange(octaves)
    assert np.allclose(waves.numpy(), np.stack([np.cos(angles), np.sin(angles)], -1), atol=2e-3)


def test_two_degrees_make_a_difference_only_with_sine_waves() -> None:
    azimuth = torch.tensor([0.3, 0.3 + math.radians(2.0)])
    points = torch.stack([30 * azimuth.cos(), 30 * azimuth.sin(), torch.full((2,), 0.8)], -1)
    for octaves, (least, most) in ((0, (0.0, 0.05)), (6, (0.5, 2.0))):
        encoding = PositionEncoding(StudentConfig(azimuth_octaves=octaves))
        first, second = inputs_of(encoding, points)
        assert least <= float((first - second).abs().max()) <= most


def test_the_origin_has_a_direction_like_any_other() -> None:
    encoding = PositionEncoding(StudentConfig(azimuth_octaves=6))
    values = inputs_of(encoding, torch.zeros(1, 3))
    assert values.isfinite().all() and values.abs().max() <= 1.0


@pytest.mark.parametrize("attention", ["sampled", "global"])
@pytest.mark.parametrize("block", ["plain", "feature_experts"])
def test_dropout_acts_in_training_alone(config, frames, attention, block) -> None:
    config = replace(config, cross_attention=attention, block=block, expert_width=16, shared_width=16)
    batch = collate(frames, config.image_width, config.image_height)
    torch.manual_seed(0)
    plain = Student(config).eval()
    dropping = Student(replace(config, dropout=0.4)).eval()
    dropping.load_state_dict(plain.state_dict())
    with torch.no_grad():
        steady = plain(batch).layers
        for one, other in zip(dropping(batch).layers, steady, strict=True):
            assert torch.equal(one.logits, other.logits) and torch.equal(one.codes, other.codes)
        for student, varies in ((plain, False), (dropping, True)):
            student.decoder.train()
            first, second = student(batch).layers, student(batch).layers
            assert torch.equal(first[0].logits, second[0].logits) != varies


@pytest.mark.parametrize("block", ["plain", "feature_experts"])
def test_dropout_is_where_it_is_said_to_be(config, block) -> None:
    """In the weights of both attentions, on what each of the three parts adds, and on hidden units."""
    config = replace(config, cross_attention="global", block=block, dropout=0.3)
    for layer in Student(config).decoder.layers:
        assert layer.self_attention.dropout == layer.cross_attention.attention.dropout == 0.3
        assert layer.dropout.p == layer.feed_forward.dropout.p == 0.3
        queries = torch.randn(1, 9, config.width)
        layer.feed_forward.train()
        results = [layer.feed_forward(queries, None)[0] for _ in range(2)]
        assert not torch.equal(*results)


def test_images_are_normalised_by_the_statistics_of_the_config(config, frames, tmp_path) -> None:
    exact = replace(config, image_mean=(123.675, 116.28, 103.53), image_deviation=(58.395, 57.12, 57.375))
    batch = collate(frames, config.image_width, config.image_height)
    seen: list[torch.Tensor] = []
    features = ImageFeatures(exact)
    features.backbone.register_forward_pre_hook(lambda module, values: seen.append(values[0]))
    features.eval()(batch)
    wanted = (batch.images.flatten(0, 1).double() - torch.tensor(exact.image_mean).double()[:, None, None]) / (
        torch.tensor(exact.image_deviation).double()[:, None, None]
    )
    assert torch.allclose(seen[0].double(), wanted, atol=2e-6)
    save_checkpoint(tmp_path / "exact.safetensors", Student(exact), "exact", {})
    student, _ = load_student(tmp_path / "exact.safetensors")
    assert torch.equal(student.features.mean, torch.tensor([123.675, 116.28, 103.53]))
    assert torch.equal(student.features.deviation, torch.tensor([58.395, 57.12, 57.375]))


def test_a_checkpoint_without_these_entries_is_what_it_was() -> None:
    config = read_config(default_checkpoint())
    assert config.image_mean == (123.7, 116.3, 103.5) and config.image_deviation == (58.4, 57.1, 57.4)
    assert (config.token_height_m, config.gated_tokens, config.azimuth_octaves, config.dropout) == (0.0, False, 0, 0.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"token_height_m": -1.0}, "token_height_m"),
        ({"azimuth_octaves": -1}, "azimuth_octaves"),
        ({"image_deviation": [58.0, 0.0, 57.0]}, "image_deviation"),
        ({"image_mean": [1.0, 2.0]}, "image_mean"),
    ],
)
def test_values_that_make_no_sense_are_refused(change, told) -> None:
    with pytest.raises(ConfigurationError, match=told):
        StudentConfig.from_dict(change)

"""Sampled attention against torch's own bilinear sampling."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from semlt3d_ros.student.attention import ImageContext, SampledAttention
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.geometry import project


def test_equals_a_plain_grid_sample(config, frames) -> None:
    """With uniform weights and identity projections the output is the mean of bilinear samples of the seeing views."""
    config = replace(config, heads=2, view_limit=6)
    attention = SampledAttention(config)
    with torch.no_grad():
        attention.value.weight.copy_(torch.eye(config.width))
        attention.output.weight.copy_(torch.eye(config.width))
        attention.value.bias.zero_()
        attention.output.bias.zero_()
    batch = collate(frames, config.image_width, config.image_height)
    features = [torch.randn(3, 6, config.width, 64 // s, 96 // s) for s in config.strides]
    references = torch.rand(3, 9, 3) * 30 - 15
    got = attention(torch.randn(3, 9, config.width), references, ImageContext(features, batch, config.strides))

    points = attention._key_points(torch.zeros(3, 9, config.width), references)
    pixels, depth = project(points.flatten(1, 2), batch.intrinsics, batch.T_ego_camera)
    inside = (depth > 0.5) & (pixels > -0.5).all(-1) & (pixels[..., 0] < 95.5) & (pixels[..., 1] < 63.5)
    total = torch.zeros(3, 9 * config.key_points, config.width)
    for feature in features:
        grid = (pixels + 0.5) / torch.tensor([96.0, 64.0]) * 2 - 1
        sampled = F.grid_sample(
            feature.flatten(0, 1), grid.flatten(0, 1)[:, None], align_corners=False, padding_mode="zeros"
        )
        sampled = sampled[:, :, 0].unflatten(0, (3, 6)).transpose(2, 3) * inside[..., None]
        total = total + sampled.sum(1) / inside.sum(1).clamp_min(1)[..., None]
    expected = total.unflatten(1, (9, -1)).mean(2) / len(features)
    assert inside.any() and torch.allclose(got, expected, atol=1e-5)


def test_gradients_reach_features_and_key_points(config, frames) -> None:
    attention = SampledAttention(config)
    batch = collate(frames, config.image_width, config.image_height)
    features = [torch.randn(3, 6, config.width, 64 // s, 96 // s, requires_grad=True) for s in config.strides]
    references = torch.tensor([[[12.0, 0.5, 1.0]]]).expand(3, -1, -1)
    attention(
        torch.randn(3, 1, config.width), references, ImageContext(features, batch, config.strides)
    ).square().sum().backward()
    assert all(feature.grad is not None and feature.grad.abs().sum() > 0 for feature in features)
    assert attention.offsets.bias.grad is not None and attention.offsets.bias.grad.abs().sum() > 0


def test_invalid_views_are_not_looked_at(config, frames) -> None:
    attention = SampledAttention(config)
    batch = collate(frames, config.image_width, config.image_height)
    batch.valid[:, 0] = False
    features = [torch.zeros(3, 6, config.width, 64 // s, 96 // s) for s in config.strides]
    queries, references = torch.randn(3, 5, config.width), torch.rand(3, 5, 3) * 30 - 15
    before = attention(queries, references, ImageContext(features, batch, config.strides))
    for feature in features:
        feature[:, 0] = 1e6
    assert torch.equal(before, attention(queries, references, ImageContext(features, batch, config.strides)))

"""xModel-KD's contrast: pairs of points and pixels, InfoNCE by hand, gradients, and what does not count."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.distillation.xmodel import FusionEncoder, Pairs, PixelFeatures, alike, info_nce, seen_pairs, spread_out
from semlt3d_ros.distillation.xmodel_settings import XModel
from semlt3d_ros.student.backbone import make_backbone

CELL = 8


def cloud_of(rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 3)


def first(points: torch.Tensor) -> torch.Tensor:
    """All of the first frame."""
    return torch.zeros(len(points), dtype=torch.int64)


def seen(rows, batch, cell=CELL) -> Pairs:
    """Pairs of points of the first frame."""
    points = cloud_of(rows)
    return seen_pairs(points, first(points), batch, cell)


@pytest.fixture
def pixels() -> PixelFeatures:
    backbone = make_backbone("resnet10t", channels=[8, 16, 24, 32], stem_width=8)
    return PixelFeatures(backbone, (8, 16)).eval()


@pytest.fixture
def encoder(pixels) -> FusionEncoder:
    return FusionEncoder(12, pixels, XModel(weight=1.0, width=16)).train()


@pytest.fixture
def points() -> torch.Tensor:
    """Some forty points before and behind the vehicle, all in view of one camera."""
    away = torch.linspace(6.0, 20.0, 20)
    ahead = torch.stack([away, away * torch.linspace(-0.5, 0.5, 20), torch.linspace(0.2, 2.0, 20)], 1)
    return torch.cat([ahead, ahead * torch.tensor([-1.0, 1.0, 1.0])])


def test_a_point_is_paired_with_the_view_that_sees_it(batch) -> None:
    found = seen([[10, 0, 1.5], [-10, 0, 1.5]], batch)
    assert found.point.tolist() == [0, 1] and found.image.tolist() == [0, 1]
    assert torch.allclose(found.pixels, torch.tensor([[31.5, 12.0], [31.5, 12.0]]))


def test_points_outside_all_views_are_in_no_pair(batch) -> None:
    beside, above, at_the_lens = [0, 10, 1.5], [10, 0, 9.0], [0.1, 0, 1.5]
    found = seen([beside, above, at_the_lens], batch)
    assert len(found.point) == 0
    absent = replace(batch, valid=torch.zeros_like(batch.valid))
    assert len(seen([[10, 0, 1.5]], absent).point) == 0


def test_a_point_that_two_views_see_is_in_two_pairs(batch) -> None:
    batch.T_ego_camera[:, 1] = batch.T_ego_camera[:, 0]
    batch.T_ego_camera[:, 1, 1, 3] = 0.5  # beside the other, and looks the same way
    found = seen([[10, 0, 1.5]], batch)
    assert found.point.tolist() == [0, 0] and found.image.tolist() == [0, 1]
    assert found.pixels[1, 0] - found.pixels[0, 0] == pytest.approx(40 * 0.5 / 10, abs=1e-4)


def test_points_of_the_second_frame_look_at_its_views(batch) -> None:
    points = cloud_of([[10, 0, 1.5], [10, 0, 1.5]])
    found = seen_pairs(points, torch.tensor([1, 0]), batch, CELL)
    assert sorted(zip(found.point.tolist(), found.image.tolist(), strict=True)) == [(0, 2), (1, 0)]


def test_what_hides_behind_something_is_in_no_pair(batch) -> None:
    near, just_behind, hidden, beside = [6, 0, 1.5], [6.4, 0, 1.5], [12, 0, 1.5], [12, 4, 1.5]
    found = seen([near, just_behind, hidden, beside], batch)
    assert sorted(found.point.tolist()) == [0, 1, 3]


def test_a_cell_gives_one_pair_at_the_most(batch) -> None:
    points = torch.cat([cloud_of([[10, 0, 1.5]]).repeat(200, 1), cloud_of([[10, 3, 1.5], [-10, 0, 1.5]])])
    pairs = seen_pairs(points, first(points), batch, CELL)
    assert len(pairs.point) == 202
    chosen = spread_out(pairs, CELL, 100)
    assert len(chosen.point) == 3 and {200, 201} < set(chosen.point.tolist())
    assert len(spread_out(pairs, CELL, 2).point) == 2


def test_every_point_of_a_cell_has_a_chance(batch) -> None:
    points = cloud_of([[10, 0, 1.5]]).repeat(4, 1)
    pairs = seen_pairs(points, first(points), batch, CELL)
    assert {int(spread_out(pairs, CELL, 9).point) for _ in range(60)} == {0, 1, 2, 3}


def test_info_nce_by_hand() -> None:
    points, pixels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    found = info_nce(points, pixels, torch.tensor([0, 1]), 0.5)
    # Cosines: 1 and 0.6 for the first point, 0 and 0.8 for the second one; over 0.5 that is 2, 1.2 and 0, 1.6.
    assert found.tolist() == pytest.approx([math.log(1 + math.exp(-0.8)), math.log(1 + math.exp(-1.6))])


def test_other_views_of_the_same_point_are_no_negatives() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    told_apart = info_nce(features, features, torch.tensor([0, 1, 2]), 1.0)
    same = info_nce(features, features, torch.tensor([7, 7, 2]), 1.0)
    assert told_apart[0] > same[0] and same[0] == pytest.approx(math.log(1 + math.exp(-1)))
    assert told_apart[2] == same[2]
    excused = torch.zeros(3, 3, dtype=torch.bool)
    excused[0, 1] = excused[1, 0] = True
    assert torch.equal(info_nce(features, features, torch.tensor([0, 1, 2]), 1.0, excused), same)
    # An excuse never takes the point's own pixel.
    assert torch.isfinite(info_nce(features, features, torch.tensor([0, 1, 2]), 1.0, torch.ones(3, 3) > 0)).all()


@given(st.integers(2, 7), st.integers(0, 1000))
def test_perfect_alignment_is_the_minimum(count: int, seed: int) -> None:
    """Pixels at the corners of a simplex, as unlike as they can be: a point does best at its own corner."""
    corners = F.normalize(torch.eye(count) - 1 / count, dim=1)
    wanted = info_nce(corners, corners, torch.arange(count), 0.1)
    gap = 1 + 1 / (count - 1)  # of cosines: 1 to its own corner, -1 / (n - 1) to the others
    assert wanted.tolist() == pytest.approx([math.log(1 + (count - 1) * math.exp(-gap / 0.1))] * count, abs=1e-5)
    torch.manual_seed(seed)
    elsewhere = corners + 0.5 * torch.randn(count, count) * (1 - 1 / count)
    assert (info_nce(elsewhere, corners, torch.arange(count), 0.1) >= wanted - 1e-5).all()
    at_rest = corners.clone().requires_grad_()
    info_nce(at_rest, corners, torch.arange(count), 0.1).sum().backward()
    assert at_rest.grad.abs().max() < 1e-4


def test_pixels_that_are_alike_may_be_excused() -> None:
    found = alike(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), 0.95)
    assert found.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_gradients_reach_the_points_and_no_frozen_image_encoder(encoder, batch, points) -> None:
    features = torch.randn(len(points), 12, requires_grad=True)
    encoder(features, points, first(points), batch).backward()
    assert features.grad.abs().sum() > 0
    assert encoder.of_pixels.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.pixels.parameters())
    assert not any(module.training for module in encoder.pixels.modules())


def test_an_image_encoder_may_learn_along(pixels, batch, points) -> None:
    encoder = FusionEncoder(12, PixelFeatures(pixels.backbone, (8, 16), learning=True), XModel()).train()
    encoder(torch.randn(len(points), 12), points, first(points), batch).backward()
    assert encoder.pixels.backbone.conv1[0].weight.grad.abs().sum() > 0 and encoder.pixels.backbone.training


def test_it_can_be_learnt(encoder, batch, points) -> None:
    """What is told of points comes to tell them apart as their pixels do."""
    features = torch.randn(len(points), 12, requires_grad=True)
    heads = [*encoder.of_points.parameters(), *encoder.of_pixels.parameters()]
    optimizer = torch.optim.Adam([features, *heads], 1e-3)
    losses = []
    for _ in range(300):
        torch.manual_seed(1)  # the same pairs
        loss = encoder(features, points, first(points), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0], losses[::10]


@pytest.mark.parametrize("rows", [[], [[0.0, 10.0, 1.5]]], ids=["no points", "no point in view"])
def test_without_pairs_there_is_nothing_to_learn(encoder, batch, rows) -> None:
    points = cloud_of(rows)
    features = torch.randn(len(points), 12, requires_grad=True)
    loss = encoder(features, points, first(points), batch)
    loss.backward()
    assert loss == 0 and (features.grad is None or not features.grad.any())


def test_a_single_pair_costs_nothing(encoder, batch) -> None:
    points = cloud_of([[10, 0, 1.5]])
    assert encoder(torch.randn(1, 12), points, first(points), batch) == 0


def test_weight_and_temperature_are_the_recipes(pixels, batch, points) -> None:
    features = torch.randn(len(points), 12)

    def loss(**settings) -> float:
        torch.manual_seed(3)
        encoder = FusionEncoder(12, pixels, XModel(**settings))
        return encoder(features, points, first(points), batch).item()

    assert loss(weight=0.5) == pytest.approx(5 * loss(weight=0.1))
    assert loss(temperature=1.0) != loss(temperature=0.1)


def test_mixed_precision(encoder, batch, points) -> None:
    features = torch.randn(len(points), 12)
    torch.manual_seed(5)
    exact = encoder(features, points, first(points), batch)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(5)
        rough = encoder(features.bfloat16().requires_grad_(), points, first(points), batch)
    rough.backward()
    assert rough.dtype == torch.float32 and rough.item() == pytest.approx(exact.item(), rel=0.05)


def test_processes_share_a_step(encoder, batch, points) -> None:
    """Twice as many pairs over all processes: each one's part of the mean is half as large."""
    features = torch.randn(len(points), 12)
    torch.manual_seed(2)
    alone = encoder(features, points, first(points), batch)
    torch.manual_seed(2)
    shared = encoder(features, points, first(points), batch, lambda values: 2 * values)
    assert shared.item() == pytest.approx(alone.item() / 2)


def test_strides_that_are_none_of_the_encoders_are_named(pixels) -> None:
    with pytest.raises(ConfigurationError, match=r"strides \[7\] are none of the image encoder's, which are \[2, 4, 8"):
        PixelFeatures(pixels.backbone, (7, 8))

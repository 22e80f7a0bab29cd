"""Image features on the ground: where they go, and that nothing gets lost or doubled."""

import pytest
import torch

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.distillation.lift_splat import splat

GRID = BevGrid(-24.0, -24.0, 4.0, 12, 12)
DEPTHS = torch.tensor([6.0, 14.0, 90.0])


def test_a_pixel_goes_where_its_depths_are(batch) -> None:
    features, depth = torch.zeros(2, 2, 1, 4, 8), torch.zeros(2, 2, 3, 4, 8)
    # Column 32 of 64, row 12 of 32: on the optical axis, within half a pixel.
    features[0, 0, 0, 1, 4], depth[0, 0, :, 1, 4] = 2.0, torch.tensor([0.25, 0.5, 0.25])
    maps, mass = splat(features, depth, DEPTHS, batch, 8, torch.eye(4).expand(2, 4, 4), GRID)
    assert maps.shape == (2, 1, 12, 12) and mass.shape == (2, 12, 12)
    found = {(int(row), int(column)): maps[0, 0, row, column].item() for row, column in torch.nonzero(maps[0, 0])}
    # To the front: x 6 and 14; y a little to the right, below 0. What is 90 m away is off the map.
    assert found == {(5, 7): pytest.approx(0.5), (5, 9): pytest.approx(1.0)}
    assert mass[0].sum().item() == pytest.approx(0.75)
    assert not maps[1].any()


def test_no_mass_is_lost_within_the_map(batch) -> None:
    depth = torch.rand(2, 2, 3, 4, 8).softmax(2)
    wide = BevGrid(-400.0, -400.0, 40.0, 20, 20)
    _, mass = splat(torch.rand(2, 2, 5, 4, 8), depth, DEPTHS, batch, 8, torch.eye(4).expand(2, 4, 4), wide, (-1e3, 1e3))
    assert mass.sum().item() == pytest.approx(depth.sum().item(), rel=1e-5)
    batch.valid[0, 1] = False
    _, fewer = splat(
        torch.rand(2, 2, 5, 4, 8), depth, DEPTHS, batch, 8, torch.eye(4).expand(2, 4, 4), wide, (-1e3, 1e3)
    )
    assert fewer.sum().item() == pytest.approx(mass.sum().item() - depth[0, 1].sum().item(), rel=1e-5)


def test_gradients_reach_features_and_depths(batch) -> None:
    features, logits = torch.rand(2, 2, 5, 4, 8, requires_grad=True), torch.rand(2, 2, 3, 4, 8, requires_grad=True)
    maps, mass = splat(features, logits.softmax(2), DEPTHS, batch, 8, torch.eye(4).expand(2, 4, 4), GRID)
    (maps.square().sum() + mass.square().sum()).backward()
    assert features.grad is not None and features.grad.abs().max() > 0
    assert logits.grad is not None and logits.grad.abs().max() > 0

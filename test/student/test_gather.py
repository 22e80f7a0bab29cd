"""Weighted row sums against torch's own, values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from semlt3d_ros.student.gather import gather_sum


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_equal_torchs_own(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    index = torch.randint(0, 30, (40, 7))
    gradient = torch.randn(40, 5, dtype=dtype)
    results = []
    for own in (True, False):
        torch.manual_seed(1)
        table = torch.randn(30, 5, dtype=dtype, requires_grad=True)
        weights = torch.rand(40, 7, dtype=dtype, requires_grad=True)
        if own:
            out = gather_sum(table, index, weights)
        else:
            out = F.embedding_bag(index, table, per_sample_weights=weights, mode="sum")
        out.backward(gradient)
        results.append((out, table.grad, weights.grad))
    for mine, expected in zip(*results, strict=True):
        assert torch.allclose(mine, expected, atol=1e-5)


def test_only_what_is_needed_gets_a_gradient_and_nothing_to_gather_is_fine() -> None:
    table, weights = torch.randn(6, 3), torch.rand(4, 2, requires_grad=True)
    gather_sum(table, torch.randint(0, 6, (4, 2)), weights).sum().backward()
    assert table.grad is None and weights.grad is not None
    table.requires_grad_()
    gather_sum(table, torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 2)).sum().backward()
    assert table.grad is not None and not table.grad.any()

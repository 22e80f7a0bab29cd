"""Memory of a run, by what is known to be alive in it."""

import pytest
import torch

from semlt3d_ros.inference.footprint import peak_memory_mib

MIB = torch.zeros(2**18)


def test_what_is_alive_together_counts_and_what_was_there_does_not() -> None:
    def run() -> None:
        first = MIB + 1  # 1 MiB
        second = first * 2  # 2 MiB
        del first
        second.add_(1)
        second.view(2, -1).t()
        third = torch.cat([second, second])  # 3 MiB
        del second
        assert third.sum() > 0

    assert peak_memory_mib(run) == pytest.approx(3.0, abs=0.01)
    assert peak_memory_mib(lambda: MIB.view(2, -1)) == 0.0


def test_the_same_at_every_run_and_more_for_more() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 3)).eval()

    def peak(size: int) -> float:
        with torch.inference_mode():
            return peak_memory_mib(lambda: network(torch.zeros(1, 3, size, size)))

    assert peak(64) == peak(64)
    assert peak(128) > 3 * peak(64) > 0

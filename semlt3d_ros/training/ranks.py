"""Several processes that train one model, started by torchrun: who is who, and what they tell each other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from semlt3d_ros.core.errors import ConfigurationError

_PATIENCE = timedelta(days=1)
"""How long processes wait for each other: for the first one's rendering, decoding and evaluating."""


@dataclass(frozen=True)
class Ranks:
    """One of the processes.

    Attributes:
        rank: its number.
        size: how many there are, on all machines.
        device: where it computes.
        prepares: whether it renders and decodes the data, as one on each machine does.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    prepares: bool = True

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes and prints."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size == 1:
            return values
        values = values.detach().clone()
        dist.all_reduce(values)
        return values

    def gathered(self, value: Any) -> list[Any]:
        """What every process gives, in the order of their numbers."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def agree(self, values: Iterable[Tensor]) -> None:
        """Give all processes the first one's tensors."""
        if self.size > 1:
            for value in values:
                dist.broadcast(value, 0)

    def own(self, count: int) -> slice:
        """Its part of ``count`` things that are divided evenly."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)


@contextmanager
def joined() -> Iterator[Ranks]:
    """This process among those that torchrun has started; alone where it has started none.

    Each takes the GPU of its number on its machine; without GPUs all compute on the CPU.

    Raises:
        ConfigurationError: there are more processes on this machine than GPUs.
    """
    gpus = torch.cuda.device_count()
    size, rank, local = (int(os.environ.get(name, default)) for name, default in _ENVIRONMENT.items())
    if size <= 1 or "MASTER_ADDR" not in os.environ:  # without an address nobody else is there to be met
        yield Ranks(device="cuda" if gpus else "cpu")
        return
    if gpus and local >= gpus:
        raise ConfigurationError(
            f"process {local} of this machine has no GPU, there are {gpus}; start as many processes"
        )
    if gpus:
        torch.cuda.set_device(local)
    # What is no tensor goes by gloo, whatever tensors go by.
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks(rank, size, f"cuda:{local}" if gpus else "cpu", local == 0)
    finally:
        dist.destroy_process_group()


_ENVIRONMENT = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}

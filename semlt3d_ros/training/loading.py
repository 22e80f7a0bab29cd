"""Samples ahead of the steps that need them, by loader processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from semlt3d_ros.core.processes import deaf_to_ctrl_c
from semlt3d_ros.training.task import Sample, Task

_AHEAD = 2
"""Samples that each process has ready."""


class _Samples(Dataset[Any]):
    def __init__(self, task: Task[Any]) -> None:
        self._task = task

    def __getitem__(self, played: Sequence[Any]) -> Any:
        return self._task.load(played)


def loaded(task: Task[Sample], order: Iterator[Sequence[Any]], workers: int) -> Iterator[Sample]:
    """The samples of what is played, in its order.

    Args:
        task: loads them.
        order: what each step plays.
        workers: loader processes; 0 loads in this one, when a sample is asked for.
    """
    if not workers:
        yield from map(task.load, order)
        return
    loader: DataLoader[Any] = DataLoader(
        _Samples(task),
        batch_size=None,
        sampler=_available(task, order),  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=_AHEAD,
        # Forked, they have the frames that are open; seeds of their own are drawn from no generator that matters.
        multiprocessing_context="fork",
        generator=torch.Generator().manual_seed(0),
    )
    with deaf_to_ctrl_c():
        samples = iter(loader)
    yield from samples


def _available(task: Task[Any], order: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """What is played, once it can be loaded: only this process knows whether rendering still goes on."""
    for played in order:
        task.wait(played)
        yield played


def _as_it_is(sample: Any) -> Any:
    return sample

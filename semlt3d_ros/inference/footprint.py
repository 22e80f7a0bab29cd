"""How much memory a detector takes while it looks at a frame, counted and not sampled: the same at every run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory_mib(run: Callable[[], object]) -> float:
    """MiB of tensors that were alive together at the worst moment of a run, besides those that were there before.

    On the CPU the results of operations are counted, not what an operation takes for itself; on a GPU all that torch
    allocates there.

    Args:
        run: does the work, on this thread.
    """
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else 0
    counter = _LiveTensors()
    with counter:
        run()
    taken = torch.cuda.max_memory_allocated() - before if on_gpu else 0
    return max(taken, counter.peak) / 2**20


class _LiveTensors(TorchDispatchMode):
    """Follows every storage that an operation makes until nobody holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._followed: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        options = options or {}
        result = function(*arguments, **options)
        known = {_key(each) for each in _tensors((arguments, options))} | self._followed
        for tensor in _tensors(result):
            if tensor.device.type == "cpu" and _key(tensor) not in known:
                self._follow(tensor)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage, key = tensor.untyped_storage(), _key(tensor)
        size = storage.nbytes()
        self._followed.add(key)
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._followed.discard(key)
        self._live -= size


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)

"""What an engine trains: a network with its data, its losses and its judgement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from semlt3d_ros.evaluation.report import Report

Sample = TypeVar("Sample")
"""What a step learns from."""


class Task(ABC, Generic[Sample]):
    """A network in training.

    What a task remembers from one step to the next, of each stream, is an object with ``tensors()``, which gives it by
    name, the streams first; or None.

    Attributes:
        model: the network, whose average over the steps is what is evaluated and saved.
        modules: everything that learns by name, the model among it: it is saved with an interrupted run.
    """

    model: nn.Module
    modules: dict[str, nn.Module]

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """For the optimizer: ``params``, and ``scale``, by which their learning rate differs from the schedule's."""

    @abstractmethod
    def order(self, batch: int, steps: int, first_step: int) -> Iterator[Sequence[Any]]:
        """What each step plays, ``batch`` pieces, from ``first_step`` on; the same for a resumed run."""

    @abstractmethod
    def wait(self, played: Sequence[Any]) -> None:
        """Return once what a step plays can be loaded by another process."""

    @abstractmethod
    def load(self, played: Sequence[Any]) -> Sample:
        """The sample of what is played. Called in loader processes: it changes nothing and draws no random numbers."""

    @abstractmethod
    def start(self, streams: int) -> Any | None:
        """What is remembered before the first step; None of a task that remembers nothing."""

    @abstractmethod
    def restored(self, tensors: dict[str, Tensor]) -> Any | None:
        """What ``tensors()`` of something remembered gave back."""

    @abstractmethod
    def begin_step(self, share: float) -> None:
        """Put what learns into training mode, and what is frozen not; ``share`` of the run is done."""

    @abstractmethod
    def losses(self, sample: Sample, carried: Any | None) -> tuple[dict[str, Tensor], Any | None]:
        """Weighted losses by name, and what to carry to the next step.

        With several processes, those of all of them add up to the losses of the whole batch.
        """

    @abstractmethod
    def evaluate(self, model: nn.Module, limit: int | None = None) -> Report | None:
        """How good a model is on the first ``limit`` validation frames; None where there are none, or another process
        has the answer."""

    def pictures(self, model: nn.Module) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Names and pictures (H, W, 3) RGB of what a model makes of validation frames; none by default."""
        return iter(())

"""What every loss is made of: one step's view of predictions and truth, and the terms that look at it."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from semlt3d_ros.losses.matcher import Matches, match
from semlt3d_ros.losses.signal import ImageSignals, TeacherSignal
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.student import StudentOutput

Total = Callable[[Tensor], Tensor]
"""Sums a tensor over the processes that share a step.

Terms divide what they sum over their own process's frames by such totals. So the losses and gradients of all processes
add up to those of one process with all frames. Terms call it as often whatever the data, so that no process waits for
another one.
"""


def alone(values: Tensor) -> Tensor:
    """The total of a process that shares its steps with nobody."""
    return values


@dataclass(frozen=True)
class StepView:
    """What a term sees of a step.

    Attributes:
        output: the student's.
        layers: predictions of each decoder layer that are judged (B, Q, ...): those of the student's own queries, or of
            the denoising ones.
        matches: for each layer, per frame the matched query and target indices.
        counted: for each layer, (B, Q) queries whose classification counts.
        targets: ground truth.
        batch: the frames.
        count: () matched objects of a layer, over all processes, at least 1.
        total: sums over processes.
        signal: what a teacher says of the frames; None without one.
        share: of the run that is done, for what is learnt in stages.
        images: what teachers of images say of the frames.
    """

    output: StudentOutput
    layers: list[LayerOutput]
    matches: list[Matches]
    counted: list[Tensor]
    targets: Targets
    batch: Batch
    count: Tensor
    total: Total = alone
    signal: TeacherSignal | None = None
    share: float = 1.0
    images: ImageSignals = field(default_factory=ImageSignals)

    @cached_property
    def cells(self) -> list[Tensor]:
        """The student's maps of each level as (B, V, h, w, C) float32; turned so once for all terms. None at all where
        they are not given out."""
        return [values.permute(0, 1, 3, 4, 2).float().contiguous() for values in self.output.features or ()]


class LossTerm(nn.Module, ABC):
    """One signal that training follows.

    Args:
        weight: how much it counts.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    @abstractmethod
    def forward(self, view: StepView) -> dict[str, Tensor]:
        """Weighted losses by name, summed over layers; none where the student makes no such predictions."""


def over_layers(losses: Iterable[Tensor]) -> Tensor:
    """The sum of one loss for each layer."""
    return functools.reduce(torch.add, losses)


def counted_over_all(number: Tensor | int, total: Total, device: torch.device) -> Tensor:
    """() a number of things over all processes, at least 1, to divide by."""
    return total(torch.as_tensor(number, dtype=torch.float32, device=device)).clamp_min(1.0)


def indices(matches: Matches) -> tuple[Tensor, Tensor, Tensor]:
    """Frame, query and target (M,) of all matches of a layer."""
    frame = torch.cat([torch.full_like(rows, b) for b, (rows, _) in enumerate(matches)])
    return frame, torch.cat([rows for rows, _ in matches]), torch.cat([columns for _, columns in matches])


def judged(layer: LayerOutput, targets: Targets, matches: Matches) -> Tensor:
    """(B, Q) queries that are right or wrong: those that are matched to what has a class, and unmatched ones where
    ground truth is not silent."""
    if targets.unjudged is None:
        counted = torch.ones(layer.logits.shape[:2], dtype=torch.bool, device=layer.logits.device)
    else:
        counted = ~targets.unjudged.at(layer.boxes()[..., :3].detach().float())
    for frame, (queries, objects) in enumerate(matches):
        counted[frame, queries] = True if targets.told is None else targets.told[frame, objects]
    return counted


def view_of(
    output: StudentOutput,
    targets: Targets,
    batch: Batch,
    total: Total = alone,
    signal: TeacherSignal | None = None,
    share: float = 1.0,
    images: ImageSignals | None = None,
) -> StepView:
    """The view of the student's own queries, matched to the objects."""
    matches = [match(layer, targets) for layer in output.layers]
    counted = [judged(layer, targets, found) for layer, found in zip(output.layers, matches, strict=True)]
    number = sum(len(rows) for rows, _ in matches[0])  # the same in all layers
    count = counted_over_all(number, total, targets.boxes.device)
    seen = images or ImageSignals()
    return StepView(output, output.layers, matches, counted, targets, batch, count, total, signal, share, seen)

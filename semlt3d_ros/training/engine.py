"""The one loop that trains: any task, on one process or several, to the end of its schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.training.loading import loaded
from semlt3d_ros.training.ranks import Ranks
from semlt3d_ros.training.recipe import Schedule
from semlt3d_ros.training.record import Record
from semlt3d_ros.training.state import load_state, random_state, save_state, set_random_state
from semlt3d_ros.training.task import Sample, Task

STATE_NAME = "state.safetensors"

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after every step with the step, the number of steps and the smoothed losses."""


def rate_at(step: int, schedule: Schedule) -> float:
    """Factor on the learning rate: linear warm-up, then a cosine down to 1 %, and once more after a restart."""
    steps, restart = schedule.frames // schedule.batch, schedule.restart_after // schedule.batch
    if restart and step >= restart:
        return schedule.restart_rate * _cosine(step - restart, steps - restart)
    first = restart or steps
    warmup = max(1, round(schedule.warmup * first))
    return (step + 1) / warmup if step < warmup else _cosine(step - warmup, first - warmup)


def _cosine(step: int, steps: int) -> float:
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))


class _Losses(nn.Module):
    """A task's losses as a module, whose parameters are all that learns: what DDP wraps."""

    def __init__(self, task: Task[Any]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(task.modules)
        self._task = task

    def forward(self, sample: Any, carried: Any) -> tuple[dict[str, Tensor], Any]:
        return self._task.losses(sample, carried)


class Engine(Generic[Sample]):
    """Optimizer, averaged weights and loop of one run; resumes from its state file.

    With several processes each plays its part of the streams. DDP (Li et al., VLDB 2020) averages their gradients,
    which are those of one process with the whole batch; batch normalisation looks at the whole batch too where there
    are GPUs. The first process writes, and the number of processes may change from one resume to the next.

    Args:
        task: what is trained.
        schedule: the optimisation.
        folder: where state, log and pictures go.
        ranks: the processes that share the steps.
        validation_frames: at most this many frames in the evaluations along the way.

    Raises:
        ConfigurationError: there are more processes than frames in a batch.
    """

    def __init__(
        self,
        task: Task[Sample],
        schedule: Schedule,
        folder: Path,
        ranks: Ranks | None = None,
        validation_frames: int | None = None,
    ) -> None:
        self.task, self.schedule, self.folder, self.ranks = task, schedule, folder, ranks or Ranks()
        self._validation_frames = validation_frames
        self.averaged: AveragedModel = AveragedModel(task.model, avg_fn=self._average, use_buffers=True)
        groups = task.parameter_groups()
        self.optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
        self.steps = schedule.frames // schedule.batch
        self.step = 0
        if schedule.batch < self.ranks.size:
            raise ConfigurationError(
                f"a batch of {schedule.batch} cannot be divided among {self.ranks.size} processes; "
                "start fewer, or give the schedule a larger batch"
            )
        streams = range(schedule.batch)[self.ranks.own(schedule.batch)]
        self._streams = slice(streams.start, streams.stop)
        self.carried = task.start(len(streams))
        self._modules: dict[str, nn.Module] = {**task.modules, "averaged": self.averaged}
        self._losses: nn.Module = _Losses(task)
        if self.ranks.size > 1:
            self._losses = self._shared(self._losses)

    def _shared(self, losses: nn.Module) -> nn.Module:
        if self.ranks.rank:  # the first one's random numbers are those of a process alone
            torch.manual_seed(torch.initial_seed() + self.ranks.rank)
        if self.ranks.device != "cpu":
            losses = convert_sync_batchnorm(losses)
        # A step may leave parts without gradients, as those that look at objects where there are none.
        return DistributedDataParallel(losses, find_unused_parameters=True)

    def _average(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        if not torch.is_floating_point(average):
            return current
        # A young average forgets faster, so that it does not drag the first random weights along.
        decay = min(self.schedule.ema, (1 + int(count)) / (10 + int(count)))
        return average * decay + current * (1 - decay)

    @property
    def state_path(self) -> Path:
        """The file an interrupted run resumes from."""
        return self.folder / STATE_NAME

    def resume(self) -> int:
        """Load the saved state, if there is one, and return the step to go on with."""
        if self.state_path.exists():
            progress, extra = load_state(self.state_path, self._modules, self.optimizer)
            self.step = int(progress["step"])
            own = {key.partition(".")[2]: value for key, value in extra.items() if key.startswith("carried.")}
            self.carried = self.task.restored({key: value[self._streams] for key, value in own.items()})
            self._take_random_state(extra)
        return self.step

    def _take_random_state(self, extra: dict[str, Tensor]) -> None:
        """Each process goes on with its own random numbers; one more than there were begins its own."""
        rank = self.ranks.rank
        own = {key.partition(".")[2]: value for key, value in extra.items() if key.startswith(f"rank{rank}.")}
        if own:
            set_random_state(own)
        elif rank:
            torch.manual_seed(torch.initial_seed() + self.step + rank)

    def save(self) -> None:
        """Save the state atomically; all processes have to call it."""
        carried = {} if self.carried is None else self.carried.tensors()
        parts = self.ranks.gathered(({key: value.cpu() for key, value in carried.items()}, random_state()))
        if self.ranks.leads:
            extra = {f"carried.{key}": torch.cat([part[key] for part, _ in parts]) for key in carried}
            for rank, (_, state) in enumerate(parts):
                extra |= {f"rank{rank}.{key}": value for key, value in state.items()}
            save_state(self.state_path, self._modules, self.optimizer, {"step": self.step}, extra)

    def run(self, progress: Progress | None = None, record: Record | None = None) -> None:
        """Train to the end of the schedule; on interruption the state is saved first.

        Several processes are not interrupted at the same place: they resume from what was saved last.

        Args:
            progress: called after every step.
            record: told of losses, rates and evaluations.
        """
        schedule, smoothed = self.schedule, dict[str, float]()
        order = self.task.order(schedule.batch, self.steps, self.step)
        mine: Iterator[Sequence[Any]] = (played[self._streams] for played in order)
        whole = False
        try:
            for sample in loaded(self.task, mine, schedule.workers_for(self.ranks.device)):
                for name, value in self.train_step(sample).items():
                    smoothed[name] = 0.98 * smoothed.get(name, value) + 0.02 * value
                if progress is not None:
                    progress(self.step, self.steps, smoothed)
                if record is not None and self.step % schedule.log_every == 0:
                    record.losses(self.step, smoothed, self.rate)
                if self.step % schedule.save_every == 0:
                    self.save()
                if schedule.evaluate_every and self.step % schedule.evaluate_every == 0 and self.step < self.steps:
                    self._evaluate(smoothed, record)
            whole = True
        finally:
            if whole or self.ranks.size == 1:
                self.save()

    def _evaluate(self, losses: dict[str, float], record: Record | None) -> None:
        model = self.averaged.module
        self.ranks.agree(model.buffers())
        report = self.task.evaluate(model, self._validation_frames)
        if record is not None and report is not None:
            record.evaluation(self.step, losses, self.rate, report)
            record.pictures(self.step, self.task.pictures(model))

    @property
    def rate(self) -> float:
        """The learning rate of the last step, of what is not scaled."""
        return self.schedule.learning_rate * rate_at(max(self.step - 1, 0), self.schedule)

    def train_step(self, sample: Sample) -> dict[str, float]:
        """One optimisation step; returns the losses, of this process, and their total over all.

        A step whose loss is not finite changes no weight, and what it would have remembered is forgotten.
        """
        rate = self.schedule.learning_rate * rate_at(self.step, self.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.task.begin_step(self.step / self.steps)
        losses, carried = self._losses(sample, self.carried)
        total = torch.stack(list(losses.values())).sum()
        everywhere = self.ranks.total(total.detach())
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if torch.isfinite(everywhere):
            # DDP divides the sum of the gradients by the number of processes.
            (total * self.ranks.size if self.ranks.size > 1 else total).backward()
            nn.utils.clip_grad_norm_(
                [p for group in self.optimizer.param_groups for p in group["params"]], self.schedule.clip
            )
            self.optimizer.step()
            self.averaged.update_parameters(self.task.model)
            self.carried = carried
        else:
            self.carried = self.task.start(self._streams.stop - self._streams.start)
        figures = torch.stack([*(value.detach() for value in losses.values()), everywhere]).tolist()
        return dict(zip([*losses, "total"], figures, strict=True))

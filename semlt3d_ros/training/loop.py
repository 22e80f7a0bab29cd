"""The training loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from semlt3d_ros.core.frame import Frame
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.criterion import Criterion
from semlt3d_ros.student.denoising import Denoiser
from semlt3d_ros.student.detector import Detector
from semlt3d_ros.student.student import Student
from semlt3d_ros.student.targets import collate_targets
from semlt3d_ros.training.augmentation import augment
from semlt3d_ros.training.recipe import Recipe, Schedule
from semlt3d_ros.training.state import load_state, save_state

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after every step with the step, the number of steps and the smoothed losses."""


class Frames(Protocol):
    """Labelled frames by number, such as ``training.rendering.RenderedFrames``."""

    @property
    def blocks(self) -> Sequence[int]:
        """Numbers of frames that become available together, in order."""

    def __len__(self) -> int:
        """Number of frames."""

    def __getitem__(self, index: int, /) -> Frame:
        """Frame ``index``."""


def batch_order(blocks: Sequence[int], schedule: Schedule, seed: int, first_step: int) -> Iterator[list[int]]:
    """Indices of each batch from ``first_step`` on: whole shuffled passes over the data, the same for a resumed run.

    The first pass goes through the ``blocks`` (numbers of frames) in order and is shuffled only within each, so that it
    can follow the rendering.
    """
    steps = schedule.frames // schedule.batch
    needed = steps * schedule.batch
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    for block in blocks:
        order += (len(order) + torch.randperm(block, generator=generator)).tolist()
    length = len(order)
    while len(order) < needed:
        order += torch.randperm(length, generator=generator).tolist()
    for step in range(first_step, steps):
        yield order[step * schedule.batch : (step + 1) * schedule.batch]


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


class Trainer:
    """Student, denoiser, averaged weights and optimizer of one run; resumes by itself from its state file.

    Args:
        recipe: the run.
        frames: training frames with labels and points, prepared to the student's image size.
        folder: where state and log go.
        device: torch device.
    """

    def __init__(self, recipe: Recipe, frames: Frames, folder: Path, device: str = "cpu") -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.frames, self.folder, self.device = recipe, frames, folder, device
        config, schedule = recipe.student, recipe.schedule
        self.student = Student(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.denoiser = Denoiser(len(config.class_names), config.width).to(device)
        self.criterion = Criterion(config, recipe.loss_weights)
        self.averaged: AveragedModel = AveragedModel(self.student, avg_fn=self._average, use_buffers=True)
        self.steps = schedule.frames // schedule.batch
        backbone = list(self.student.features.backbone.parameters())
        inside = {id(parameter) for parameter in backbone}
        rest = [p for module in (self.student, self.denoiser) for p in module.parameters() if id(p) not in inside]
        self.optimizer = torch.optim.AdamW(
            [{"params": backbone, "scale": schedule.backbone_rate}, {"params": rest, "scale": 1.0}],
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
        )
        self.step = 0

    def _average(self, average: torch.Tensor, current: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        if not torch.is_floating_point(average):
            return current
        # A young average forgets faster, so that it does not drag the first random weights along.
        decay = min(self.recipe.schedule.ema, (1 + int(count)) / (10 + int(count)))
        return average * decay + current * (1 - decay)

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"student": self.student, "denoiser": self.denoiser, "averaged": self.averaged}

    @property
    def averaged_student(self) -> Student:
        """The student with averaged weights: what is evaluated and saved."""
        assert isinstance(self.averaged.module, Student)
        return self.averaged.module

    @property
    def state_path(self) -> Path:
        """The file an interrupted run resumes from."""
        return self.folder / "state.safetensors"

    def resume(self) -> int:
        """Load the saved state, if there is one, and return the step to go on with."""
        if self.state_path.exists():
            self.step = int(load_state(self.state_path, self._modules, self.optimizer)["step"])
        return self.step

    def save(self) -> None:
        """Save the state atomically."""
        save_state(self.state_path, self._modules, self.optimizer, {"step": self.step})

    def run(self, validation: Frames, progress: Progress | None = None) -> None:
        """Train to the end of the schedule; on interruption the state is saved first."""
        schedule, smoothed = self.recipe.schedule, dict[str, float]()
        try:
            for indices in batch_order(self.frames.blocks, schedule, self.recipe.seed, self.step):
                for name, value in self.train_step([self.frames[i] for i in indices]).items():
                    smoothed[name] = 0.98 * smoothed.get(name, value) + 0.02 * value
                if progress is not None:
                    progress(self.step, self.steps, smoothed)
                if self.step % schedule.save_every == 0:
                    self.save()
                if schedule.evaluate_every and self.step % schedule.evaluate_every == 0 and self.step < self.steps:
                    self.log(smoothed, self.evaluate(validation, self.recipe.validation_frames))
        finally:
            self.save()

    def train_step(self, frames: Sequence[Frame]) -> dict[str, float]:
        """One optimisation step on a batch; returns the losses. A step whose loss is not finite changes nothing."""
        recipe, config = self.recipe, self.recipe.student
        batch = collate(frames, config.image_width, config.image_height)
        targets = collate_targets(frames, config.range_m, recipe.min_visible_pixels)
        batch, targets = augment(batch, targets, recipe.augmentation)
        batch, targets = batch.to(self.device), targets.to(self.device)
        self.student.train()
        rate = recipe.schedule.learning_rate * rate_at(self.step, recipe.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        device_type = torch.device(self.device).type
        with torch.autocast(device_type, torch.bfloat16, enabled=recipe.schedule.precision == "bfloat16"):
            output = self.student(batch, self.denoiser(targets))
        losses = self.criterion(output, targets, batch)
        total = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if torch.isfinite(total):
            total.backward()
            nn.utils.clip_grad_norm_(self.student.parameters(), recipe.schedule.clip)
            self.optimizer.step()
            self.averaged.update_parameters(self.student)
        return {**{name: float(value.detach()) for name, value in losses.items()}, "total": float(total.detach())}

    def evaluate(self, frames: Frames, limit: int | None = None) -> Report:
        """Evaluate the averaged weights on labelled frames, the first ``limit`` of them."""
        detector = Detector(self.averaged_student, self.recipe.name, self.device)
        settings = EvaluationSettings(
            range_limit_m=self.recipe.evaluation_range_m, min_visible_pixels=self.recipe.min_visible_pixels
        )
        chosen = (frames[index] for index in range(min(len(frames), limit or len(frames))))
        return evaluate(
            ((detector.detect(frame), frame.labels) for frame in chosen if frame.labels is not None), settings
        )

    def log(self, losses: dict[str, float], report: Report) -> None:
        """Append a line of JSON to ``log.jsonl``."""
        line = {"step": self.step, "time": time.time(), "losses": losses, "map": report.map, "groups": report.groups}
        with open(self.folder / "log.jsonl", "a") as file:
            file.write(json.dumps({**line, "ap": report.ap}) + "\n")

"""The training loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel

from semlt3d_ros.checkpoints.adoption import adopt
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.denoising import Denoiser
from semlt3d_ros.losses.projection import SemanticProjection
from semlt3d_ros.losses.targets import Targets, collate_targets
from semlt3d_ros.student.batch import Batch, collate
from semlt3d_ros.student.memory import Memory
from semlt3d_ros.student.student import Student, StudentOutput
from semlt3d_ros.training.augmentation import augment, clip_changes
from semlt3d_ros.training.feature_cache import FeatureCache
from semlt3d_ros.training.language import Semantics
from semlt3d_ros.training.recipe import Recipe, Schedule, settings_of
from semlt3d_ros.training.samplers import classes_in, weighted
from semlt3d_ros.training.state import load_state, save_state
from semlt3d_ros.training.streams import StreamFrame, play, single_frames

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


def detected(detector: Detector, frames: Frames, limit: int | None = None) -> Iterator[tuple[Detections, Labels]]:
    """Detections and truth of labelled frames, the first ``limit`` of them; each drive begins without memory.

    What lies where a frame's ground truth is not complete is left out of both.
    """
    for drive in frames.drives():
        detector.reset()
        for index in drive:
            if limit is not None and index >= limit:
                return
            frame = frames.frame(index)
            found = detector.detect(frame)
            if frame.labels is not None:
                yield judged(found, frame.labels, frame)


def judged(found: Detections, labels: Labels, frame: Frame) -> tuple[Detections, Labels]:
    """Detections and truth within the part of the world in which a frame's ground truth is complete."""
    if frame.region == LabelledRegion():
        return found, labels
    return found[frame.region.contains(found.boxes.centers)], labels[frame.region.contains(labels.boxes.centers)]


def rehearse(recipe: Recipe) -> None:
    """Make the student of a recipe, so that what cannot be made is told before anything is rendered or written.

    Raises:
        ConfigurationError: there is no such backbone, or the checkpoint to start from cannot be used.
    """
    student = Student(replace(recipe.student, pretrained=False))
    if recipe.initial is not None:
        adopt(student, recipe.initial, recipe.initial_parts)


class Trainer:
    """Student, training-only heads, averaged weights and optimizer of one run; resumes by itself from its state file.

    Args:
        recipe: the run.
        frames: training frames with labels and points, prepared to the student's image size.
        folder: where state and log go.
        device: torch device.
        semantics: anchors and region embeddings; needed by a student with language.
    """

    def __init__(
        self, recipe: Recipe, frames: Frames, folder: Path, device: str = "cpu", semantics: Semantics | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.frames, self.folder, self.device, self.semantics = recipe, frames, folder, device, semantics
        config, schedule = recipe.student, recipe.schedule
        self.student = Student(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.denoiser = Denoiser(len(config.class_names), config.width, recipe.denoising).to(device)
        if recipe.initial is not None:
            adopt(self.student, recipe.initial, recipe.initial_parts, None if semantics is None else semantics.anchors)
        projection, anchors = None, None
        if config.language_width:
            if semantics is None:
                raise ConfigurationError(
                    f"recipe '{recipe.name}': a student with language_width needs a CLIP to learn from"
                )
            anchors = torch.from_numpy(semantics.anchors.embeddings).to(device)
            self.student.set_anchors(anchors)
            if recipe.loss_weights.distillation > 0:
                projection = SemanticProjection(config).to(device)
        if recipe.frozen_images:
            for module in self._image_modules:
                module.requires_grad_(False).eval()
            self.student.features.cache = FeatureCache(recipe.data_folder / "features", self.student.features)
        self.criterion = student_criterion(config, recipe.loss_weights, recipe.denoising, projection, anchors)
        self.averaged: AveragedModel = AveragedModel(self.student, avg_fn=self._average, use_buffers=True)
        self.steps = schedule.frames // schedule.batch
        self.memory = Memory.empty(schedule.batch, config, device) if config.memory_frames else None
        self._modules: dict[str, nn.Module] = {"student": self.student, "denoiser": self.denoiser}
        if projection is not None:
            self._modules["projection"] = projection
        backbone = list(self.student.features.backbone.parameters())
        inside = {id(parameter) for parameter in backbone}
        frozen = (
            {id(p) for module in self._image_modules for p in module.parameters()} if recipe.frozen_images else set()
        )
        rest = [p for module in self._modules.values() for p in module.parameters() if id(p) not in inside | frozen]
        groups = [{"params": rest, "scale": 1.0}]
        if not recipe.frozen_images:
            groups.insert(0, {"params": backbone, "scale": schedule.backbone_rate})
        self.optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
        self._modules["averaged"] = self.averaged
        self.step = 0

    @property
    def _image_modules(self) -> tuple[nn.Module, ...]:
        return self.student.features, self.student.image_head

    def _average(self, average: torch.Tensor, current: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        if not torch.is_floating_point(average):
            return current
        # A young average forgets faster, so that it does not drag the first random weights along.
        decay = min(self.recipe.schedule.ema, (1 + int(count)) / (10 + int(count)))
        return average * decay + current * (1 - decay)

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
            progress, extra = load_state(self.state_path, self._modules, self.optimizer)
            self.step = int(progress["step"])
            if self.memory is not None:
                self.memory = Memory(**{name: values.to(self.device) for name, values in extra.items()})
        return self.step

    def save(self) -> None:
        """Save the state atomically."""
        extra = {} if self.memory is None else self.memory.tensors()
        save_state(self.state_path, self._modules, self.optimizer, {"step": self.step}, extra)

    def run(self, validation: Frames | None = None, progress: Progress | None = None) -> None:
        """Train to the end of the schedule; on interruption the state is saved first.

        Args:
            validation: frames for the evaluations along the way; without them there are none.
            progress: called after every step.
        """
        schedule, smoothed = self.recipe.schedule, dict[str, float]()
        parts = self.frames.parts()
        parts = weighted(parts if self.memory is not None else single_frames(parts), self.recipe.sampling, self.holds)
        try:
            for frames in play(parts, schedule.batch, self.steps, self.recipe.seed, self.step):
                for name, value in self.train_step(frames).items():
                    smoothed[name] = 0.98 * smoothed.get(name, value) + 0.02 * value
                if progress is not None:
                    progress(self.step, self.steps, smoothed)
                if self.step % schedule.save_every == 0:
                    self.save()
                due = schedule.evaluate_every and self.step % schedule.evaluate_every == 0 and self.step < self.steps
                if validation is not None and due:
                    self.log(smoothed, self.evaluate(validation, self.recipe.validation_frames))
        finally:
            self.save()

    def train_step(self, played: Sequence[StreamFrame]) -> dict[str, float]:
        """One optimisation step on a frame of each stream; returns the losses.

        A step whose loss is not finite changes no weight, and what it would have remembered is forgotten.
        """
        schedule = self.recipe.schedule
        rate = schedule.learning_rate * rate_at(self.step, schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.student.train()
        if self.recipe.frozen_images:
            for module in self._image_modules:
                module.eval()
        if self.memory is not None:
            self.memory = self.memory.forget(torch.tensor([frame.first for frame in played], device=self.device))
        device_type = torch.device(self.device).type
        with torch.autocast(device_type, torch.bfloat16, enabled=schedule.precision == "bfloat16"):
            output, targets, batch = self.forward(played)
        losses = self.criterion(output, targets, batch)
        total = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if torch.isfinite(total):
            total.backward()
            nn.utils.clip_grad_norm_(
                [p for group in self.optimizer.param_groups for p in group["params"]], schedule.clip
            )
            self.optimizer.step()
            self.averaged.update_parameters(self.student)
            self.memory = output.memory
        elif self.memory is not None:
            self.memory = Memory.empty(schedule.batch, self.recipe.student, self.device)
        return {**{name: float(value.detach()) for name, value in losses.items()}, "total": float(total.detach())}

    def holds(self, index: int) -> NDArray[np.bool_]:
        """(C,) which classes of objects frame ``index`` has that are learnt."""
        recipe = self.recipe
        labels = self.frames.labels(index)
        return classes_in(labels, len(recipe.student.class_names), recipe.student.range_m, recipe.min_visible_pixels)

    def forward(self, played: Sequence[StreamFrame]) -> tuple[StudentOutput, Targets, Batch]:
        """The student's output on a frame of each stream, augmented, with what it should have been."""
        recipe, config = self.recipe, self.recipe.student
        frames = [self.frames.frame(frame.index) for frame in played]
        batch = collate(frames, config.image_width, config.image_height)
        changes = clip_changes([frame.clip for frame in played], recipe.seed, recipe.augmentation)
        batch, targets = augment(batch, self.targets(played, frames), recipe.augmentation, changes)
        batch, targets = batch.to(self.device), targets.to(self.device)
        output = self.student(batch, self.denoiser(targets), self.memory)
        if recipe.frozen_images:
            output.image = None  # nothing of it learns
        return output, targets, batch

    def targets(self, played: Sequence[StreamFrame], frames: Sequence[Frame]) -> Targets:
        """Ground truth of the frames, with what is seen in their regions where semantics are distilled."""
        recipe, seen = self.recipe, None
        if self.semantics is not None and recipe.loss_weights.distillation > 0:
            seen = [
                self.semantics.seen(place.index, frame, self.frames.regions)
                for place, frame in zip(played, frames, strict=True)
            ]
        return collate_targets(frames, recipe.student.range_m, recipe.min_visible_pixels, seen)

    def evaluate(self, frames: Frames, limit: int | None = None) -> Report:
        """Evaluate the averaged weights on labelled frames, the first ``limit`` of them."""
        detector = Detector(self.averaged_student, self.recipe.name, self.device)
        return evaluate(detected(detector, frames, limit), settings_of(self.recipe))

    def log(self, losses: dict[str, float], report: Report) -> None:
        """Append a line of JSON to ``log.jsonl``."""
        line = {"step": self.step, "time": time.time(), "losses": losses, "map": report.map, "groups": report.groups}
        with open(self.folder / "log.jsonl", "a") as file:
            file.write(json.dumps({**line, "ap": report.ap}) + "\n")

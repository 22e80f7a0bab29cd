"""``semlt3d train`` of a LiDAR teacher: from a recipe to a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from semlt3d_ros.checkpoints.teacher import save_teacher
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.outputs import require_place, write_whole
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.teacher.teacher import Teacher
from semlt3d_ros.training.engine import Engine
from semlt3d_ros.training.ranks import Ranks
from semlt3d_ros.training.showing import COLUMNS, record_of, shown_in
from semlt3d_ros.training.teacher_recipe import TeacherRecipe
from semlt3d_ros.training.teacher_task import TeacherTask

_NO_IMAGES = ImageSpec(16, 8, 0.0)
"""Recordings are decoded with their cameras; a teacher that learns from clouds alone looks at none."""


@dataclass(frozen=True)
class TrainedTeacher:
    """What came of a run.

    Attributes:
        checkpoint: the file that was written.
        steps: optimisation steps.
        parameters: of the teacher.
        report: figures on validation.
        faults: what of recordings could not be used.
    """

    checkpoint: Path
    steps: int
    parameters: int
    report: Report | None
    faults: FaultLog

    def to_json(self) -> dict[str, Any]:
        """For people and for JSON."""
        report = self.report
        figures = {} if report is None else {"map": report.map, "groups": report.groups, "ap": report.ap}
        if report is not None and report.segmentation is not None:
            figures |= {"miou": report.segmentation.miou, "iou": report.segmentation.iou}
        return {
            "checkpoint": str(self.checkpoint),
            "steps": self.steps,
            **figures,
            "parameters": self.parameters,
            "faults": self.faults.to_json(),
        }


def image_spec_of(recipe: TeacherRecipe) -> ImageSpec:
    """The images that are wanted of recordings."""
    settings = recipe.xmodel
    return _NO_IMAGES if settings is None else ImageSpec(*settings.image_size, settings.top_crop)


def train_teacher(
    recipe: TeacherRecipe,
    out: Path,
    origin: dict[str, Any],
    resume: bool = False,
    progress: bool = False,
    validated: bool = True,
    ranks: Ranks | None = None,
) -> TrainedTeacher | None:
    """Train a teacher and write its checkpoint; arguments as of ``run.train_recipe``."""
    ranks = ranks or Ranks(device="cuda" if torch.cuda.is_available() else "cpu")
    folder = out.with_suffix(".training")
    if ranks.leads:
        require_place(out)
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        console = Console(stderr=True)
        bar = stack.enter_context(Progress(*COLUMNS, console=console, disable=not (progress and ranks.leads)))

        def opened(specs: Sequence[DataSpec]) -> Frames:
            images = image_spec_of(recipe)
            frames = Frames(specs, recipe.data_folder, images, recipe.class_list, ranks.prepares, shown_in(bar))
            return stack.enter_context(frames)

        validation = opened(recipe.validation) if validated else None
        frames = opened(recipe.train)
        task = TeacherTask(recipe, frames, validation, ranks)
        engine = Engine(task, recipe.schedule, folder, ranks, recipe.validation_frames)
        if resume:
            engine.resume()
        record = record_of(folder, console if progress else None) if ranks.leads else None
        if record is not None:
            stack.callback(record.close)
        shown_task = bar.add_task("training", total=engine.steps, completed=engine.step)

        def show(step: int, _: int, losses: dict[str, float]) -> None:
            bar.update(shown_task, completed=step, description=f"loss {losses['total']:.3f}")

        engine.run(show, record)
        teacher = engine.averaged.module
        assert isinstance(teacher, Teacher)
        report = task.evaluate(teacher)
        if not ranks.leads:
            return None
        if report is not None:
            write_whole(folder / "report.json", json.dumps(report.to_json(), indent=1))
        origin = {**origin, "steps": engine.step, "data": frames.provenance}
        save_teacher(out, teacher, recipe.name, origin, recipe.class_list)
    opened_frames = [frames] if validation is None else [validation, frames]
    return TrainedTeacher(
        out,
        engine.step,
        sum(parameter.numel() for parameter in teacher.parameters()),
        report,
        FaultLog(fault for each in opened_frames for fault in each.faults),
    )

"""``semlt3d train``: from a recipe to a checkpoint."""

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

import semlt3d_ros
from semlt3d_ros.checkpoints.adoption import Adoption
from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.checkpoints.shipped import chosen_student, chosen_teacher
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.outputs import require_place, write_whole
from semlt3d_ros.core.places import Input, Output, refuse_losses
from semlt3d_ros.datasets.bag_jobs import find_bags, refuse_overlap
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.blending import blend, weights_of_start
from semlt3d_ros.training.calibrate import calibrate
from semlt3d_ros.training.engine import Engine
from semlt3d_ros.training.engine import Progress as StepProgress
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.given import Given
from semlt3d_ros.training.language import Semantics
from semlt3d_ros.training.ranks import Ranks, joined
from semlt3d_ros.training.recipe import Recipe, settings_of
from semlt3d_ros.training.recipes import load_any_recipe
from semlt3d_ros.training.run_teacher import TrainedTeacher, train_teacher
from semlt3d_ros.training.showing import COLUMNS, record_of, shown_in
from semlt3d_ros.training.student_task import StudentTask, rehearse
from semlt3d_ros.training.teacher_recipe import TeacherRecipe


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    Attributes:
        checkpoint: the file that was written.
        steps: optimisation steps.
        parameters: of the student.
        adopted: what was taken over of the checkpoint that it started from.
        report: figures of the calibrated student on validation; None where it was neither calibrated nor evaluated.
        calibration: those of ``Fitted.summary``; empty without calibration.
        faults: what of recordings could not be used.
    """

    checkpoint: Path
    steps: int
    parameters: int
    adopted: Adoption | None
    report: Report | None
    calibration: dict[str, Any]
    faults: FaultLog

    def to_json(self) -> dict[str, Any]:
        """For people and for JSON."""
        report = self.report
        figures = {} if report is None else {"map": report.map, "groups": report.groups, "ap": report.ap}
        return {
            "checkpoint": str(self.checkpoint),
            "steps": self.steps,
            **figures,
            **self.calibration,
            **({} if self.adopted is None else _classes(self.adopted)),
            "parameters": self.parameters,
            "faults": self.faults.to_json(),
        }


def train(
    recipe_path: Path,
    out: Path | None = None,
    resume: bool = False,
    progress: bool = True,
    given: Given | None = None,
) -> dict[str, Any] | None:
    """Train by a recipe: simulate or decode what data is missing, train, calibrate, evaluate, write the checkpoint.

    Processes that torchrun has started share the work, each with a part of the batch.

    Args:
        recipe_path: YAML recipe.
        out: the checkpoint to write; ``build/<name>.safetensors`` by default. State, log and pictures lie in a folder
            beside it.
        resume: go on where an interrupted run of the same recipe stopped.
        progress: show progress bars, and where the run can be followed.
        given: in place of entries of the recipe.

    Returns:
        ``checkpoint``, ``steps``, ``map``, ``groups``, ``ap``, ``parameters``, ``faults`` and those of
        ``Fitted.summary``, without figures where everything is learnt from; None in the processes beside the first.

    Raises:
        ConfigurationError: the recipe does not hold together, or ``out`` is a file that it reads.
    """
    recipe = load_any_recipe(recipe_path, given)
    out = out or Path("build") / f"{recipe.name}.safetensors"
    folder = out.with_suffix(".training")
    refuse_losses([Output("--out", out), Output("the run's folder", folder, "folder")], reads(recipe_path, recipe))
    validated = given is None or not given.everything
    if validated:
        refuse_overlap(recipe.train, recipe.validation)
    if isinstance(recipe, Recipe):
        rehearse(recipe)
    origin = provenance(recipe_path, recipe, given)
    trained: Trained | TrainedTeacher | None
    with joined() as ranks:
        if isinstance(recipe, TeacherRecipe):
            trained = train_teacher(recipe, out, origin, resume, progress, validated, ranks)
        else:
            trained = train_recipe(recipe, out, origin, resume, progress, validated, ranks)
    return None if trained is None else trained.to_json()


def train_recipe(
    recipe: Recipe,
    out: Path,
    origin: dict[str, Any],
    resume: bool = False,
    progress: bool = False,
    validated: bool = True,
    ranks: Ranks | None = None,
    told: StepProgress | None = None,
) -> Trained | None:
    """Train a student and write its checkpoint: what every command does that trains one.

    Args:
        recipe: the run.
        out: the checkpoint; state, log and pictures lie in a folder beside it.
        origin: its provenance, to which steps and data are added.
        resume: go on where an interrupted run stopped.
        progress: show progress bars, and where the run can be followed.
        validated: evaluate along the way, calibrate at the end; without, the validation data is not touched.
        ranks: the processes that share the work.
        told: called after every step; what it raises ends the run, which can be resumed.

    Returns:
        What came of it; None in the processes beside the first.
    """
    ranks = ranks or Ranks(device="cuda" if torch.cuda.is_available() else "cpu")
    folder = out.with_suffix(".training")
    semantics = Semantics(recipe, recipe.data_folder / "regions") if recipe.student.language_width else None
    if ranks.leads:
        require_place(out)
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        console = Console(stderr=True)
        bar = stack.enter_context(Progress(*COLUMNS, console=console, disable=not (progress and ranks.leads)))

        def opened(specs: Sequence[DataSpec]) -> Frames:
            shown = shown_in(bar)
            return stack.enter_context(open_frames(specs, recipe.data_folder, recipe.student, ranks.prepares, shown))

        validation = opened(recipe.validation) if validated else None
        frames = opened(recipe.train)
        task = StudentTask(recipe, frames, validation, semantics, ranks)
        engine = Engine(task, recipe.schedule, folder, ranks, recipe.validation_frames)
        start = weights_of_start(task.student, recipe.start) if recipe.start and recipe.initial_share else {}
        if resume:
            engine.resume()
        record = record_of(folder, console if progress else None) if ranks.leads else None
        if record is not None:
            stack.callback(record.close)
        shown_task = bar.add_task("training", total=engine.steps, completed=engine.step)

        def show(step: int, steps: int, losses: dict[str, float]) -> None:
            bar.update(shown_task, completed=step, description=f"loss {losses['total']:.3f}")
            if told is not None:
                told(step, steps, losses)

        engine.run(show, record)
        if not ranks.leads:
            return None
        student = engine.averaged.module
        assert isinstance(student, Student)
        blend(student, start, recipe.initial_share)
        fitted = None if validation is None else calibrate(student, validation, settings_of(recipe), ranks.device)
        if fitted is not None:
            student.config = fitted.config
            write_whole(folder / "report.json", json.dumps({**fitted.report.to_json(), **fitted.summary()}, indent=1))
            if record is not None and validation is not None:
                record.pictures(engine.step, task.pictures(student))
        origin = {**origin, "steps": engine.step, "data": frames.provenance}
        language = None if semantics is None else semantics.describe()
        calibration = None if fitted is None else fitted.calibration
        save_checkpoint(out, student, recipe.name, origin, language, calibration, recipe.class_list)
    opened_frames = [frames] if validation is None else [validation, frames]
    return Trained(
        out,
        engine.step,
        sum(parameter.numel() for parameter in student.parameters()),
        task.adopted,
        None if fitted is None else fitted.report,
        {} if fitted is None else fitted.summary(),
        FaultLog(fault for each in opened_frames for fault in each.faults),
    )


def _classes(adopted: Adoption) -> dict[str, Any]:
    """What became of the classes of the checkpoint that training started from, where they are others."""
    told = {"begun": dict(adopted.begun), "dropped": list(adopted.dropped)}
    return {f"classes_{name}": value for name, value in told.items() if value}


def reads(recipe_path: Path, recipe: Recipe | TeacherRecipe) -> list[Input]:
    """The files that training by a recipe begins with."""
    files: dict[str, Path | None] = {"the recipe": recipe_path, "the initial checkpoint": recipe.start}
    if isinstance(recipe, Recipe) and recipe.language.pretrained is not None:
        files["the language model"] = Path(recipe.language.pretrained)
    if isinstance(recipe, Recipe) and recipe.distillation is not None:
        files["the teacher"] = chosen_teacher(recipe.distillation.teacher)
        monostl = recipe.distillation.monostl
        files["the depth teacher"] = None if monostl is None else monostl.teacher
        regions = recipe.distillation.regions
        files["the student that detects"] = None if regions is None else chosen_student(regions.student)
    bags = {bag for spec in (*recipe.train, *recipe.validation) for pattern in spec.bags for bag in find_bags(pattern)}
    given = [Input(name, path) for name, path in files.items() if path is not None]
    return given + [Input("the bag", bag) for bag in sorted(bags)]


def provenance(recipe_path: Path, recipe: Recipe | TeacherRecipe, given: Given | None = None) -> dict[str, Any]:
    """Where a checkpoint comes from: enough to make it again, with the steps and the data that are added."""
    told = {} if given is None else given.to_json()
    return {
        "recipe": recipe_path.name,
        "recipe_text": recipe_path.read_text(),
        "seed": recipe.seed,
        "package_version": semlt3d_ros.__version__,
        "torch_version": torch.__version__,
        **({"given": told} if told else {}),
    }

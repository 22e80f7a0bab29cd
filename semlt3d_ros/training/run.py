"""``semlt3d train``: from a recipe to a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

import semlt3d_ros
from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.outputs import require_place, write_whole
from semlt3d_ros.core.places import Input, Output, refuse_losses
from semlt3d_ros.datasets.opening import Progress as SourceProgress
from semlt3d_ros.datasets.recorded import find_bags, refuse_overlap
from semlt3d_ros.training.calibrate import calibrate
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.language import Semantics
from semlt3d_ros.training.loop import Trainer, rehearse
from semlt3d_ros.training.recipe import Recipe, load_recipe, settings_of

_COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
    TextColumn("{task.description}"),
)


def train(recipe_path: Path, out: Path | None = None, resume: bool = False, progress: bool = True) -> dict[str, Any]:
    """Train by a recipe: simulate what data is missing, train, calibrate, evaluate, write the checkpoint.

    Args:
        recipe_path: YAML recipe.
        out: the checkpoint to write; ``build/<name>.safetensors`` by default. State and log lie in a folder beside it.
        resume: go on where an interrupted run of the same recipe stopped.
        progress: show progress bars.

    Returns:
        ``checkpoint``, ``steps``, ``map``, ``groups``, ``ap``, ``parameters`` and those of ``Fitted.summary``.

    Raises:
        ConfigurationError: the recipe does not hold together, or ``out`` is a file that it reads.
    """
    recipe = load_recipe(recipe_path)
    out = out or Path("build") / f"{recipe.name}.safetensors"
    folder = out.with_suffix(".training")
    refuse_losses([Output("--out", out), Output("the run's folder", folder, "folder")], reads(recipe_path, recipe))
    refuse_overlap(recipe.train, recipe.validation)
    rehearse(recipe)
    semantics = Semantics(recipe, recipe.data_folder / "regions") if recipe.student.language_width else None
    require_place(out)
    folder.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with (
        Progress(*_COLUMNS, console=Console(stderr=True), disable=not progress) as bar,
        open_frames(recipe.validation, recipe.data_folder, recipe.student, progress=_shown(bar)) as validation,
        open_frames(recipe.train, recipe.data_folder, recipe.student, progress=_shown(bar)) as frames,
    ):
        faults = FaultLog([*validation.faults, *frames.faults])
        trainer = Trainer(recipe, frames, folder, device, semantics)
        if resume:
            trainer.resume()
        task = bar.add_task("training", total=trainer.steps, completed=trainer.step)

        def show(step: int, _: int, losses: dict[str, float]) -> None:
            bar.update(task, completed=step, description=f"loss {losses['total']:.3f}")

        trainer.run(validation, show)
        student = trainer.averaged_student
        fitted = calibrate(student, validation, settings_of(recipe), device)
    student.config, report = fitted.config, fitted.report
    language = None if semantics is None else semantics.describe()
    origin = provenance(recipe_path, recipe, trainer.step, frames.provenance)
    save_checkpoint(out, student, recipe.name, origin, language, fitted.calibration, recipe.class_list)
    write_whole(folder / "report.json", json.dumps({**report.to_json(), **fitted.summary()}, indent=1))
    return {
        "checkpoint": str(out),
        "steps": trainer.step,
        "map": report.map,
        "groups": report.groups,
        "ap": report.ap,
        **fitted.summary(),
        "parameters": sum(parameter.numel() for parameter in trainer.student.parameters()),
        "faults": faults.to_json(),
    }


def _shown(bar: Progress) -> SourceProgress:
    """Shows the decoding of recordings as a task of a progress bar."""
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: float, of: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what)
        bar.update(tasks[what], completed=done, total=of)

    return show


def reads(recipe_path: Path, recipe: Recipe) -> list[Input]:
    """The files that training by a recipe begins with."""
    files: dict[str, Path | None] = {"the recipe": recipe_path, "the initial checkpoint": recipe.initial}
    if recipe.language.pretrained is not None:
        files["the language model"] = Path(recipe.language.pretrained)
    bags = {bag for spec in (*recipe.train, *recipe.validation) for pattern in spec.bags for bag in find_bags(pattern)}
    given = [Input(name, path) for name, path in files.items() if path is not None]
    return given + [Input("the bag", bag) for bag in sorted(bags)]


def provenance(recipe_path: Path, recipe: Recipe, steps: int, data: list[dict[str, Any]]) -> dict[str, Any]:
    """Where a checkpoint comes from: enough to make it again."""
    return {
        "recipe": recipe_path.name,
        "recipe_text": recipe_path.read_text(),
        "steps": steps,
        "seed": recipe.seed,
        "package_version": semlt3d_ros.__version__,
        "torch_version": torch.__version__,
        "data": data,
    }

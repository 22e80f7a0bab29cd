"""``semlt3d train``: from a recipe to a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import semlt3d_ros
from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.core.outputs import require_place, write_whole
from semlt3d_ros.core.places import Input, Output, refuse_losses
from semlt3d_ros.training.calibrate import calibrate
from semlt3d_ros.training.language import Semantics
from semlt3d_ros.training.loop import Trainer, rehearse
from semlt3d_ros.training.recipe import Recipe, load_recipe, settings_of
from semlt3d_ros.training.rendering import RenderedFrames

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
    rehearse(recipe)
    semantics = Semantics(recipe, recipe.data_folder / "regions") if recipe.student.language_width else None
    require_place(out)
    folder.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with (
        RenderedFrames(recipe.data_folder, [recipe.validation]) as validation,
        RenderedFrames(recipe.data_folder, recipe.train) as frames,
    ):
        trainer = Trainer(recipe, frames, folder, device, semantics)
        if resume:
            trainer.resume()
        with Progress(*_COLUMNS, console=Console(stderr=True), disable=not progress) as bar:
            task = bar.add_task("training", total=trainer.steps, completed=trainer.step)

            def show(step: int, _: int, losses: dict[str, float]) -> None:
                bar.update(task, completed=step, description=f"loss {losses['total']:.3f}")

            trainer.run(validation, show)
        student = trainer.averaged_student
        fitted = calibrate(student, validation, settings_of(recipe), device)
    student.config, report = fitted.config, fitted.report
    language = None if semantics is None else semantics.describe()
    origin = provenance(recipe_path, recipe, trainer.step)
    save_checkpoint(out, student, recipe.name, origin, language, fitted.calibration)
    write_whole(folder / "report.json", json.dumps({**report.to_json(), **fitted.summary()}, indent=1))
    return {
        "checkpoint": str(out),
        "steps": trainer.step,
        "map": report.map,
        "groups": report.groups,
        "ap": report.ap,
        **fitted.summary(),
        "parameters": sum(parameter.numel() for parameter in trainer.student.parameters()),
    }


def reads(recipe_path: Path, recipe: Recipe) -> list[Input]:
    """The files that training by a recipe begins with."""
    files: dict[str, Path | None] = {"the recipe": recipe_path, "the initial checkpoint": recipe.initial}
    if recipe.language.pretrained is not None:
        files["the language model"] = Path(recipe.language.pretrained)
    return [Input(name, path) for name, path in files.items() if path is not None]


def provenance(recipe_path: Path, recipe: Recipe, steps: int) -> dict[str, Any]:
    """Where a checkpoint comes from: enough to make it again."""
    return {
        "recipe": recipe_path.name,
        "recipe_text": recipe_path.read_text(),
        "steps": steps,
        "seed": recipe.seed,
        "package_version": semlt3d_ros.__version__,
        "torch_version": torch.__version__,
        "data": "simulated world only",
    }

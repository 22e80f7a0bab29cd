"""``semlt3d train``: from a recipe to a checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import semlt3d_ros
from semlt3d_ros.data.shards import ShardDataset
from semlt3d_ros.simulation.generate import GenerationRecipe, generate_shards
from semlt3d_ros.student.checkpoint import save_checkpoint
from semlt3d_ros.training.loop import Trainer
from semlt3d_ros.training.recipe import Recipe, load_recipe


def train(recipe_path: Path, out: Path | None = None, resume: bool = False, progress: bool = True) -> dict[str, Any]:
    """Train by a recipe: simulate what data is missing, train, evaluate, write the checkpoint.

    Args:
        recipe_path: YAML recipe.
        out: the checkpoint to write; ``build/<name>.safetensors`` by default. State and log lie in a folder beside it.
        resume: go on where an interrupted run of the same recipe stopped.
        progress: show progress bars.

    Returns:
        ``checkpoint``, ``steps``, ``map``, ``groups``, ``ap`` and ``parameters``.

    Raises:
        ConfigurationError: the recipe does not hold together.
    """
    recipe = load_recipe(recipe_path)
    out = out or Path("build") / f"{recipe.name}.safetensors"
    folder = out.with_suffix(".training")
    folder.mkdir(parents=True, exist_ok=True)
    frames = dataset(recipe.data_folder, recipe.train, progress)
    validation = dataset(recipe.data_folder, recipe.validation, progress)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trainer = Trainer(recipe, frames, folder, device)
    if resume:
        trainer.resume()
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task("training", total=trainer.steps, completed=trainer.step)

        def show(step: int, _: int, losses: dict[str, float]) -> None:
            bar.update(task, completed=step, description=f"loss {losses['total']:.3f}")

        trainer.run(validation, show)
    report = trainer.evaluate(validation)
    save_checkpoint(out, trainer.averaged_student, recipe.name, provenance(recipe_path, recipe, trainer.step))
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=1))
    return {
        "checkpoint": str(out),
        "steps": trainer.step,
        "map": report.map,
        "groups": report.groups,
        "ap": report.ap,
        "parameters": sum(parameter.numel() for parameter in trainer.student.parameters()),
    }


def dataset(folder: Path, recipe: GenerationRecipe, progress: bool) -> ShardDataset:
    """The frames a generation recipe asks for, rendered first if they are not stored yet."""
    digest = hashlib.sha256(repr(recipe).encode()).hexdigest()[:10]
    return ShardDataset(generate_shards(folder / digest, recipe, progress=progress))


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

"""Ablations: the same recipe with one thing changed at a time, over several seeds, on an unseen test set."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.simulation.generate import GenerationRecipe
from semlt3d_ros.student.checkpoint import save_checkpoint
from semlt3d_ros.training.language import Semantics
from semlt3d_ros.training.loop import Trainer
from semlt3d_ros.training.recipe import Recipe, build, parse_recipe, read_yaml
from semlt3d_ros.training.rendering import RenderedFrames


@dataclass(frozen=True)
class Row:
    """One line of the table: a name and what it changes in the recipe (nested mappings, merged)."""

    name: str
    change: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """What to compare.

    Attributes:
        name: of the experiment.
        recipe: the entries that all runs share.
        test: what is simulated for the test set; none of its seeds may be among those of the recipe.
        seeds: training seeds of every row.
        bases: detectors on which every row is tried, each a change of the recipe.
        rows: what is compared.
        title, notes: for the report.
    """

    name: str
    recipe: dict[str, Any]
    test: GenerationRecipe
    seeds: tuple[int, ...]
    bases: tuple[Row, ...]
    rows: tuple[Row, ...]
    title: str = ""
    notes: str = ""

    def runs(self) -> Iterator[tuple[Row, Row, int]]:
        """Base, row and seed of every run; the first seeds of all rows come before any second one."""
        for seed in self.seeds:
            for base in self.bases:
                for row in self.rows:
                    yield base, row, seed

    def recipe_of(self, base: Row, row: Row, seed: int) -> Recipe:
        """The recipe of one run.

        Raises:
            ConfigurationError: an entry is unknown or does not fit.
        """
        values = merged(merged(self.recipe, base.change), row.change)
        place = f"experiment '{self.name}', {base.name}, {row.name}"
        return parse_recipe({**values, "name": run_name(base, row, seed), "seed": seed}, place)


def run_name(base: Row, row: Row, seed: int) -> str:
    """File name of a run."""
    words = "".join(letter if letter.isalnum() else " " for letter in f"{base.name} {row.name}").split()
    return "-".join([*words, str(seed)]).lower()


def merged(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``values`` with the entries of ``change``, mappings merged entry by entry."""
    result = dict(values)
    for name, value in change.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if both else value
    return result


def load_experiment(path: Path) -> Experiment:
    """Read an experiment from YAML and check every recipe in it.

    Raises:
        ConfigurationError: the file is absent or no YAML, an entry does not fit, or test seeds were trained on.
    """
    values, place = read_yaml(path, "experiment"), f"experiment '{path}'"
    if not isinstance(values, dict):
        raise ConfigurationError(f"{place} must be a mapping of entries")
    values = dict(values)
    if "test" in values:
        values["test"] = build(GenerationRecipe, values["test"], f"{place}, test")
    for name in ("bases", "rows"):
        values[name] = [build(Row, entry, f"{place}, {name}") for entry in values.get(name, [])]
    experiment = build(Experiment, values, place)
    if not (experiment.seeds and experiment.bases and experiment.rows):
        raise ConfigurationError(f"{place}: needs at least one entry in each of seeds, bases and rows")
    tested = range(experiment.test.first_seed, experiment.test.first_seed + experiment.test.drives)
    for run in experiment.runs():
        recipe = experiment.recipe_of(*run)
        for part in (*recipe.train, recipe.validation):
            if tested.start < part.first_seed + part.drives and part.first_seed < tested.stop:
                raise ConfigurationError(f"{place}: test seeds {tested} are among those of training or validation")
    return experiment


def run_all(experiment: Experiment, folder: Path, processes: int, done: Callable[[str], None]) -> list[dict[str, Any]]:
    """Do the runs that have no result yet; interrupted ones go on where they were.

    Args:
        experiment: what to compare.
        folder: for results, checkpoints and states.
        processes: runs side by side, each on one thread when there are several.
        done: called with the name of each run that has its result.

    Returns:
        The results of all runs, in the order of ``experiment.runs()``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(experiment, folder, run) for run in experiment.runs() if not _result(folder, run).exists()]
    for run in experiment.runs():
        if _result(folder, run).exists():
            done(run_name(*run))
    if processes <= 1:
        for job in jobs:
            done(_run(job))
    else:
        with multiprocessing.get_context("spawn").Pool(processes, _one_thread, maxtasksperchild=1) as pool:
            for name in pool.imap_unordered(_run, jobs):
                done(name)
    return results(experiment, folder)


def results(experiment: Experiment, folder: Path) -> list[dict[str, Any]]:
    """The results so far."""
    paths = [_result(folder, run) for run in experiment.runs()]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def checkpoint_path(folder: Path, run: tuple[Row, Row, int]) -> Path:
    """Where a run's checkpoint is."""
    return folder / f"{run_name(*run)}.safetensors"


def _result(folder: Path, run: tuple[Row, Row, int]) -> Path:
    return folder / f"{run_name(*run)}.json"


def _one_thread() -> None:
    torch.set_num_threads(1)


def _run(job: tuple[Experiment, Path, tuple[Row, Row, int]]) -> str:
    experiment, folder, run = job
    recipe = experiment.recipe_of(*run)
    place = folder / f"{recipe.name}.training"
    place.mkdir(exist_ok=True)
    semantics = Semantics(recipe, recipe.data_folder / "regions") if recipe.student.language_width else None
    with (
        RenderedFrames(recipe.data_folder, [experiment.test]) as test,
        RenderedFrames(recipe.data_folder, [recipe.validation]) as validation,
        RenderedFrames(recipe.data_folder, recipe.train) as frames,
    ):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        trainer = Trainer(recipe, frames, place, device, semantics)
        trainer.resume()
        trainer.run(validation)
        report = trainer.evaluate(test)
    language = None if semantics is None else semantics.describe()
    save_checkpoint(
        checkpoint_path(folder, run), trainer.averaged_student, recipe.name, {"steps": trainer.step}, language
    )
    base, row, seed = run
    values = {"base": base.name, "row": row.name, "seed": seed, "steps": trainer.step}
    values["test"] = {"nds": report.nds, **report.to_json()}
    path = _result(folder, run)
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(values))
    os.replace(temporary, path)
    trainer.state_path.unlink(missing_ok=True)
    return recipe.name

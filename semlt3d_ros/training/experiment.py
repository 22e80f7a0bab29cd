"""Ablations: the same recipe with one thing changed at a time, over several seeds, on an unseen test set."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from semlt3d_ros.core.checks import Checked, Checks, rule
from semlt3d_ros.core.config import ConfigurationFaults, load, parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import write_whole
from semlt3d_ros.core.processes import deaf_to_ctrl_c
from semlt3d_ros.corruptions.benchmarks import unknown_corruptions
from semlt3d_ros.datasets.bag_jobs import refuse_overlap
from semlt3d_ros.datasets.specs import DataSpec, GenerationRecipe
from semlt3d_ros.training.recipe import Recipe, start_of, unfit_images
from semlt3d_ros.training.student_task import rehearse
from semlt3d_ros.training.teacher_recipe import TeacherRecipe
from semlt3d_ros.training.trial import judge_trial, prepare_trials, steps_of, train_trial

Value = Callable[[dict[str, Any]], float | None]
"""A value, as a share, of a run's result."""
COLUMNS: dict[str, Value] = {
    "mAP": lambda result: result["test"]["map"]["all"],
    "NDS": lambda result: result["test"]["nds"],
    "Many": lambda result: result["test"]["map"]["many"],
    "Medium": lambda result: result["test"]["map"]["medium"],
    "Few": lambda result: result["test"]["map"]["few"],
    "mATE cm": lambda result: result["test"]["errors"]["ate"],
    "mRR": lambda result: result["test"].get("robustness", {}).get("mean_resilience", {}).get("nds"),
    "mIoU": lambda result: result["test"].get("segmentation", {}).get("miou"),
}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: of the row.
        change: what it changes in the recipe (nested mappings, merged).
        trained_as: another row, whose trained weights this one evaluates with the student settings that it changes on
            top of that row's: for settings that only matter at run time.
        bases: names of the detectors that it is tried on; none means all.
        checkpoint: a checkpoint, ``shipped`` for the one that comes with the package, that this row judges as it is,
            once; nothing is trained.
    """

    name: str
    change: dict[str, Any] = field(default_factory=dict)
    trained_as: str = ""
    bases: tuple[str, ...] = ()
    checkpoint: Path | None = None


Run = tuple[Row, Row, int]
"""Base, row and seed."""


def _rows_to_borrow_from(experiment: Experiment) -> Iterator[str]:
    trained = {row.name for row in experiment.rows if not row.trained_as and row.checkpoint is None}
    for row in experiment.rows:
        if row.trained_as and row.trained_as not in trained:
            yield (
                f"row '{row.name}': trained_as names '{row.trained_as}', which is no row that is trained; use one of "
                f"{', '.join(sorted(trained))}"
            )
    pairs = {(base.name, row.name) for base, row in experiment.pairs()}
    for base, row in experiment.pairs():
        if row.trained_as in trained and (base.name, row.trained_as) not in pairs:
            yield f"row '{row.name}': '{row.trained_as}' is not trained on '{base.name}'"


def _bases_that_are_there(experiment: Experiment) -> Iterator[str]:
    names = [base.name for base in experiment.bases]
    for row in experiment.rows:
        for name in row.bases:
            if name not in names:
                yield f"row '{row.name}': there is no base '{name}'; use some of {', '.join(names)}"


def _something_to_compare_with(experiment: Experiment) -> Iterator[str]:
    names = [row.name for row in experiment.rows if not row.bases]
    if experiment.against and experiment.against not in names:
        yield f"against is '{experiment.against}', no row that is tried on all bases; use one of {', '.join(names)}"
    if experiment.against and "teacher" in experiment.recipe:
        yield "against compares what students find; leave it out"


def _names_apart(experiment: Experiment) -> Iterator[str]:
    names = Counter(run_name(*run) for run in experiment.runs())
    for name in (name for name, count in names.items() if count > 1):
        yield f"the runs '{name}' would overwrite each other; give bases, rows and seeds different names"


def _recipes_that_fit(experiment: Experiment) -> Iterator[str]:
    """Every base and row gives a recipe whose student can be tested, on drives that it does not learn from."""
    told: set[str] = set()
    for base, row in experiment.pairs():
        try:
            faults = _misfits(experiment, _recipe(experiment.entries_of(base, row, 0), "recipe"))
        except ConfigurationFaults as error:
            faults = list(error.faults)
        # What is wrong with all recipes is told of the first of them.
        yield from (f"{base.name}, {row.name}: {fault}" for fault in faults if fault not in told)
        told.update(faults)


def _misfits(experiment: Experiment, recipe: Recipe | TeacherRecipe) -> list[str]:
    faults = []
    for test in (experiment.test, *experiment.more_tests.values()):
        for spec in (*recipe.train, *recipe.validation):
            if test.simulate and spec.simulate and (shared := _shared_seeds(test.simulate, spec.simulate)):
                faults.append(f"test seeds {shared} are among those of training or validation")
        if isinstance(recipe, Recipe):
            faults += unfit_images(test, recipe.student)
    if experiment.corruptions and not isinstance(recipe, Recipe):
        faults.append("a teacher looks at no images: leave out corruptions")
    return faults


def _shared_seeds(test: GenerationRecipe, part: GenerationRecipe) -> range | None:
    """The seeds of a test set if any of them is another part's too."""
    tested = range(test.first_seed, test.first_seed + test.drives)
    return tested if tested.start < part.first_seed + part.drives and part.first_seed < tested.stop else None


@dataclass(frozen=True)
class Experiment(Checked):
    """What to compare.

    Attributes:
        name: of the experiment.
        recipe: the entries that all runs share.
        test: the test set; none of its seeds may be among those of the recipe.
        more_tests: further test sets by name; the table has their Many and Few, after the columns of ``test``.
        seeds: training seeds of every row.
        bases: detectors on which every row is tried, each a change of the recipe.
        rows: what is compared.
        title, notes: for the report.
        columns: of the table, about ``test``: some of mAP, NDS, Many, Medium, Few, ``mATE cm``, mRR (of students) and
            mIoU (of teachers).
        corruptions: of ``test``, by which mRR is measured; names as ``semlt3d evaluate --corrupt`` takes them.
        against: a row that the others are compared with, drive by drive (``training.paired``); none are without.
    """

    TITLE: ClassVar[str] = "experiment '{0.name}'"
    CHECKS: ClassVar[Checks] = (
        rule(lambda e: e.seeds and e.bases and e.rows, "needs at least one entry in each of seeds, bases and rows"),
        rule(lambda e: min(e.seeds, default=0) >= 0, "seeds must not be negative, not {0.seeds}"),
        rule(
            lambda e: set(e.columns) <= set(COLUMNS), f"columns must be some of {', '.join(COLUMNS)}, not {{0.columns}}"
        ),
        rule(
            lambda e: bool(e.corruptions) == ("mRR" in e.columns),
            "the column mRR and corruptions go together; name both or neither",
        ),
        lambda e: unknown_corruptions(e.corruptions),
        _rows_to_borrow_from,
        _bases_that_are_there,
        _something_to_compare_with,
        _names_apart,
        _recipes_that_fit,
    )

    name: str
    recipe: dict[str, Any]
    test: DataSpec
    seeds: tuple[int, ...]
    bases: tuple[Row, ...]
    rows: tuple[Row, ...]
    title: str = ""
    notes: str = ""
    more_tests: dict[str, DataSpec] = field(default_factory=dict)
    columns: tuple[str, ...] = ("mAP", "NDS", "Many", "Medium", "Few")
    corruptions: tuple[str, ...] = ()
    against: str = ""

    @property
    def tests(self) -> dict[str, DataSpec]:
        """The test sets by name; that of ``test`` is ""."""
        return {"": self.test, **self.more_tests}

    def runs(self) -> Iterator[Run]:
        """Base, row and seed of every run; the first seeds of all rows come before any second one."""
        for seed in self.seeds:
            for base, row in self.pairs():
                if row.checkpoint is None or seed == self.seeds[0]:
                    yield base, row, seed

    def pairs(self) -> Iterator[tuple[Row, Row]]:
        """Base and row of what is compared."""
        for base in self.bases:
            yield from ((base, row) for row in self.rows if not row.bases or base.name in row.bases)

    def recipe_of(self, base: Row, row: Row, seed: int) -> Recipe | TeacherRecipe:
        """The recipe of one run.

        Raises:
            ConfigurationError: an entry is unknown or does not fit.
        """
        place = f"experiment '{self.name}', {base.name}, {row.name}"
        return _recipe(self.entries_of(base, row, seed), place)

    def entries_of(self, base: Row, row: Row, seed: int) -> dict[str, Any]:
        """The entries of the recipe of one run."""
        trained = next((other for other in self.rows if other.name == row.trained_as), Row(""))
        values = merged(merged(merged(self.recipe, base.change), trained.change), row.change)
        return {**values, "name": run_name(base, row, seed), "seed": seed}


def _recipe(values: dict[str, Any], place: str) -> Recipe | TeacherRecipe:
    """A recipe of an experiment: its student is what it says, whatever the checkpoint is that it starts from."""
    return parse(TeacherRecipe, values, place) if "teacher" in values else parse(Recipe, values, place)


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


_Job = tuple[Experiment, Path, Run]


def load_experiment(path: Path) -> Experiment:
    """Read an experiment from YAML and check every recipe in it.

    Raises:
        ConfigurationError: the file is absent or no YAML, entries do not fit, or test seeds were trained on; all are
            named.
    """
    return load(Experiment, path, "experiment")


def run_all(experiment: Experiment, folder: Path, processes: int, done: Callable[[str], None]) -> list[dict[str, Any]]:
    """Do the runs that have no result yet; interrupted ones go on where they were.

    A finished run whose result lacks a test set or its robustness, since that was added later, is only evaluated.

    Args:
        experiment: what to compare.
        folder: for results, checkpoints and states.
        processes: runs side by side, each on one thread when there are several.
        done: called with the name of each run that has its result.

    Returns:
        The results of all runs, in the order of ``experiment.runs()``.
    """
    finished, missing = list[Run](), list[Run]()
    for run in experiment.runs():
        (missing if _tests_to_do(experiment, folder, run) else finished).append(run)
    for run in missing:
        if run[2] == experiment.seeds[0] and not checkpoint_path(folder, run).exists():
            recipe = experiment.recipe_of(*run)
            refuse_overlap(recipe.train, (*recipe.validation, experiment.test, *experiment.more_tests.values()))
            if isinstance(recipe, Recipe):
                rehearse(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    for run in finished:
        done(run_name(*run))
    if processes > 1:  # what runs side by side starts no processes of its own, and needs the same frames
        trials = [(experiment.recipe_of(*run), _tests_to_do(experiment, folder, run)) for run in missing]
        prepare_trials(trials, processes)
    # Those that borrow another row's weights come when all weights are there.
    for borrowing in (False, True):
        jobs = [(experiment, folder, run) for run in missing if bool(run[1].trained_as) == borrowing]
        if processes <= 1:
            for job in jobs:
                done(_run(job))
        elif jobs:
            with deaf_to_ctrl_c():  # what starts the workers, one for each job, inherits it
                workers = multiprocessing.get_context("spawn").Pool(processes, _one_thread, maxtasksperchild=1)
            with workers as pool:
                for name in pool.imap_unordered(_run, jobs):
                    done(name)
    return results(experiment, folder)


def results(experiment: Experiment, folder: Path) -> list[dict[str, Any]]:
    """The results so far."""
    paths = [_result(folder, run) for run in experiment.runs()]
    return [_read(path) for path in paths if path.exists()]


def checkpoint_path(folder: Path, run: Run) -> Path:
    """Where the checkpoint is that a run trains, borrows or judges as it is."""
    base, row, seed = run
    if row.checkpoint is not None:
        return start_of(row.checkpoint)
    return folder / f"{run_name(base, replace(row, name=row.trained_as or row.name), seed)}.safetensors"


def _result(folder: Path, run: Run) -> Path:
    return folder / f"{run_name(*run)}.json"


def kept_path(folder: Path, run: Run, test: str) -> Path:
    """Where what a run found in a test set is kept."""
    return folder / f"{run_name(*run)}{test and '.'}{test}.npz"


def _one_thread() -> None:
    torch.set_num_threads(1)


def _tests_to_do(experiment: Experiment, folder: Path, run: Run) -> dict[str, DataSpec]:
    """Test sets that a run has no result on, by name; the first of the experiment is named ""."""
    path = _result(folder, run)
    if not path.exists():
        return experiment.tests
    known = _read(path)
    there = {"", *known.get("more_tests", {})}
    if experiment.corruptions and "robustness" not in known["test"]:
        there.remove("")
    if experiment.against:
        there = {name for name in there if kept_path(folder, run, name).exists()}
    return {name: test for name, test in experiment.tests.items() if name not in there}


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text())
    return values


def _run(job: _Job) -> str:
    """Train if there is no checkpoint, then evaluate it on the test sets that it has no result on."""
    experiment, folder, run = job
    base, row, seed = run
    recipe, path, checkpoint = experiment.recipe_of(*run), _result(folder, run), checkpoint_path(folder, run)
    if not checkpoint.exists() and row.checkpoint is None:
        if row.trained_as:
            result = _result(folder, (base, replace(row, name=row.trained_as), seed))
            raise ConfigurationError(f"'{checkpoint}' is missing; remove '{result}' to have it trained again")
        train_trial(recipe, checkpoint)
    values: dict[str, Any] = {"base": base.name, "row": row.name, "seed": seed, "steps": steps_of(checkpoint)}
    values |= _read(path) if path.exists() else {}
    for name, test in _tests_to_do(experiment, folder, run).items():
        kept = kept_path(folder, run, name) if experiment.against else None
        report = judge_trial(recipe, checkpoint, test, () if name else experiment.corruptions, kept)
        if name:
            values["more_tests"] = values.get("more_tests", {}) | {name: report}
        else:
            values["test"] = report
    write_whole(path, json.dumps(values))
    return recipe.name

"""How the rows of an experiment differ from one of them, drive by drive, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.classes import frequency_groups
from semlt3d_ros.evaluation.protocols import protocol_of
from semlt3d_ros.training.experiment import Experiment, Run, kept_path
from semlt3d_ros.training.paired import MEASURES, Gain, Kept, drawn_figures, gains
from semlt3d_ros.training.recipe import Recipe

Figures = dict[str, NDArray[np.float64]]


def comparison(experiment: Experiment, folder: Path) -> list[str]:
    """Lines of a report: a table for each test set and measure; nothing where rows are compared with none."""
    lines: list[str] = []
    if not experiment.against:
        return lines
    for test in experiment.tests:
        found = dict(_figures(experiment, folder, test))
        for measure in MEASURES:
            lines += _table(experiment, test, measure, found)
    return [*lines, _WHAT_IT_IS] if lines else lines


_WHAT_IT_IS = """\
Percent. In brackets the gain over the row compared with, mean over the seeds, and its 95 % interval by a paired
bootstrap over drives. *Given a box*: only objects on which a box lies within 2 m, ranked by their confidence in each
class, all classes weighing alike; by chance it is one over the number of classes.
"""


def _figures(experiment: Experiment, folder: Path, test: str) -> Iterator[tuple[tuple[str, str], tuple[Figures, int]]]:
    """Base and row to their figures on drives drawn anew, and how many drives there are."""
    runs: dict[tuple[str, str], list[Run]] = {}
    for run in experiment.runs():
        if kept_path(folder, run, test).exists():
            runs.setdefault((run[0].name, run[1].name), []).append(run)
    for place, mine in runs.items():
        recipe = experiment.recipe_of(*mine[0])
        assert isinstance(recipe, Recipe)
        kept = [Kept.load(kept_path(folder, run, test)) for run in mine]
        yield place, (drawn_figures(kept, protocol_of(recipe.class_list)), len(kept[0].matches.truth))


def _table(
    experiment: Experiment, test: str, measure: str, found: dict[tuple[str, str], tuple[Figures, int]]
) -> Iterator[str]:
    recipe = experiment.recipe_of(*next(experiment.runs()))
    assert isinstance(recipe, Recipe)
    groups = list(frequency_groups(protocol_of(recipe.class_list).classes))
    once = next(row for row in experiment.rows if row.name == experiment.against).checkpoint is not None
    yield f"## {measure}, against '{experiment.against}'" + (f", on '{test}'" if test else "")
    yield ""
    yield "| " + " | ".join(["detector", "row", *(group.capitalize() for group in groups)]) + " |"
    yield "|" + "---|" * (len(groups) + 2)
    for (base, row), (figures, drives) in found.items():
        if (base, experiment.against) not in found:
            continue
        reference, _ = found[base, experiment.against]
        # Seeds come in the same order; those that one of them has not come to yet have nothing to be compared with.
        both = len(figures[f"{measure}, {groups[0]}"])
        if not once:
            both = min(both, len(reference[f"{measure}, {groups[0]}"]))
        told = gains(_first(reference, both), _first(figures, both), drives)
        cells = [_cell(told[f"{measure}, {group}"], row == experiment.against) for group in groups]
        yield "| " + " | ".join([base, row, *cells]) + " |"
    yield ""


def _first(figures: Figures, seeds: int) -> Figures:
    return {name: values[:seeds] for name, values in figures.items()}


def _cell(gain: Gain, itself: bool) -> str:
    values = 100 * np.array(gain.values)
    text = f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")
    if itself or gain.interval is None:
        return text
    low, high = (100 * bound for bound in gain.interval)
    return f"{text} ({100 * gain.gain:+.1f}, {low:+.1f} to {high:+.1f})"

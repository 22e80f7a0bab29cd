"""Results of an experiment as a table and a plot: means over the seeds, with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from semlt3d_ros.core.outputs import whole
from semlt3d_ros.training.experiment import COLUMNS, Experiment, Value

_NO_GROUPS = ("mAP", "NDS", "mATE cm")
_NO_AP = ("mIoU", "mRR")


def columns_of(experiment: Experiment) -> dict[str, Value]:
    """The figures of a result by column: all of the test set, Many and Few of the further ones."""
    further = {
        f"{group.capitalize()}, {name}": _figure_of(name, group)
        for name in experiment.more_tests
        for group in ("many", "few")
    }
    return {name: COLUMNS[name] for name in experiment.columns} | further


def _figure_of(test: str, group: str) -> Value:
    def figure(result: dict[str, Any]) -> float | None:
        report = result.get("more_tests", {}).get(test)
        return None if report is None else report["map"][group]

    return figure


def summary(experiment: Experiment, results: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, list[float]]]:
    """Values over the seeds, in percent, by base and row, then by column; rows without a result are left out."""
    table: dict[tuple[str, str], dict[str, list[float]]] = {}
    figures = columns_of(experiment).items()
    for base, row in experiment.pairs():
        mine = [result for result in results if (result["base"], result["row"]) == (base.name, row.name)]
        if mine:
            found = {name: [figure(result) for result in mine] for name, figure in figures}
            table[base.name, row.name] = {
                name: [100 * value for value in values if value is not None] for name, values in found.items()
            }
    return table


def to_markdown(
    experiment: Experiment,
    results: Sequence[dict[str, Any]],
    latency: dict[tuple[str, str], float] | None,
    picture: str | None = None,
    compared: Sequence[str] = (),
) -> str:
    """The report: what was compared, the table (mean and deviation over the seeds), and the truth in the test set.

    Args:
        experiment: what was compared.
        results: of its runs.
        latency: milliseconds per frame by base and row; what is missing shows as a dash. None leaves the column out.
        picture: path of the plot, relative to the report.
        compared: lines about how rows differ, as of ``paired_report.comparison``.
    """
    lines = [f"# {experiment.title or experiment.name}", "", *experiment.notes.strip().splitlines(), ""]
    header = ["detector", "row", "seeds", *columns_of(experiment), *([] if latency is None else ["latency ms"])]
    lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for (base, row), columns in summary(experiment, results).items():
        cells = [_spread(values) for values in columns.values()]
        if latency is not None:
            time = latency.get((base, row))
            cells.append("-" if time is None else f"{time:.1f}")
        seeds = str(max(len(values) for values in columns.values()))
        lines.append("| " + " | ".join([base, row, seeds, *cells]) + " |")
    lines += ["", "Percent; mean and, after the sign, standard deviation over the training seeds.", ""]
    lines += compared
    if picture is not None:
        lines += [f"![The figures of every row]({picture})", ""]
    if results:
        lines += [_truth("Test set", results[0]["test"]), ""]
    for name in experiment.more_tests:
        found = [result["more_tests"][name] for result in results if name in result.get("more_tests", {})]
        lines += [line for report in found[:1] for line in (_truth(f"Test set '{name}'", report), "")]
    return "\n".join(lines)


def _truth(title: str, report: dict[str, Any]) -> str:
    truth = ", ".join(f"{name} {values['truth']}" for name, values in report["classes"].items())
    return f"{title}: {report['frames']} frames; true boxes that count: {truth}."


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def plot(experiment: Experiment, results: Sequence[dict[str, Any]], path: Path) -> None:
    """Bars of the means by row of groups, mIoU, mRR; one panel for each detector and figure, a dot for every seed."""
    table = summary(experiment, results)
    groups = [name for name in columns_of(experiment) if name not in _NO_GROUPS]
    bases = [base.name for base in experiment.bases if any(key[0] == base.name for key in table)]
    figure = Figure(figsize=(4 * len(groups), 3.2 * max(len(bases), 1)), layout="constrained")
    axes = figure.subplots(max(len(bases), 1), len(groups), squeeze=False)
    for line, base in zip(axes, bases, strict=False):
        rows = [row for place, row in table if place == base]
        for panel, group in zip(line, groups, strict=True):
            values = [table[base, row][group] for row in rows]
            means = [float(np.mean(entry)) if entry else 0.0 for entry in values]
            panel.barh(range(len(rows)), means, color="#7aa6c2")
            for position, entry in enumerate(values):
                panel.plot(entry, [position] * len(entry), "o", color="#1b3a4b", markersize=4)
            panel.set_yticks(range(len(rows)), rows if group == groups[0] else [""] * len(rows))
            panel.invert_yaxis()
            panel.set_title(f"{base}: {group}")
            panel.set_xlabel(f"{'' if group in _NO_AP else 'AP, '}percent (a dot is a seed)")
    with whole(path) as draft:
        figure.savefig(draft, dpi=110)

"""An evaluation's figures as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from semlt3d_ros.core.taxonomy import GROUPS
from semlt3d_ros.evaluation.outcomes import LEVELS
from semlt3d_ros.evaluation.report import ClassResult, Report, mean_of

_ERROR_TITLES = {"ate": "ATE m", "ase": "ASE", "aoe": "AOE rad", "ave": "AVE m/s", "aae": "AAE"}


def report_table(report: Report, title: str | None = None) -> Table:
    """The classes, the frequency groups, the means, and below them NDS, hierarchical AP and what to mind."""
    settings = report.settings
    distances, shown = settings.protocol.distances, _shown_errors(report)
    table = Table(title=title or f"{report.frames} frames, protocol {settings.protocol.name}", title_justify="left")
    table.add_column("class")
    table.add_column("group")
    figures = ["AP", *(f"@{distance:g} m" for distance in distances), *(f"LCA {level}" for level in LEVELS[1:])]
    for heading in ["truth", "predicted", *figures, *(_ERROR_TITLES[name] for name in shown), "ECE"]:
        table.add_column(heading, justify="right")
    for result in report.classes:
        _add(table, result.name, result.group, [result], report)
    table.add_section()
    for group in GROUPS:
        if report.of_group(group):
            _add(table, f"mean {group}", group, report.of_group(group), report, style="bold")
    _add(table, "mean all", "", report.classes, report, style="bold")
    table.caption = "\n".join(_captions(report))
    table.caption_justify = "left"
    return table


def _add(
    table: Table, name: str, group: str, results: Sequence[ClassResult], report: Report, style: str | None = None
) -> None:
    """A row of one class, or of the means of several."""
    distances = report.settings.protocol.distances
    figures = [
        mean_of(each.ap for each in results),
        *(mean_of(each.ap_by_distance.get(distance) for each in results) for distance in distances),
        *(mean_of(each.hierarchical_ap(level) for each in results) for level in LEVELS[1:]),
        *(mean_of(each.errors.get(error) for each in results) for error in _shown_errors(report)),
        mean_of(each.reliability.error for each in results),
    ]
    counts = (sum(each.truth for each in results), sum(each.predictions for each in results))
    table.add_row(name, group, *map(str, counts), *map(_text, figures), style=style)


def _shown_errors(report: Report) -> tuple[str, ...]:
    """The attribute error is a column of ones where nobody knows an attribute."""
    return tuple(name for name in _ERROR_TITLES if name != "aae" or report.attributes_known)


def _captions(report: Report) -> list[str]:
    lines = [
        f"mAP {_text(report.map)}, NDS {_text(report.nds)}; "
        + ", ".join(f"LCA={level} {_text(means['all'])}" for level, means in report.lca.items())
        + f"; calibration error over all predictions {_text(report.calibration_error)}"
    ]
    if not report.attributes_known:
        lines.append("no attribute is known: it counts as wrong, and NDS is 0.9 at most")
    absent = "count as 0" if report.settings.absent_classes == "zero" else "left out of the means"
    notes = {f"without truth, {absent}": report.classes_without_truth, "not evaluated": report.unknown_classes}
    return lines + [f"{note}: {', '.join(names)}" for note, names in notes.items() if names]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

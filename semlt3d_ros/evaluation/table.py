"""An evaluation's figures as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from semlt3d_ros.core.classes import GROUPS
from semlt3d_ros.evaluation.outcomes import LEVELS
from semlt3d_ros.evaluation.report import ClassResult, Report, mean_of

_ERROR_TITLES = {"ate": "ATE\nm", "ase": "ASE\n", "aoe": "AOE\nrad", "ave": "AVE\nm/s", "aae": "AAE\n"}


def report_table(report: Report, title: str | None = None) -> Table:
    """The classes, by frequency group if any, the means, and below them NDS, hierarchical AP and what to mind."""
    protocol = report.settings.protocol
    title = title or f"{report.frames} frames, protocol {protocol.name}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("class", no_wrap=True)
    figures = ["AP\n", *(f"AP\n{distance:g} m" for distance in protocol.distances)]
    figures += [f"LCA\n{level}" for level in LEVELS[1:]]
    for heading in ["truth", "found", *figures, *(_ERROR_TITLES[name] for name in _shown_errors(report)), "ECE\n"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for group in GROUPS:
        if report.of_group(group):
            for result in report.of_group(group):
                _add(table, result.name, [result], report)
            _add(table, f"mean {group}", report.of_group(group), report, style="bold")
            table.add_section()
    if report.of_group(""):
        for result in report.of_group(""):
            _add(table, result.name, [result], report)
        table.add_section()
    _add(table, "mean all", report.classes, report, style="bold")
    table.caption = "\n".join(_captions(report))
    table.caption_justify = "left"
    return table


def _add(table: Table, name: str, results: Sequence[ClassResult], report: Report, style: str | None = None) -> None:
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
    table.add_row(name, *map(str, counts), *map(_text, figures), style=style)


def _shown_errors(report: Report) -> tuple[str, ...]:
    """The attribute error is a column of ones where nobody knows an attribute."""
    return tuple(name for name in _ERROR_TITLES if name != "aae" or report.attributes_known)


def _captions(report: Report) -> list[str]:
    lines = [
        f"mAP {_text(report.map)}, NDS {_text(report.nds)}; "
        + ", ".join(f"LCA={level} {_text(means['all'])}" for level, means in report.lca.items())
        + f"; calibration error (ECE) over all classes {_text(report.calibration_error)}"
    ]
    if not report.attributes_known:
        lines.append("no attribute is known: its error counts as 1, so that NDS is 0.9 at most")
    absent = "count as 0" if report.settings.absent_classes == "zero" else "left out of the means"
    notes = {f"without truth, {absent}": report.classes_without_truth, "not evaluated": report.unknown_classes}
    return lines + [f"{note}: {', '.join(names)}" for note, names in notes.items() if names]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

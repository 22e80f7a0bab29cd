"""What came of it: a table, a picture, the two drives side by side in the viewer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.loop.place import Place
from semlt3d_ros.adaptation.verdict import Comparison, verdict_from_json
from semlt3d_ros.commands.output import print_json, print_table

PICTURE = "before_after.png"


def show(summary: dict[str, Any], folder: Path, as_json: bool) -> None:
    """Print the figures; the picture goes beside ``summary.json``."""
    rows = [row for result in summary["places"] for row in rows_of(result)]
    draw(rows, folder / PICTURE)
    if as_json:
        print_json(summary)
        return
    from rich.table import Table

    table = Table(
        "", "before", "after", "times", "change in points", "objects", title="before and after, AP in percent"
    )
    for where, name, before, after, bounds, objects in rows:
        if name == _FIRST:
            table.add_section()
            table.add_row(f"[bold]{where}")
        ratio = f"{after / before:.2f}" if before else "-"
        table.add_row(f"  {name}", f"{100 * before:.1f}", f"{100 * after:.1f}", ratio, bounds, str(objects))
    print_table(table)
    for result in summary["places"]:
        learnt = result["round"]
        print(f"{result['place']}: {result['events']} events, {learnt['state']}: {learnt['message']}")
    seconds = ", ".join(f"{name} {value:.0f}" for name, value in summary["seconds"].items())
    print(f"seconds: {seconds}; {sum(summary['seconds'].values()) / 60:.1f} minutes in all")
    print(f"all figures: {folder}/summary.json; pictures and tables: {folder}/*/comparison")


_FIRST = "all"
_Row = tuple[str, str, float, float, str, int]


def rows_of(result: dict[str, Any]) -> list[_Row]:
    """Where, which classes, AP before and after, bounds of the change, true boxes."""
    verdict = verdict_from_json(result["comparison"], "comparison")
    sides = ((result["place"], verdict.held_back), ("the city that it knew", verdict.regression))
    return [row for where, side in sides if side is not None for row in _rows(where, side)]


def _rows(where: str, side: Comparison) -> list[_Row]:
    cars = [each for each in side.classes if each.name == "car"]
    found: list[_Row] = []
    for each in (*side.groups, *cars):
        if each.running is None or each.candidate is None:
            continue
        bounds = "" if each.gain is None else f"{100 * each.gain:+.1f}"
        if each.low is not None and each.high is not None:
            bounds += f" ({100 * each.low:+.1f} to {100 * each.high:+.1f})"
        found.append((where, each.name, each.running, each.candidate, bounds, each.objects))
    return found


def draw(rows: list[_Row], path: Path) -> None:
    """Bars of before and after."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    places = list(dict.fromkeys(row[0] for row in rows))
    figure, axes = pyplot.subplots(1, len(places), figsize=(4.2 * len(places), 3.4), squeeze=False)
    for number, (axis, place) in enumerate(zip(axes[0], places, strict=True)):
        of_place = [row for row in rows if row[0] == place]
        for shift, column, label in ((-0.2, 2, "before"), (0.2, 3, "after")):
            heights = [100 * float(row[column]) for row in of_place]
            axis.bar([at + shift for at in range(len(of_place))], heights, 0.38, label=label)
        axis.set_xticks(range(len(of_place)), [row[1] for row in of_place])
        axis.set_title(place, fontsize=9)
        axis.set_ylabel("" if number else "AP, percent")
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def view(place: Place, folder: Path) -> None:
    """Both drives side by side, until Ctrl-C."""
    drive = str(place.watched)
    bags = [drive, str(folder / "before.mcap"), "--beside", drive, str(folder / "after.mcap")]
    subprocess.run([sys.executable, "-m", "semlt3d_ros.cli", "view", *bags], check=False)

"""Robustness as a table for a terminal, and as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from semlt3d_ros.core.outputs import whole
from semlt3d_ros.evaluation.report import mean_of
from semlt3d_ros.evaluation.robustness import Robustness


def table_of(robustness: Robustness, baseline: Robustness | None, title: str) -> Table:
    """A line for each corruption, and the means; CE where there is a baseline."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("corruption", no_wrap=True)
    most = max((len(told) for told in robustness.corrupted.values()), default=0)
    headings = [f"NDS\n{severity}" for severity in range(1, most + 1)]
    for heading in [*headings, "RR\nNDS", "RR\nmAP", *(["CE\nNDS"] if baseline else [])]:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, told in robustness.corrupted.items():
        severities = [_text(each["nds"]) for each in told] + [""] * (most - len(told))
        rates = [robustness.resilience(name), robustness.resilience(name, "map")]
        errors = [robustness.error(name, baseline)] if baseline else []
        table.add_row(name, *severities, *map(_text, [*rates, *errors]))
    table.add_section()
    means = [
        mean_of(told[place]["nds"] for told in robustness.corrupted.values() if place < len(told))
        for place in range(most)
    ]
    rates = [robustness.mean_resilience(), robustness.mean_resilience(figure="map")]
    errors = [robustness.mean_error(baseline)] if baseline else []
    table.add_row("mean", *map(_text, [*means, *rates, *errors]), style="bold")
    clean = robustness.clean
    table.caption = f"as it is: NDS {_text(clean['nds'])}, mAP {_text(clean['map'])}"
    table.caption_justify = "left"
    return table


def save_plot(robustness: Robustness, path: Path) -> None:
    """A line for each corruption over its severities, relative to the drive as it is; NDS beside mAP."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, key, name in zip(figure.subplots(1, 2, sharey=True), ("nds", "map"), ("NDS", "mAP"), strict=True):
        clean = robustness.clean[key] or 1.0
        for number, (corruption, told) in enumerate(robustness.corrupted.items()):
            values = [1.0, *(float("nan") if (value := each[key]) is None else value / clean for each in told)]
            style = ("-", "--", ":")[number // 10 % 3]
            axes.plot(range(len(values)), values, style, marker="o", markersize=3, label=corruption)
        axes.set_title(f"{name}, relative to images as they are")
        axes.set_xlabel("severity")
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center")
    with whole(path) as draft:
        figure.savefig(draft, dpi=110)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

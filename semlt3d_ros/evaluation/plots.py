"""An evaluation as pictures: precision over recall, confusions, calibration."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.classes import GROUPS
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.evaluation.curves import RECALLS
from semlt3d_ros.evaluation.report import ClassResult, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GROUP_COLORS = {"many": "tab:blue", "medium": "tab:orange", "few": "tab:green", "": "tab:gray"}
_DPI = 110

_CURVES = {group: f"precision_recall_{group}" if group else "precision_recall" for group in (*GROUPS, "")}
PICTURES = (*(f"{name}.png" for name in _CURVES.values()), "confusion.png", "calibration.png")
"""Names of all files that ``save_plots`` may write."""


def save_plots(report: Report, folder: Path) -> list[Path]:
    """Draw an evaluation.

    Args:
        report: the result of an evaluation.
        folder: where the pictures go, all or none; made if need be.

    Returns:
        The files written: ``precision_recall_<group>.png`` for every frequency group with true boxes, a panel for each
        class and a line for each distance, ``precision_recall.png`` for classes of no group; ``confusion.png`` if there
        were true boxes; ``calibration.png`` if there were confident predictions.
    """
    figures: dict[str, Figure] = {}
    for group, name in _CURVES.items():
        results = [result for result in report.of_group(group) if result.truth > 0]
        if results:
            figures[name] = _precision_recall(results)
    if report.confusions[:-1].any():
        figures["confusion"] = _confusion(report)
    if len(report.reliability.count):
        figures["calibration"] = _calibration(report)
    with whole(folder, folder=True) as draft, warnings.catch_warnings():
        # Names of classes may be in scripts that matplotlib's own font does not have; boxes stand for them then.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for name, figure in figures.items():
            figure.savefig(draft / f"{name}.png", dpi=_DPI)
    return [folder / f"{name}.png" for name in figures]


def _figure(width: float, height: float) -> Figure:
    # No window system is needed, and the caller's choice of backend is left alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _precision_recall(results: list[ClassResult]) -> Figure:
    columns = min(len(results), 3)
    rows = -(-len(results) // columns)
    figure = _figure(4 * columns, 3.4 * rows)
    for index, result in enumerate(results):
        _draw_curves(figure.add_subplot(rows, columns, index + 1), result)
    return figure


def _draw_curves(axes: Axes, result: ClassResult) -> None:
    for distance, precision in result.precision.items():
        # Beyond the highest recall that was reached there is no precision to draw.
        reached = precision > 0
        label = f"{distance:g} m: AP {result.ap_by_distance[distance]:.2f}"
        axes.plot(RECALLS[reached], precision[reached], label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(f"{result.name} ({_count(result.truth, 'box')})", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _confusion(report: Report) -> Figure:
    """Shares of each row; classes that are neither there nor predicted are left out."""
    counts, nothing = report.confusions, len(report.classes)
    rows = [*(index for index in range(nothing) if counts[index].any()), nothing]
    columns = [*(index for index in range(nothing) if counts[:, index].any() or counts[index].any()), nothing]
    shown = counts[np.ix_(rows, columns)]
    totals = shown.sum(axis=1)
    shares = shown / np.maximum(totals, 1)[:, None]
    figure = _figure(2.6 + 0.52 * len(columns), 2.0 + 0.42 * len(rows))
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [result.name.replace("_", " ") for result in report.classes]
    axes.set_xticks(range(len(columns)), [*(names[index] for index in columns[:-1]), "missed"], rotation=50, ha="right")
    axes.set_yticks(
        range(len(rows)),
        [
            f"{name} ({total})"
            for name, total in zip([*(names[index] for index in rows[:-1]), "nothing there"], totals, strict=True)
        ],
    )
    for row, column in np.argwhere(shown > 0):
        share = shares[row, column]
        text = f"{100 * share:.0f}" if share >= 0.005 else "<1"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > 0.55 else "black")
    axes.axhline(len(rows) - 1.5, color="black", linewidth=1)
    axes.axvline(len(columns) - 1.5, color="black", linewidth=1)
    settings = report.settings
    axes.set_xlabel("detected as")
    axes.set_ylabel("true class (boxes)")
    axes.set_title(
        f"What is taken for what, % of a row\nwithin {settings.protocol.tp_distance:g} m, "
        f"confidence from {settings.min_confidence:g}",
        fontsize=10,
    )
    return figure


def _calibration(report: Report) -> Figure:
    """Left: precision over confidence, with how many predictions there are; right: the classes' calibration errors."""
    results = [result for result in report.classes if result.reliability.error is not None]
    figure = _figure(9.5, max(4.2, 1.2 + 0.26 * len(results)))
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1), width_ratios=(1, 1))
    curve, histogram = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    shown = report.reliability
    curve.plot([0, 1], [0, 1], color="gray", linestyle="--", linewidth=1, label="what confidences say")
    curve.plot(shown.confidence, shown.precision, marker="o", markersize=4, label="measured")
    curve.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share of predictions that are right")
    curve.set_title(f"All classes: expected calibration error {_number(shown.error)}", fontsize=10)
    curve.tick_params(labelbottom=False)
    curve.legend(fontsize=8, loc="upper left")
    curve.grid(alpha=0.3)
    histogram.bar(shown.confidence, shown.count, width=0.06, color="tab:gray")
    histogram.set(xlim=(0, 1), xlabel="confidence", ylabel="predictions", yscale="log")
    histogram.set_ylim(bottom=0.8)
    bars = figure.add_subplot(grid[:, 1])
    _draw_class_errors(bars, results)
    return figure


def _draw_class_errors(axes: Axes, results: list[ClassResult]) -> None:
    errors: NDArray[np.float64] = np.array([result.reliability.error for result in results], np.float64)
    places = np.arange(len(results))
    for group, color in _GROUP_COLORS.items():
        mine = [index for index, result in enumerate(results) if result.group == group]
        axes.barh(places[mine], errors[mine], color=color, label=group if mine else None)
    for place, error, result in zip(places, errors, results, strict=True):
        axes.text(
            float(error), float(place), f" {error:.2f} of {result.reliability.count.sum()}", va="center", fontsize=7
        )
    axes.set_yticks(places, [result.name.replace("_", " ") for result in results], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.35 * max(0.05, errors.max(initial=0.0)))
    axes.set_xlabel("expected calibration error, of how many predictions")
    axes.set_title("By class", fontsize=10)
    if any(result.group for result in results):
        axes.legend(fontsize=8)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}es"

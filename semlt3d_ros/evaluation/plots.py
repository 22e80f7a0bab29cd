"""Precision over recall, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from semlt3d_ros.core.taxonomy import GROUPS
from semlt3d_ros.evaluation.curves import RECALLS
from semlt3d_ros.evaluation.report import ClassResult, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def save_plots(report: Report, folder: Path) -> list[Path]:
    """Draw the curves of every frequency group: a panel for each class with true boxes, a line for each distance.

    Args:
        report: the result of an evaluation.
        folder: where ``precision_recall_<group>.png`` go; made if need be.

    Returns:
        The files written; a group without true boxes has none.
    """
    # No window system is needed, and the caller's choice of backend is left alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for group in GROUPS:
        results = [result for result in report.classes if result.group == group and result.truth > 0]
        if not results:
            continue
        columns = min(len(results), 3)
        rows = -(-len(results) // columns)
        figure = Figure(figsize=(4 * columns, 3.4 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        for index, result in enumerate(results):
            _draw(figure.add_subplot(rows, columns, index + 1), result)
        path = folder / f"precision_recall_{group}.png"
        figure.savefig(path, dpi=110)
        written.append(path)
    return written


def _draw(axes: Axes, result: ClassResult) -> None:
    for distance, precision in result.precision.items():
        # Beyond the highest recall that was reached there is no precision to draw.
        reached = precision > 0
        label = f"{distance:g} m: AP {result.ap_by_distance[distance]:.2f}"
        axes.plot(RECALLS[reached], precision[reached], label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(f"{result.name} ({result.truth} boxes)", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)

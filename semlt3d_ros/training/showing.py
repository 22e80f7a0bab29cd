"""What people see of a training run while it goes on."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.opening import Progress as SourceProgress
from semlt3d_ros.training.record import Record
from semlt3d_ros.training.tensorboard import Board

COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
    TextColumn("{task.description}"),
)
"""Of the bars of a run."""


def record_of(folder: Path, console: Console | None) -> Record:
    """A run's record, in TensorBoard too where that is installed; ``console`` is told where to look."""
    try:
        board, told = Board(folder), f"follow it by: tensorboard --logdir {folder}"
    except ConfigurationError as error:
        board, told = None, f"{error}; the run's log and pictures are in {folder}"
    if console is not None:
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    return Record(folder, board)


def shown_in(bar: Progress) -> SourceProgress:
    """Shows the decoding of recordings as a task of a progress bar."""
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: float, of: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what)
        bar.update(tasks[what], completed=done, total=of)

    return show

"""What commands print: JSON for programs on stdout, progress for people on stderr."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.core.errors import Semlt3dError
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.core.outputs import write_whole

if TYPE_CHECKING:
    from rich.table import Table

_TABLE_WIDTH = 132
_STATUS_STYLES = {"ok": "green", "note": "yellow"}

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is in all."""


def print_json(value: Any) -> None:
    """Write one JSON document to stdout; NaN, which JSON lacks, becomes null."""
    json.dump(_without_nan(value), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def print_result(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the figures of a command to stdout: as JSON with ``--json``, else one a line."""
    if options.json:
        print_json(result)
    else:
        for key, value in result.items():
            print(f"{key}: {value}")


def faults_json(faults: Iterable[Fault], incomplete: Iterable[Fault] = ()) -> dict[str, Any]:
    """What was wrong, for a command's JSON.

    Args:
        faults: what was met on the way, of which some may be harmless.
        incomplete: what is missing of the input itself.

    Returns:
        ``"incomplete"``: a line for each part that is missing; ``"faults"``: all faults with place, reason, text and
        count.
    """
    lacking = list(incomplete)
    return {
        "incomplete": [fault.line for fault in lacking if not fault.harmless],
        "faults": [fault.to_json() for fault in (*lacking, *faults)],
    }


def print_faults(faults: Iterable[Fault], incomplete: Iterable[Fault] = ()) -> None:
    """What was wrong, for people: a line for each fault, below a command's counts. Arguments as of ``faults_json``."""
    for fault in incomplete:
        print(f"{'note' if fault.harmless else 'incomplete'}: {fault}")
    for fault in faults:
        print(f"{'note' if fault.harmless else 'fault'}: {fault}")


def came_to_nothing(what: str, faults: Iterable[Fault], otherwise: str) -> Semlt3dError:
    """The error of a run without any result.

    Args:
        what: what is lacking, such as ``"no set was detected in drive.mcap"``.
        faults: why, as far as it is known.
        otherwise: the cause where no fault was met.
    """
    return Semlt3dError(f"{what}: {FaultLog(faults).reasons() or otherwise}")


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document to a file; NaN becomes null."""
    write_whole(path, json.dumps(_without_nan(value), indent=2, allow_nan=False) + "\n")


def for_people(options: argparse.Namespace) -> bool:
    """Whether to show progress: not with ``--json``, and only on a terminal."""
    return not getattr(options, "json", False) and sys.stderr.isatty()


def log_to_stderr() -> None:
    """Show what nodes log, with the time, as ROS 2 does."""
    logging.basicConfig(format="[%(asctime)s] %(levelname)s %(name)s: %(message)s", level=logging.INFO)


def print_table(table: Table) -> None:
    """Print a table on stdout, with room for its columns where it is not cut to a terminal."""
    from rich.console import Console

    console = Console()
    Console(width=max(console.width, _TABLE_WIDTH)).print(table)


def print_checks(title: str, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Print what was looked at as a table: status (``ok``, ``note``, anything worse), subject, found, what to do."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left")
    for heading in ("", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for status, subject, found, advice in rows:
        style = _STATUS_STYLES.get(status, "bold red")
        table.add_row(Text(f"{status:7s} {subject}", style), Text(found), Text(advice))
    print_table(table)


@contextmanager
def progress_bar(description: str, shown: bool) -> Iterator[Progress]:
    """A progress bar on stderr."""
    if not shown:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    if hasattr(value, "item"):  # NumPy's scalars
        return _without_nan(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    return value

"""``semlt3d distil``: one round of the loop on the robot, from the terminal or as a node."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from semlt3d_ros.commands.output import for_people, log_to_stderr, print_json
from semlt3d_ros.commands.places import folder_to_write, to_read

if TYPE_CHECKING:
    from semlt3d_ros.adaptation.status import Status, Tell

HELP = "learn from a robot's own recordings: label, distil, judge, and promote what is better"
EXAMPLE = "semlt3d distil config/adaptation.yaml --events build/robot/events"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("settings", type=to_read, metavar="SETTINGS", help="YAML file, such as config/adaptation.yaml")
    given = parser.add_argument_group("in place of what the settings say")
    given.add_argument("--events", type=to_read, metavar="FOLDER", help="recordings to learn from")
    given.add_argument("--models", type=folder_to_write, metavar="FOLDER", help="model folder of the detector")
    given.add_argument("--work", type=folder_to_write, metavar="FOLDER", help="state, labels, training data, verdicts")
    parser.add_argument("--now", action="store_true", help="do not wait for as many new events as the settings ask for")
    parser.add_argument("--status", action="store_true", help="tell where the loop stands, and do nothing")
    parser.add_argument("--node", action="store_true", help="run as a node on DDS, until Ctrl-C; see docs/on_robot.md")
    parser.add_argument(
        "-p", dest="overrides", action="append", default=[], metavar="NAME:=VALUE", help="parameter of the node"
    )
    parser.add_argument("--json", action="store_true", help="print where the loop stands as JSON")


def run(options: argparse.Namespace) -> int:
    """Go on with the round that was begun, or begin one; Ctrl-C stops it, and the next call goes on."""
    if options.node:
        from semlt3d_ros.nodes.distiller_main import run_distiller

        log_to_stderr()
        return run_distiller((), [f"settings:={options.settings}", *options.overrides])
    from semlt3d_ros.adaptation.settings import load_settings

    settings = load_settings(options.settings)
    settings = replace(
        settings,
        events=options.events or settings.events,
        models=options.models or settings.models,
        work=options.work or settings.work,
    )
    if options.now:
        settings = replace(settings, least_new=1)
    from semlt3d_ros.adaptation.status import Status, read_status

    if options.status:
        _print(read_status(settings.work) or Status(message="nothing was learnt yet"), options)
        return 0

    from semlt3d_ros.adaptation.loop import run_round
    from semlt3d_ros.nodes.distiller_child import keep_within

    keep_within(settings)
    with _shown(for_people(options)) as tell:
        status = run_round(settings, tell)
    _print(status, options)
    return 1 if status.state == "failed" else 0


@contextmanager
def _shown(shown: bool) -> Iterator[Tell]:
    """Bars on stderr: one for each state, with what is being done."""
    if not shown:
        yield lambda status: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(status: Status) -> None:
            if status.state not in tasks:
                tasks[status.state] = bar.add_task(status.state, total=None)
            done, total = _done(status)
            text = f"{status.state}: {status.message}"
            bar.update(tasks[status.state], completed=done, total=total or None, description=text[:100])

        yield tell


def _done(status: Status) -> tuple[int, int]:
    if status.state == "training":
        return status.training_step, status.training_steps
    if status.state == "replaying":
        return status.recordings_replayed, status.recordings_total
    return 0, 0


def _print(status: Status, options: argparse.Namespace) -> None:
    if options.json:
        print_json(asdict(status))
        return
    print(f"{status.state}: {status.message}")
    if status.candidate_version:
        for name in ("held_back", "regression"):
            before, after = (getattr(status, f"{who}_{name}") for who in ("running", "candidate"))
            if before is not None and after is not None:
                print(f"mAP {name.replace('_', '-')}: {before:.4f} -> {after:.4f}")

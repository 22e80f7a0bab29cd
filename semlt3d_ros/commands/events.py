"""``semlt3d events``: what a robot has recorded."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.output import print_faults, print_json, print_table
from semlt3d_ros.commands.places import file_to_write, to_read

if TYPE_CHECKING:
    from semlt3d_ros.recording.event import Event

HELP = "list the events that a robot has recorded; protect, delete and view them"
EXAMPLE = "semlt3d events list build/robot/events"
_PROTECT = "semlt3d events protect build/robot/events 20261126T191927Z-rare_class"
_UNPROTECT = "semlt3d events unprotect build/robot/events 20261126T191927Z-rare_class"
_DELETE = "semlt3d events delete build/robot/events 20261126T191927Z-rare_class 20261126T201502Z-flicker"
_VIEW = "semlt3d events view build/robot/events 20261126T191927Z-rare_class"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be done, and its options."""
    commands = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    each = _add(commands, "list", "list events, oldest first, and what is damaged or unfinished", EXAMPLE, _list)
    each.add_argument("--trigger", metavar="NAME", help="only those that this trigger has made")
    each.add_argument("--json", action="store_true", help="print everything that is known of them as JSON")
    each = _add(commands, "protect", "never delete these events to make room", _PROTECT, _protect)
    _add_names(each)
    each = _add(commands, "unprotect", "let these events go when room is needed", _UNPROTECT, _unprotect)
    _add_names(each)
    each = _add(commands, "delete", "delete these events", _DELETE, _delete)
    _add_names(each)
    each.add_argument("--force", action="store_true", help="protected ones too")
    each = _add(commands, "view", "show an event in the viewer", _VIEW, _view)
    each.add_argument("name", metavar="NAME", help="of the event")
    each.add_argument("--save", type=file_to_write, metavar="FILE.rrd", help="write a recording; no browser is opened")
    each.add_argument("--rig", type=to_read, metavar="FILE", help="rig file (default: found from the topic names)")
    each.add_argument("--min-score", type=float, default=0.3, metavar="S", help="hide weaker ones (default: 0.3)")


def run(options: argparse.Namespace) -> int:
    """Do what is asked for."""
    return int(options.act(options))


def _add(
    commands: Any, name: str, text: str, example: str, act: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", type=to_read, metavar="FOLDER", help="the recorder's folder of events")
    command.set_defaults(act=act, parser=command)
    return command


def _add_names(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="+", metavar="NAME", help="of an event, as it is listed")


def _named(folder: Path, names: list[str]) -> list[Event]:
    """The events of these names; all of them, or none is touched."""
    from semlt3d_ros.core.errors import ConfigurationError
    from semlt3d_ros.recording.event import events_of, read_event

    if any(Path(name).name != name for name in names):
        known = ", ".join(event.name for event in events_of(folder)[0][-3:])
        raise ConfigurationError(f"give names as 'semlt3d events list {folder}' has them, such as {known}")
    return [read_event(folder / name) for name in names]


def _list(options: argparse.Namespace) -> int:
    from semlt3d_ros.recording.event import events_of

    events, faults = events_of(options.folder)
    if options.trigger is not None:
        events = [event for event in events if options.trigger in event.triggers]
    if options.json:
        from dataclasses import asdict

        print_json({"events": [asdict(event) for event in events], "faults": faults})
        return 0
    from rich.table import Table
    from rich.text import Text

    total = sum(event.byte_count for event in events)
    title = f"{len(events)} events in {options.folder}, {total / 1e6:.1f} MB"
    table = Table(title=Text(title), title_justify="left")
    for heading in ("name", "s", "MB", "worth", "triggers", "model", ""):
        table.add_column(heading, overflow="fold")
    for event in events:
        figures = (f"{event.duration_s:.1f}", f"{event.byte_count / 1e6:.1f}", f"{event.worth:g}")
        cells = (event.name, *figures, ", ".join(event.triggers), event.model_version, _remarks(event))
        table.add_row(*map(Text, cells))
    print_table(table)
    for fault in faults:
        print(f"fault: {fault}")
    return 0


def _remarks(event: Event) -> str:
    remarks = ["protected"] if event.protected else []
    remarks += [f"{event.lost} messages lost"] if event.lost else []
    return "; ".join(remarks + ([f"ended early: {event.cut}"] if event.cut else []))


def _protect(options: argparse.Namespace) -> int:
    return _set_protected(options, True)


def _unprotect(options: argparse.Namespace) -> int:
    return _set_protected(options, False)


def _set_protected(options: argparse.Namespace, protected: bool) -> int:
    from semlt3d_ros.recording.event import set_protected

    for event in _named(options.folder, options.names):
        set_protected(event, protected)
        print(f"{event.name} is {'protected' if protected else 'no longer protected'}")
    return 0


def _delete(options: argparse.Namespace) -> int:
    from semlt3d_ros.core.errors import ConfigurationError
    from semlt3d_ros.recording.event import delete_event

    events = _named(options.folder, options.names)
    protected = [event.name for event in events if event.protected]
    if protected and not options.force:
        raise ConfigurationError(f"{', '.join(protected)}: protected; unprotect first, or give --force")
    for event in events:
        if not delete_event(event, options.force):
            raise ConfigurationError(f"{event.name} has been protected meanwhile; unprotect it first, or give --force")
        print(f"{event.name} is deleted")
    return 0


def _view(options: argparse.Namespace) -> int:
    from semlt3d_ros.core.errors import ConfigurationError
    from semlt3d_ros.sensing.rig import load_rig
    from semlt3d_ros.viewing import view_bags

    if not 0 <= options.min_score <= 1:
        raise ConfigurationError(f"--min-score {options.min_score:g}: confidences lie in [0, 1]")
    (event,) = _named(options.folder, [options.name])
    rig = load_rig(options.rig) if options.rig else None
    view_bags([event.folder], save=options.save, score_threshold=options.min_score, rig=rig, tell=print_faults)
    return 0

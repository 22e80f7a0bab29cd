"""``semlt3d models``: the versions in a robot's model folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.models_judge import add_judge
from semlt3d_ros.commands.output import print_json, print_table
from semlt3d_ros.commands.places import name_or_file, to_read

if TYPE_CHECKING:
    from semlt3d_ros.adaptation.models import ModelStore, Version

HELP = "list the models of a robot with where they come from; judge, promote and roll back"
EXAMPLE = "semlt3d models list /var/lib/semlt3d/models"
PROMOTE = "semlt3d models promote /var/lib/semlt3d/models build/city.safetensors --why 'tried by hand' --tell"
ROLL_BACK = "semlt3d models rollback /var/lib/semlt3d/models --why 'misses cones' --tell"
VERDICT = "semlt3d models verdict /var/lib/semlt3d/models city@0123456789"
_ANSWER_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be done, and its options."""
    commands = parser.add_subparsers(metavar="WHAT", required=True, dest="what")
    each = _add(commands, "list", "list versions, oldest first, and which one runs", EXAMPLE, _list)
    each.add_argument("--json", action="store_true", help="print everything that is known of them as JSON")
    each = _add(commands, "promote", "let a version run, or a checkpoint that becomes one", PROMOTE, _promote)
    each.add_argument("model", type=name_or_file, metavar="MODEL", help="name of a version, or a checkpoint's file")
    _add_change(each, "promoted by hand")
    each = _add(commands, "rollback", "let the version run again that ran before", ROLL_BACK, _roll_back)
    _add_change(each, "by hand")
    each = _add(commands, "verdict", "print what the gate said of a version", VERDICT, _verdict)
    each.add_argument("model", metavar="NAME", help="of the version")
    each.add_argument("--json", action="store_true", help="print it as JSON")
    add_judge(commands)


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
    command.add_argument("folder", type=to_read, metavar="FOLDER", help="the detector's model_folder")
    command.set_defaults(act=act, parser=command)
    return command


def _add_change(command: argparse.ArgumentParser, why: str) -> None:
    command.add_argument("--why", default=why, metavar="TEXT", help=f"what the history shall say (default: {why})")
    command.add_argument("--tell", action="store_true", help="have the running detector take it over at once")


def _store(folder: Path) -> ModelStore:
    from semlt3d_ros.core.errors import ConfigurationError

    if not folder.is_dir():
        raise ConfigurationError(f"model folder '{folder}' is not there; create it: mkdir -m 700 '{folder}'")
    from semlt3d_ros.adaptation.models import ModelStore

    return ModelStore(folder)


def _list(options: argparse.Namespace) -> int:
    store = _store(options.folder)
    versions, faults = store.versions()
    history = store.history()
    if options.json:
        from dataclasses import asdict

        print_json(
            {
                "current": store.current(),
                "confirmed": bool(history) and history[-1].confirmed,
                "versions": [asdict(version) for version in versions],
                "history": [asdict(entry) for entry in history],
                "faults": faults,
            }
        )
        return 0
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"models in {options.folder}"), title_justify="left")
    for heading in ("", "version", "since", "verdict", "comes from"):
        table.add_column(heading, overflow="fold")
    for version in versions:
        state = ""
        if version.name == store.current():
            state = "runs" if history and history[-1].confirmed else "on trial"
        cells = (state, version.name, _time(version.created_ns), _said(version), _origin(version))
        table.add_row(*map(Text, cells))
    print_table(table)
    for entry in history[-5:]:
        print(f"{_time(entry.at_ns)} {entry.name}: {entry.why}{'' if entry.confirmed else ' (on trial)'}")
    for fault in faults:
        print(f"fault: {fault}")
    return 0


def _promote(options: argparse.Namespace) -> int:
    store = _store(options.folder)
    name = options.model
    if name.endswith(".safetensors"):
        name = store.add(Path(name), {"origin": "added by hand", "file": str(Path(name).resolve())}).name
    former = store.current()
    store.promote(name, options.why)
    print(f"{name} runs from now on" + (f", in place of {former}" if former not in (None, name) else ""))
    return _tell(options)


def _roll_back(options: argparse.Namespace) -> int:
    version = _store(options.folder).roll_back(options.why)
    print(f"{version.name} runs again from now on")
    return _tell(options)


def _verdict(options: argparse.Namespace) -> int:
    from semlt3d_ros.core.errors import ConfigurationError

    version = _store(options.folder).read(options.model)
    if not version.verdict:
        raise ConfigurationError(
            f"version '{version.name}' has no verdict: nobody has asked the gate; see models judge"
        )
    if options.json:
        print_json(version.verdict)
        return 0
    from semlt3d_ros.adaptation.verdict import verdict_from_json
    from semlt3d_ros.adaptation.verdict_page import page_of

    print(page_of(verdict_from_json(version.verdict, f"the verdict of '{version.name}'")), end="")
    return 0


def _tell(options: argparse.Namespace) -> int:
    """Have the detector reload, if that is wanted."""
    if options.tell:
        from semlt3d_ros.middleware.dds import DdsMiddleware
        from semlt3d_ros.middleware.topic_requests import call_trigger
        from semlt3d_ros.nodes.detector_parameters import NODE_NAME

        middleware = DdsMiddleware("semlt3d_models")
        try:
            print(call_trigger(middleware, NODE_NAME, "reload_model", _ANSWER_S))
        finally:
            middleware.shutdown()
    return 0


def _time(nanoseconds: int) -> str:
    from datetime import datetime, timezone

    return datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _said(version: Version) -> str:
    if not version.verdict:
        return "none"
    return "promoted" if version.verdict.get("promoted") else "refused"


def _origin(version: Version) -> str:
    return ", ".join(f"{key}: {value}" for key, value in version.provenance.items()) or "unknown"

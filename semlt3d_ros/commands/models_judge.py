"""``semlt3d models judge``: the gate, asked by hand."""

from __future__ import annotations

import argparse
from typing import Any

from semlt3d_ros.commands.output import for_people, print_json, progress_bar
from semlt3d_ros.commands.places import folder_to_write, to_read

_TEXT = "compare a candidate with a model that runs, and write the verdict"
_EXAMPLE = "semlt3d models judge build/city.safetensors models/current.safetensors config/gate.yaml -o build/verdict"
REFUSED = 1
"""Exit status of a candidate that is not to be promoted."""


def add_judge(commands: Any) -> None:
    """Declare the command's options."""
    command = commands.add_parser(
        "judge",
        help=_TEXT,
        description=_TEXT[0].upper() + _TEXT[1:] + "; exit status 1 where it is refused.",
        epilog=f"example:\n  {_EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("candidate", type=to_read, metavar="CANDIDATE", help="checkpoint of the new model")
    command.add_argument("running", type=to_read, metavar="RUNNING", help="checkpoint of the one that runs")
    command.add_argument(
        "gate", type=to_read, metavar="GATE", help="YAML file: held_back, regression, and what is asked"
    )
    command.add_argument(
        "-o", "--out", type=folder_to_write, required=True, metavar="FOLDER", help="for the page, figures and pictures"
    )
    command.add_argument("--json", action="store_true", help="print the verdict as JSON")
    command.set_defaults(act=_judge, parser=command)


def _judge(options: argparse.Namespace) -> int:
    from semlt3d_ros.adaptation.gate import judge
    from semlt3d_ros.adaptation.gate_file import load_gate
    from semlt3d_ros.adaptation.verdict_page import write_page

    gate = load_gate(options.gate)
    with progress_bar("judging", for_people(options)) as bar:
        verdict = judge(
            options.candidate,
            options.running,
            gate.held_back,
            gate.regression,
            gate.settings,
            lambda what, done, of: bar(round(done), of),
        )
    write_page(verdict, options.out)
    if options.json:
        print_json(verdict.to_json())
    else:
        print(f"{verdict.candidate} is {'to be promoted' if verdict.promoted else 'refused'}:")
        for reason in verdict.reasons:
            print(f"  {reason}")
        print(f"{options.out / 'verdict.md'} says more")
    return 0 if verdict.promoted else REFUSED

"""``semlt3d play``: publish a bag as if it happened now."""

from __future__ import annotations

import argparse

from semlt3d_ros.commands.output import faults_json, for_people, log_to_stderr, print_faults, print_json
from semlt3d_ros.commands.places import to_read

HELP = "publish a bag live, on DDS"
EXAMPLE = "semlt3d play build/demo/drive.mcap --rate 0.5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("bag", type=to_read, metavar="BAG", help="bag to play")
    parser.add_argument(
        "--rate", type=float, default=1.0, metavar="R", help="speed relative to the recording (default: 1)"
    )
    parser.add_argument("--loop", action="store_true", help="start again at the end, until Ctrl-C")
    parser.add_argument(
        "--lockstep", action="store_true", help="go on only when the detector is done: repeatable, nothing is dropped"
    )
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="play only these")
    parser.add_argument("--json", action="store_true", help="print what was sent as JSON")


def run(options: argparse.Namespace) -> int:
    """Play, and say what was sent."""
    from semlt3d_ros.nodes.player import run_player

    log_to_stderr()
    summary = run_player(
        options.bag,
        rate=options.rate,
        loop=options.loop,
        lockstep=options.lockstep,
        topics=options.topics,
        progress=for_people(options),
    )
    if options.json:
        outcome = faults_json(summary.faults, summary.incomplete)
        print_json({**vars(summary), "sent": dict(summary.sent), **outcome})
    else:
        print(
            f"{sum(summary.sent.values())} messages on {len(summary.sent)} topics in {summary.duration_s:.1f} s, "
            f"{summary.late} sent late" + (f", {summary.unanswered} unanswered" if options.lockstep else "")
        )
        print_faults(summary.faults, summary.incomplete)
    return 0

"""``semlt3d demo``: the main job, from a simulated drive to published and evaluated 3D boxes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.output import for_people, print_json, print_table, progress_bar, write_json
from semlt3d_ros.commands.places import folder_to_write, to_read
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import Draft

if TYPE_CHECKING:
    from semlt3d_ros.commands.live_run import NodeReport
    from semlt3d_ros.evaluation import Report

HELP = "simulate a drive, run the live detector on it, evaluate it, show it in the browser"
EXAMPLE = "semlt3d demo --no-view"

SEED = 424_254
"""Far from the seeds of the training recipes; passes 13 of the 18 classes, of all frequency groups, at 10 m/s."""
CLASS_EXPONENT = 0.5
"""A flatter mix than the real one, so that every frequency group has something to find."""
RANGE_M = 40.0
MIN_VISIBLE_PIXELS = 6
"""Of the 448x256 images; truth that covers less is nothing a camera could find."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--no-view", action="store_true", help="end after the table, without opening the browser")
    parser.add_argument(
        "--out", type=folder_to_write, default=Path("build/demo"), metavar="DIR", help="default: build/demo"
    )
    parser.add_argument("--frames", type=int, default=60, metavar="N", help="camera sets to simulate (default: 60)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the drive (default: {SEED})")
    parser.add_argument("--rate", type=float, default=1.0, metavar="R", help="playing speed (default: 1, real time)")
    parser.add_argument(
        "--checkpoint", type=to_read, metavar="FILE", help="default: the one that comes with the package"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of the table")


def run(options: argparse.Namespace) -> int:
    """Run the demo; figures go to ``summary.json`` in its folder."""
    from semlt3d_ros.checkpoints.shipped import default_checkpoint

    checkpoint = (options.checkpoint or default_checkpoint()).resolve()
    if not checkpoint.is_file():
        raise ConfigurationError(f"there is no checkpoint at {checkpoint}; train one: semlt3d train --help")

    from semlt3d_ros.commands.live_run import record_live_run
    from semlt3d_ros.evaluation import EvaluationSettings, evaluate, protocol_of
    from semlt3d_ros.evaluation.bags import BagPairs
    from semlt3d_ros.simulation.drive import DriveConfig
    from semlt3d_ros.simulation.simulate import simulate

    config = DriveConfig(seed=options.seed, frames=options.frames, interval_s=0.2, class_exponent=CLASS_EXPONENT)
    draft = Draft(options.out, folder=True, wait=False)
    drive, detections = draft.draft / "drive.mcap", draft.draft / "detections.mcap"
    try:
        simulate(drive, config, progress=for_people(options))
        with progress_bar("detecting live", for_people(options)) as progress:
            node_options = ["-p", f"checkpoint:={checkpoint}"]
            node = record_live_run(drive, detections, options.rate, node_options, options.frames, progress)
        pairs = BagPairs(detections, drive)
        frames = list(pairs)
        settings = EvaluationSettings(
            protocol_of(pairs.classes), range_limit_m=RANGE_M, min_visible_pixels=MIN_VISIBLE_PIXELS
        )
        summary = summarize(node, evaluate(frames, settings), options.frames)
        write_json(draft.draft / "summary.json", summary)
        draft.finish()
    finally:
        draft.keep()  # of a run that fails: its drive and its logs
    if options.json:
        print_json(summary)
    else:
        print_summary(summary, options.out)
    if not options.no_view:
        from semlt3d_ros.viewing import view_bags

        view_bags([options.out / drive.name, options.out / detections.name])
    return 0


def summarize(node: NodeReport, report: Report, sets_sent: int) -> dict[str, Any]:
    """The demo's figures; every set sent is processed or counted under a reason.

    Args:
        node: the detector node's own account.
        report: the evaluation of what it published.
        sets_sent: camera sets in the drive.
    """
    drops = dict(node.drops)
    if sets_sent > node.sets_in:
        drops["not_received"] = sets_sent - node.sets_in
    return {
        "sets_in": max(sets_sent, node.sets_in),
        "sets_processed": node.sets_processed,
        "drops": drops,
        "latency_ms": node.latency_ms,
        "ap": report.ap,
        "map": {**report.groups, "all": report.map},
    }


def print_summary(summary: dict[str, Any], folder: Path) -> None:
    """Print the figures as one table."""
    from rich.table import Table

    def text(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("camera sets in", str(summary["sets_in"]))
    table.add_row("processed", str(summary["sets_processed"]))
    table.add_row("dropped", str(sum(summary["drops"].values())))
    for reason, count in sorted(summary["drops"].items()):
        table.add_row(f"  {reason}", str(count))
    table.add_section()
    for name, value in summary["latency_ms"].items():
        table.add_row(f"latency {name}", f"{value:.1f} ms")
    table.add_section()
    if "car" in summary["ap"]:
        table.add_row("AP car", text(summary["ap"]["car"]))
    for group, value in summary["map"].items():
        table.add_row(f"mean AP {group}", text(value))
    print_table(table)
    print(
        f"AP: mean over centre distances of 0.5, 1, 2 and 4 m, within {RANGE_M:g} m. All figures: {folder}/summary.json"
    )

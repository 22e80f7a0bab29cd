"""``semlt3d evaluate``: detections of one bag against the ground truth of another."""

from __future__ import annotations

import argparse
from pathlib import Path

from semlt3d_ros.commands.output import print_json, print_table

HELP = "measure recorded detections against the ground truth of a bag"
EXAMPLE = "semlt3d evaluate build/detections.mcap --truth build/drive.mcap"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("detections", type=Path, metavar="DETECTIONS", help="bag with the detector's output")
    parser.add_argument("--truth", type=Path, required=True, metavar="BAG", help="bag with the ground truth")
    parser.add_argument(
        "--range", type=float, metavar="METRES", help="leave out what is farther (default: the classes' own ranges)"
    )
    parser.add_argument(
        "--min-pixels", type=int, default=0, metavar="N", help="leave out truth with fewer visible pixels"
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the figures of all classes and groups."""
    from semlt3d_ros.evaluation import EvaluationSettings, evaluate
    from semlt3d_ros.evaluation.bags import pair_bags

    settings = EvaluationSettings(range_limit_m=options.range, min_visible_pixels=options.min_pixels)
    report = evaluate(pair_bags(options.detections, options.truth), settings)
    if options.json:
        print_json(report.to_json())
    else:
        print_table(report.to_table())
    return 0

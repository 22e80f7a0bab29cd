"""``semlt3d view``: bags in the browser, or as a recording for later."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "show bags in the viewer: images with boxes, points, 3D boxes, confidences"
EXAMPLE = "semlt3d view build/demo/drive.mcap build/demo/detections.mcap"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="bags to show on one time line")
    parser.add_argument(
        "--save", type=Path, metavar="FILE.rrd", help="write a recording instead of opening the browser"
    )
    parser.add_argument(
        "--min-score", type=float, default=0.3, metavar="S", help="hide weaker detections (default: 0.3)"
    )
    parser.add_argument("--rig", type=Path, metavar="FILE", help="rig file (default: found from the topic names)")


def run(options: argparse.Namespace) -> int:
    """Show the bags until Ctrl-C, or save them."""
    from semlt3d_ros.sensing.rig import load_rig
    from semlt3d_ros.viewing import view_bags

    rig = load_rig(options.rig) if options.rig else None
    view_bags(options.bags, save=options.save, score_threshold=options.min_score, rig=rig)
    return 0

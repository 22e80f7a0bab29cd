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


def run(options: argparse.Namespace) -> int:
    """Show the bags until Ctrl-C, or save them."""
    from semlt3d_ros.viewing import view_bags

    view_bags(options.bags, save=options.save)
    return 0

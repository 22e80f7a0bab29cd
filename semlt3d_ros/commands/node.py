"""``semlt3d node``: the live detector on DDS."""

from __future__ import annotations

import argparse

from semlt3d_ros.commands.output import log_to_stderr
from semlt3d_ros.commands.places import to_read

HELP = "run the live detector on DDS, until Ctrl-C"
EXAMPLE = "semlt3d node --params config/detector.yaml -p marker_threshold:=0.4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--params",
        dest="files",
        action="append",
        default=[],
        type=to_read,
        metavar="FILE",
        help="parameters in ROS 2's YAML form; repeatable, later files win",
    )
    parser.add_argument(
        "-p", dest="overrides", action="append", default=[], metavar="NAME:=VALUE", help="one parameter; repeatable"
    )


def run(options: argparse.Namespace) -> int:
    """Run the node until SIGINT or SIGTERM."""
    from semlt3d_ros.middleware.parameters import load_parameters
    from semlt3d_ros.nodes.detector_parameters import NODE_NAME, DetectorParameters

    load_parameters(DetectorParameters, NODE_NAME, options.files, options.overrides)  # what is wrong is told at once

    from semlt3d_ros.nodes.detector_main import run_detector

    log_to_stderr()
    return run_detector(options.files, options.overrides)

"""``semlt3d record``: the event recorder on DDS."""

from __future__ import annotations

import argparse

from semlt3d_ros.commands.output import log_to_stderr
from semlt3d_ros.commands.places import folder_to_write, to_read

HELP = "record what is worth learning from as events, live from DDS, until Ctrl-C"
EXAMPLE = "semlt3d record build/robot/events --recording config/recording.yaml -p pre_roll_s:=3.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("events", type=folder_to_write, metavar="EVENTS", help="folder of the events")
    parser.add_argument(
        "--recording", type=to_read, metavar="FILE", help="triggers (default: config/recording.yaml of the package)"
    )
    parser.add_argument("--rig", type=to_read, metavar="FILE", help="the cameras (default: the nuScenes rig's topics)")
    parser.add_argument(
        "--params",
        dest="files",
        action="append",
        default=[],
        type=to_read,
        metavar="FILE",
        help="parameters in ROS 2's YAML form, as config/event_recorder.yaml; repeatable, later files win",
    )
    parser.add_argument(
        "-p", dest="overrides", action="append", default=[], metavar="NAME:=VALUE", help="one parameter; repeatable"
    )


def run(options: argparse.Namespace) -> int:
    """Record until SIGINT or SIGTERM."""
    import json

    from semlt3d_ros.middleware.parameters import load_parameters
    from semlt3d_ros.nodes.event_recorder_parameters import RECORDER_NAME, EventRecorderParameters

    named = {"events": options.events, "recording_file": options.recording, "rig_file": options.rig}
    overrides = [f"{name}:={json.dumps(str(path))}" for name, path in named.items() if path is not None]
    overrides += options.overrides
    load_parameters(EventRecorderParameters, RECORDER_NAME, options.files, overrides)  # what is wrong is told at once

    from semlt3d_ros.nodes.event_recorder_main import run_event_recorder

    log_to_stderr()
    return run_event_recorder(options.files, overrides)

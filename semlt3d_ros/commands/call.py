"""``semlt3d call``: ask something of the running detector node."""

from __future__ import annotations

import argparse

from semlt3d_ros.commands.output import log_to_stderr

HELP = "have the running detector node forget what it saw, or load its next model"
EXAMPLE = "semlt3d call reset_memory"
_ANSWER_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("request", choices=("reset_memory", "reload_model"))


def run(options: argparse.Namespace) -> int:
    """Ask the node, and print its answer."""
    from semlt3d_ros.middleware.dds import DdsMiddleware
    from semlt3d_ros.middleware.topic_requests import call_trigger
    from semlt3d_ros.nodes.detector_parameters import NODE_NAME

    log_to_stderr()
    middleware = DdsMiddleware("semlt3d_call")
    try:
        print(call_trigger(middleware, NODE_NAME, options.request, _ANSWER_S))
    finally:
        middleware.shutdown()
    return 0

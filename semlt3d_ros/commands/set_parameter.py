"""``semlt3d set``: change a parameter of the running detector node."""

from __future__ import annotations

import argparse

from semlt3d_ros.commands.output import log_to_stderr
from semlt3d_ros.core.errors import ConfigurationError

HELP = "set a parameter of the running detector node"
EXAMPLE = "semlt3d set vocabulary_file:=build/anchors.safetensors"
_ANSWER_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("parameter", metavar="NAME:=VALUE", help="vocabulary_file:= takes the trained classes alone")


def run(options: argparse.Namespace) -> int:
    """Ask the node, and print its answer."""
    from semlt3d_ros.middleware.dds import DdsMiddleware
    from semlt3d_ros.nodes.detector import NODE_NAME
    from semlt3d_ros.nodes.parameter_updates import set_parameter

    log_to_stderr()
    name, separator, value = options.parameter.partition(":=")
    if not separator:
        raise ConfigurationError(f"'{options.parameter}' is not of the form NAME:=VALUE")
    middleware = DdsMiddleware("semlt3d_set")
    try:
        print(set_parameter(middleware, NODE_NAME, name, value, _ANSWER_S))
    finally:
        middleware.shutdown()
    return 0

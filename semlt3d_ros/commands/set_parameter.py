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
    parser.add_argument(
        "parameter",
        metavar="NAME:=VALUE",
        help="the value as in a parameter file, such as marker_threshold:=0.4 or class_thresholds:=[child=0.05]",
    )


def run(options: argparse.Namespace) -> int:
    """Ask the node, and print its answer."""
    from semlt3d_ros.core.yaml_file import yaml_value

    name, separator, text = options.parameter.partition(":=")
    if not separator:
        raise ConfigurationError(f"'{options.parameter}' is not of the form NAME:=VALUE")
    try:
        value = yaml_value(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"'{options.parameter}': the value is not YAML; put it in quotes") from error

    from semlt3d_ros.middleware.dds import DdsMiddleware
    from semlt3d_ros.middleware.topic_requests import set_parameter
    from semlt3d_ros.nodes.detector_parameters import NODE_NAME

    log_to_stderr()
    middleware = DdsMiddleware("semlt3d_set")
    try:
        print(set_parameter(middleware, NODE_NAME, name, "" if value is None else value, _ANSWER_S))
    finally:
        middleware.shutdown()
    return 0

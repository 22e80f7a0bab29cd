"""``semlt3d train``: train a checkpoint by a recipe."""

from __future__ import annotations

import argparse

from semlt3d_ros.commands.output import for_people, print_result
from semlt3d_ros.commands.places import file_to_write, to_read

HELP = "train a checkpoint by a recipe"
EXAMPLE = "semlt3d train config/recipes/demo.yaml -o build/demo.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_training_arguments(parser, "checkpoint to write (default: build/<name>.safetensors)")


def add_training_arguments(parser: argparse.ArgumentParser, out_help: str) -> None:
    """Declare the options of a command that trains by a recipe; ``out_help`` says what it writes."""
    parser.add_argument("recipe", type=to_read, metavar="RECIPE", help="YAML file: model, data, schedule, seed")
    parser.add_argument("-o", "--out", type=file_to_write, help=out_help)
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run of the recipe stopped")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Train, and print what came of it."""
    from semlt3d_ros.training.recipe import load_recipe

    load_recipe(options.recipe)  # what is wrong with it is told before torch is imported

    from semlt3d_ros.training.run import train

    result = train(options.recipe, options.out, options.resume, progress=for_people(options))
    if result is not None:  # of several processes only the first one prints
        print_result(result, options)
    return 0

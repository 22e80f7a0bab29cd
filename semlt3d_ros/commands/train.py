"""``semlt3d train``: train a checkpoint by a recipe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from semlt3d_ros.commands.output import for_people, print_result
from semlt3d_ros.commands.places import file_to_write, name_or_file, to_read

if TYPE_CHECKING:
    from semlt3d_ros.training.given import Given

HELP = "train a checkpoint by a recipe"
EXAMPLE = "semlt3d train config/recipes/finetune.yaml --bags 'drives/*.mcap' -o build/finetuned.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_training_arguments(parser, "checkpoint to write (default: build/<name>.safetensors)")
    given = parser.add_argument_group("in place of what the recipe says")
    given.add_argument(
        "--bags",
        nargs="+",
        type=name_or_file,
        metavar="PATTERN",
        help="recordings to learn from, such as 'drives/*.mcap'; the recipe says what of them is judged by",
    )
    judged_by = given.add_mutually_exclusive_group()
    judged_by.add_argument(
        "--validation-bags", nargs="+", type=name_or_file, metavar="PATTERN", help="recordings to judge by, instead"
    )
    judged_by.add_argument(
        "--all", action="store_true", help="learn from all frames of the recordings; nothing is calibrated or evaluated"
    )
    given.add_argument(
        "--label-map",
        type=name_or_file,
        metavar="FILE",
        help="label map, or its name, from their labels to the classes",
    )
    given.add_argument("--classes", type=name_or_file, metavar="FILE", help="class list to learn, or its name")
    given.add_argument("--checkpoint", type=to_read, metavar="FILE", help="what to start from, with its model")
    given.add_argument("--seed", type=int, metavar="N", help="decides order and augmentation")


def add_training_arguments(parser: argparse.ArgumentParser, out_help: str) -> None:
    """Declare the options of a command that trains by a recipe; ``out_help`` says what it writes."""
    parser.add_argument("recipe", type=to_read, metavar="RECIPE", help="YAML file: model, data, schedule, seed")
    parser.add_argument("-o", "--out", type=file_to_write, help=out_help)
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run of the recipe stopped")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Train, and print what came of it."""
    from semlt3d_ros.training.recipes import load_any_recipe

    given = _given(options)
    load_any_recipe(options.recipe, given)  # what is wrong with it is told before torch is imported

    from semlt3d_ros.training.run import train

    result = train(options.recipe, options.out, options.resume, for_people(options), given)
    if result is not None:  # of several processes only the first one prints
        print_result(result, options)
    return 0


def _given(options: argparse.Namespace) -> Given:
    from semlt3d_ros.training.given import Given

    return Given(
        tuple(options.bags or ()),
        tuple(options.validation_bags or ()),
        options.label_map,
        options.classes,
        options.checkpoint,
        options.seed,
        options.all,
    )

"""``semlt3d calibrate``: fit the confidences of a checkpoint to how often they are right."""

from __future__ import annotations

import argparse

from semlt3d_ros.commands.output import print_result
from semlt3d_ros.commands.places import file_to_write, to_read

HELP = "make a checkpoint's confidences say how often they are right"
EXAMPLE = "semlt3d calibrate build/demo.safetensors config/recipes/demo_clips.yaml -o build/calibrated.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("checkpoint", type=to_read, metavar="CHECKPOINT", help="what 'semlt3d train' wrote")
    parser.add_argument("recipe", type=to_read, metavar="RECIPE", help="YAML file that says which frames to fit on")
    parser.add_argument("-o", "--out", type=file_to_write, required=True, metavar="OUT", help="checkpoint to write")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Fit, write, and print calibration errors before and after."""
    from semlt3d_ros.training.recipe import load_recipe

    load_recipe(options.recipe)  # what is wrong with it is told before torch is imported

    from semlt3d_ros.training.calibrate import calibrate_checkpoint

    result = calibrate_checkpoint(options.checkpoint, options.recipe, options.out)
    print_result(result, options)
    return 0

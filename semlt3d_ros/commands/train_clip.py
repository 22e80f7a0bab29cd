"""``semlt3d train-clip``: train the tiny CLIP of the simulated world."""

from __future__ import annotations

import argparse
from pathlib import Path

from semlt3d_ros.commands.output import for_people, print_json
from semlt3d_ros.commands.train import add_training_arguments

HELP = "train the tiny CLIP of the simulated world, on balanced crops and captions"
EXAMPLE = "semlt3d train-clip config/recipes/tiny_clip.yaml -o build/tiny_clip.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_training_arguments(parser, "weights to write (default: build/<name>_clip.safetensors)")


def run(options: argparse.Namespace) -> int:
    """Render, train, measure on unseen seeds, and print how well each class is named."""
    from semlt3d_ros.core.yaml_file import read_yaml

    read_yaml(options.recipe, "recipe")  # that there is none is told before torch is imported

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from semlt3d_ros.training.clip import load_clip_recipe, train_clip

    recipe = load_clip_recipe(options.recipe)
    out = options.out or Path("build") / f"{recipe.name}_clip.safetensors"
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not for_people(options)) as bar:
        task = bar.add_task("preparing", total=None)
        result = train_clip(
            recipe,
            out,
            options.resume,
            lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )
    if options.json:
        print_json(result)
        return 0
    for name, recall in result["recall"].items():
        print(f"{name:24s}{100 * recall:5.1f} %")
    print(f"zero-shot accuracy on unseen seeds, mean of the classes: {100 * result['accuracy']:.1f} %")
    print(f"{out}: {result['parameters']} parameters; all figures: {out.with_suffix('.json')}")
    return 0

"""``semlt3d experiment``: compare variants of a recipe over several seeds and write the table and its plot."""

from __future__ import annotations

import argparse
from pathlib import Path

from semlt3d_ros.commands.output import for_people, print_json
from semlt3d_ros.commands.places import file_to_write, folder_to_write, refuse_losses_of, to_read
from semlt3d_ros.core.outputs import require_place, write_whole
from semlt3d_ros.core.places import Output

HELP = "compare variants of a recipe over several seeds; writes a table and a plot"
EXAMPLE = "semlt3d experiment config/experiments/long_tail.yaml -o build/long_tail.md"
_LATENCY_FRAMES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "experiment", type=to_read, metavar="EXPERIMENT", help="YAML file: recipe, test set, rows, seeds"
    )
    parser.add_argument("-o", "--out", type=file_to_write, help="report to write (default: build/experiments/NAME.md)")
    parser.add_argument("--folder", type=folder_to_write, help="for runs and results (default: build/experiments/NAME)")
    parser.add_argument("--processes", type=int, default=1, help="runs side by side (default: 1)")
    parser.add_argument("--report-only", action="store_true", help="report the results so far, run nothing")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(options: argparse.Namespace) -> int:
    """Do the runs that are missing, then write the report."""
    from semlt3d_ros.core.yaml_file import read_yaml

    read_yaml(options.experiment, "experiment")  # that there is none is told before torch is imported

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from semlt3d_ros.training.experiment import checkpoint_path, load_experiment, results, run_all
    from semlt3d_ros.training.experiment_report import plot, to_markdown
    from semlt3d_ros.training.frames import open_frames
    from semlt3d_ros.training.latency import measure_latency
    from semlt3d_ros.training.paired_report import comparison
    from semlt3d_ros.training.recipe import Recipe
    from semlt3d_ros.training.run import reads

    experiment = load_experiment(options.experiment)
    folder = options.folder or Path("build") / "experiments" / experiment.name
    out = options.out or folder.with_suffix(".md")
    picture = out.parent / "images" / f"{out.stem}.png"
    runs = list(experiment.runs())
    written = [Output("--out", out), Output("the plot", picture), Output("--folder", folder, "folder")]
    refuse_losses_of(
        options, written, *(each for run in runs for each in reads(options.experiment, experiment.recipe_of(*run)))
    )
    require_place(out)
    if not options.report_only:
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True), disable=not for_people(options)) as bar:
            task = bar.add_task("runs", total=len(runs))
            run_all(experiment, folder, options.processes, lambda name: bar.update(task, advance=1, description=name))
    found = results(experiment, folder)
    trained = {(base.name, row.name): checkpoint_path(folder, (base, row, seed)) for base, row, seed in reversed(runs)}
    trained = {key: path for key, path in trained.items() if path.exists()}
    recipe, latency = experiment.recipe_of(*runs[0]), None
    if isinstance(recipe, Recipe):
        with open_frames([experiment.test], recipe.data_folder, recipe.student) as test:
            frames = [test.frame(index) for index in range(min(_LATENCY_FRAMES, len(test)))]
        latency = dict(zip(trained, measure_latency(list(trained.values()), frames), strict=True))
    plot(experiment, found, picture)
    compared = comparison(experiment, folder)
    write_whole(out, to_markdown(experiment, found, latency, f"images/{picture.name}", compared))
    if options.json:
        print_json({"report": str(out), "picture": str(picture), "runs": found})
    else:
        print(f"{out}: {len(found)} of {len(runs)} runs; plot: {picture}")
    return 0

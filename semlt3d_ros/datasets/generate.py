"""Training data from the simulated world: many short drives, rendered into shards by several processes.

Run as ``python -m semlt3d_ros.datasets.generate OUT --help``. An interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from semlt3d_ros.core.errors import Semlt3dError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.processes import deaf_to_ctrl_c
from semlt3d_ros.datasets.shards import SHARD_SUFFIX, FrameRegions, write_shard
from semlt3d_ros.simulation.drive import Drive
from semlt3d_ros.simulation.generation import GenerationRecipe

_REGION_MIN_PIXELS = 6
"""Objects that cover fewer pixels of the frame's images have no stored region."""


def shard_paths(out: Path, recipe: GenerationRecipe) -> list[Path]:
    """Where ``generate_shards`` puts the shards of a recipe, in the order of their seeds."""
    return [out / f"seeds-{first:07d}-{last:07d}{SHARD_SUFFIX}" for first, last in recipe.blocks()]


def generate_shards(out: Path, recipe: GenerationRecipe, processes: int = 2, progress: bool = True) -> list[Path]:
    """Render all drives of a recipe into ``out``; shards that are there already are kept.

    Returns:
        The paths of all shards, in the order of their seeds.
    """
    blocks, paths = recipe.blocks(), shard_paths(out, recipe)
    todo = [(path, recipe, block) for path, block in zip(paths, blocks, strict=True) if not path.exists()]
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("shards", total=len(paths), completed=len(paths) - len(todo))
        for _ in _written(todo, processes):
            bar.advance(task)
    return paths


_Job = tuple[Path, GenerationRecipe, tuple[int, int]]


def _written(jobs: Sequence[_Job], processes: int) -> Iterator[None]:
    if processes <= 1 or len(jobs) <= 1:
        yield from map(_write_block, jobs)
        return
    with deaf_to_ctrl_c():
        workers = multiprocessing.get_context("spawn").Pool(min(processes, len(jobs)))
    with workers as pool:
        yield from pool.imap_unordered(_write_block, jobs)


def _write_block(job: _Job) -> None:
    path, recipe, (first, last) = job
    if path.exists():  # another run into the same folder was faster
        return
    sequences = [seed for seed in range(first, last) for _ in range(recipe.frames)]
    regions: list[FrameRegions] = []
    frames = _rendered(recipe, first, last, regions)
    write_shard(path, frames, sequences, recipe.point_limit, regions if recipe.regions else None)


def _rendered(recipe: GenerationRecipe, first: int, last: int, regions: list[FrameRegions]) -> Iterator[Frame]:
    for seed in range(first, last):
        drive = Drive(recipe.drive(seed))
        for index in range(len(drive)):
            frame = drive.frame(index)
            if recipe.regions and frame.labels is not None:
                regions.append(FrameRegions(*drive.regions(index, frame.labels, _REGION_MIN_PIXELS)))
            yield frame


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m semlt3d_ros.datasets.generate``."""
    default = GenerationRecipe()
    parser = argparse.ArgumentParser(prog="python -m semlt3d_ros.datasets.generate", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the shards")
    parser.add_argument("--first-seed", type=int, default=default.first_seed)
    parser.add_argument("--drives", type=int, default=default.drives, help="one drive per seed")
    parser.add_argument("--frames", type=int, default=default.frames, help="frames per drive")
    parser.add_argument(
        "--interval",
        type=float,
        nargs="+",
        default=[default.interval_s],
        metavar="SECONDS",
        help="time between frames; of two values, the shortest and the longest of irregular ones",
    )
    parser.add_argument("--drives-per-shard", type=int, default=default.drives_per_shard)
    parser.add_argument(
        "--class-exponent", type=float, default=default.class_exponent, help="1: real long tail, 0: flat"
    )
    parser.add_argument("--size", type=int, nargs=2, default=default.image_size, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--top-crop", type=float, default=default.top_crop, help="share of rows left out at the top")
    parser.add_argument("--regions", action="store_true", help="store image regions, for semantic distillation")
    parser.add_argument(
        "--lidar", choices=("nominal", "varied"), default=default.lidar, help="another one in every drive"
    )
    parser.add_argument("--no-cameras", action="store_true", help="points only")
    parser.add_argument("--point-limit", type=int, help="points kept of a frame, with intensity, time and class")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    if len(given.interval) > 2:
        parser.error("--interval takes one value, or the shortest and the longest")
    try:
        recipe = replace(
            default,
            first_seed=given.first_seed,
            drives=given.drives,
            frames=given.frames,
            interval_s=given.interval[0] if len(given.interval) == 1 else tuple(given.interval),
            drives_per_shard=given.drives_per_shard,
            class_exponent=given.class_exponent,
            image_size=(given.size[0], given.size[1]),
            top_crop=given.top_crop,
            regions=given.regions,
            lidar=given.lidar,
            cameras=not given.no_cameras,
            point_limit=given.point_limit,
        )
        generate_shards(given.out, recipe, given.processes, progress=not given.quiet)
    except Semlt3dError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

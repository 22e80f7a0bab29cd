"""Training data from the simulated world: many short drives, rendered into shards by several processes.

Run as ``python -m semlt3d_ros.simulation.generate OUT --help``. An interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import ClassVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule
from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.datasets.shards import SHARD_SUFFIX, FrameRegions, write_shard
from semlt3d_ros.simulation.drive import Drive, DriveConfig

_REGION_MIN_PIXELS = 6
"""Objects that cover fewer pixels of the frame's images have no stored region."""


def _can_be_simulated(recipe: GenerationRecipe) -> Iterator[str]:
    try:
        recipe.drive(recipe.first_seed)
    except ConfigurationError as error:
        yield str(error)


@dataclass(frozen=True)
class GenerationRecipe(Checked):
    """What to render.

    Attributes:
        first_seed, drives: one drive for each seed from ``first_seed`` on.
        frames, interval_s: frames per drive and seconds between them; of two, the shortest and longest time.
        drives_per_shard: drives written into one shard.
        regions: whether to store the image regions of the objects too, for semantic distillation.
        image_size, top_crop, objects, class_exponent, rig_jitter: see ``DriveConfig``.
    """

    TITLE: ClassVar[str] = "generation recipe"
    CHECKS: ClassVar[Checks] = (
        *positive("drives", "frames", "drives_per_shard"),
        *not_negative("first_seed", "class_exponent", "rig_jitter"),
        rule(lambda r: 0 <= r.objects[0] <= r.objects[1], "objects must be the least and the most, not {0.objects}"),
        _can_be_simulated,
    )

    first_seed: int = 10_000
    drives: int = 3000
    frames: int = 2
    interval_s: float | tuple[float, float] = 1.0
    drives_per_shard: int = 100
    image_size: tuple[int, int] = (224, 128)
    top_crop: float = 0.25
    objects: tuple[int, int] = (16, 36)
    class_exponent: float = 0.35
    rig_jitter: float = 0.5
    regions: bool = False

    @property
    def cropped_size(self) -> tuple[int, int]:
        """Width and height of the images in pixels."""
        width, height = self.image_size
        return width, height - round(height * self.top_crop)

    def blocks(self) -> list[tuple[int, int]]:
        """First seed and the one after the last of every shard."""
        stop = self.first_seed + self.drives
        starts = range(self.first_seed, stop, self.drives_per_shard)
        return [(seed, min(seed + self.drives_per_shard, stop)) for seed in starts]

    def clips(self) -> list[list[range]]:
        """Numbers of the frames of each drive, by shard."""
        found, start = [], 0
        for first, last in self.blocks():
            found.append([range(start + k * self.frames, start + (k + 1) * self.frames) for k in range(last - first)])
            start += (last - first) * self.frames
        return found

    def drive(self, seed: int) -> DriveConfig:
        """The configuration of one drive."""
        return DriveConfig(
            seed,
            frames=self.frames,
            interval_s=self.interval_s,
            image_size=self.image_size,
            top_crop=self.top_crop,
            objects=self.objects,
            class_exponent=self.class_exponent,
            rig_jitter=self.rig_jitter,
        )


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


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started in the context do not hear Ctrl-C, which a terminal sends to all of them at once.

    Whoever started them hears it, at the end of the context at the latest, and ends them.
    """
    resource_tracker.ensure_running()  # its first start lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
    write_shard(path, frames, sequences, regions=regions if recipe.regions else None)


def _rendered(recipe: GenerationRecipe, first: int, last: int, regions: list[FrameRegions]) -> Iterator[Frame]:
    for seed in range(first, last):
        drive = Drive(recipe.drive(seed))
        for index in range(len(drive)):
            frame = drive.frame(index)
            if recipe.regions and frame.labels is not None:
                regions.append(FrameRegions(*drive.regions(index, frame.labels, _REGION_MIN_PIXELS)))
            yield frame


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m semlt3d_ros.simulation.generate``."""
    default = GenerationRecipe()
    parser = argparse.ArgumentParser(prog="python -m semlt3d_ros.simulation.generate", description=__doc__)
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
        )
        generate_shards(given.out, recipe, given.processes, progress=not given.quiet)
    except Semlt3dError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

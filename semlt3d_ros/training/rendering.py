"""Frames that are rendered while training already goes on."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.datasets.shards import FrameRegions, ShardDataset
from semlt3d_ros.simulation.generate import GenerationRecipe, deaf_to_ctrl_c, generate_shards, shard_paths

_POLL_S = 0.5


class RenderedFrames:
    """The frames of generation recipes, one after the other; those not stored yet are rendered in the background.

    Asking for a frame waits until it is there. As a context manager it ends the rendering on leaving; what was rendered
    is kept and found again.

    Args:
        folder: where the frames lie, each recipe's in a folder of its own that only the same recipe finds again.
        recipes: what to render, in this order.
        processes: rendering processes.
    """

    def __init__(self, folder: Path, recipes: Sequence[GenerationRecipe], processes: int = 1) -> None:
        jobs = [(folder / digest(recipe), recipe) for recipe in recipes]
        self._paths = [path for place, recipe in jobs for path in shard_paths(place, recipe)]
        self.blocks = [(last - first) * recipe.frames for recipe in recipes for first, last in recipe.blocks()]
        self._ends = list(itertools.accumulate(self.blocks))
        self.clips_of_blocks = _numbered_on(recipe.clips() for recipe in recipes)
        """Numbers of the frames of each drive, block by block."""
        self._opened: dict[int, ShardDataset] = {}
        self._renderer = None
        if not all(path.exists() for path in self._paths):
            self._renderer = multiprocessing.get_context("spawn").Process(target=_render, args=(jobs, processes))
            with deaf_to_ctrl_c():
                self._renderer.start()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Frame:
        """Frame ``index``, once it is rendered.

        Raises:
            ConfigurationError: rendering ended before the frame was there.
        """
        shard, local = self._locate(index)
        return shard[local]

    def regions(self, index: int) -> FrameRegions:
        """The image regions of frame ``index``'s objects, once it is rendered; none where the recipe has none."""
        shard, local = self._locate(index)
        return shard.regions(local)

    def _locate(self, index: int) -> tuple[ShardDataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        number = bisect.bisect_right(self._ends, index)
        if number not in self._opened:
            self._wait_for(self._paths[number])
            self._opened[number] = ShardDataset([self._paths[number]])
        return self._opened[number], index - self._ends[number] + self.blocks[number]

    def _wait_for(self, path: Path) -> None:
        while not path.exists():
            if self._renderer is None or not self._renderer.is_alive():
                if path.exists():
                    return
                raise ConfigurationError(f"rendering ended before '{path}' was written; run the command again")
            time.sleep(_POLL_S)

    def close(self) -> None:
        """End the rendering."""
        if self._renderer is not None and self._renderer.is_alive():
            self._renderer.terminate()
            self._renderer.join()

    def __enter__(self) -> RenderedFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _numbered_on(parts: Iterable[list[list[range]]]) -> list[list[range]]:
    """The clips of several recipes, numbered on from one to the next."""
    blocks: list[list[range]] = []
    start = 0
    for part in parts:
        blocks += [[range(clip.start + start, clip.stop + start) for clip in block] for block in part]
        start = blocks[-1][-1].stop
    return blocks


_ADDED_FIELDS = {"regions": False}
"""Entries that recipes did not always have, with what they were before: frames of old recipes are found again."""


def digest(recipe: GenerationRecipe) -> str:
    """Folder name of a recipe's frames: the same recipe finds them again, another one does not."""
    values = {entry.name: getattr(recipe, entry.name) for entry in fields(recipe)}
    shown = [f"{name}={value!r}" for name, value in values.items() if _ADDED_FIELDS.get(name, ...) != value]
    return hashlib.sha256(f"GenerationRecipe({', '.join(shown)})".encode()).hexdigest()[:10]


def _render(jobs: Sequence[tuple[Path, GenerationRecipe]], processes: int) -> None:
    # Ended in order, so that its own processes end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    for folder, recipe in jobs:
        generate_shards(folder, recipe, processes, progress=False)

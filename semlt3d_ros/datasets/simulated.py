"""Simulated frames, which are rendered while training already goes on."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.processes import deaf_to_ctrl_c
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.datasets.generate import generate_shards, shard_paths
from semlt3d_ros.datasets.shards import FrameRegions, ShardDataset
from semlt3d_ros.datasets.source import Clips
from semlt3d_ros.simulation.generation import GenerationRecipe

_POLL_S = 0.5


class Rendering:
    """Renders what is missing of generation recipes, one after the other, in a process in the background.

    What was rendered is kept and found again.

    Args:
        folder: where the frames lie, each recipe's in a folder of its own that only the same recipe finds again.
        recipes: what to render, in this order.
        processes: rendering processes.
        here: False leaves the rendering to another process, whose results are waited for.
    """

    def __init__(
        self, folder: Path, recipes: Sequence[GenerationRecipe], processes: int = 1, here: bool = True
    ) -> None:
        self._here, self._owner = here, os.getpid()
        self._process: BaseProcess | None = None
        jobs = [(folder / digest(recipe), recipe) for recipe in recipes]
        missing = [job for job in jobs if not all(path.exists() for path in shard_paths(*job))]
        if missing and here:
            self._process = multiprocessing.get_context("spawn").Process(target=_render, args=(missing, processes))
            with deaf_to_ctrl_c():
                self._process.start()

    def wait(self, path: Path) -> None:
        """Return once a shard is there.

        Raises:
            ConfigurationError: rendering ended before.
        """
        while not path.exists():
            # A process that was forked off cannot ask after it, and is not left alone by the one that can.
            asks = self._here and os.getpid() == self._owner
            if asks and (self._process is None or not self._process.is_alive()):
                if path.exists():
                    return
                raise ConfigurationError(f"rendering ended before '{path}' was written; run the command again")
            time.sleep(_POLL_S)

    def close(self) -> None:
        """End the rendering."""
        if self._process is not None and os.getpid() == self._owner and self._process.is_alive():
            self._process.terminate()
            self._process.join()


class SimulatedFrames:
    """The frames of a generation recipe; asking for one waits until it is rendered.

    Args:
        folder: where the frames of all recipes lie.
        recipe: which of them these are.
        rendering: what renders them.
    """

    def __init__(self, folder: Path, recipe: GenerationRecipe, rendering: Rendering) -> None:
        self._recipe, self._rendering = recipe, rendering
        self._paths = shard_paths(folder / digest(recipe), recipe)
        self._sizes = [(last - first) * recipe.frames for first, last in recipe.blocks()]
        self._ends = list(itertools.accumulate(self._sizes))
        self._opened: dict[int, ShardDataset] = {}

    @property
    def label_lists(self) -> list[tuple[str, ...]]:
        """The one list of the simulated world."""
        return [CLASS_NAMES]

    @property
    def provenance(self) -> dict[str, Any]:
        """The recipe."""
        return {"simulate": asdict(self._recipe)}

    def __len__(self) -> int:
        return self._ends[-1]

    def clips(self, whole: bool = False) -> Clips:
        """The drives, by shard."""
        return self._recipe.clips()

    def wait(self, index: int) -> None:
        """Return once frame ``index`` is rendered; raises the same as ``frame``."""
        self._rendering.wait(self._paths[bisect.bisect_right(self._ends, index)])

    def frame(self, index: int) -> Frame:
        """Frame ``index``, once it is rendered.

        Raises:
            ConfigurationError: rendering ended before the frame was there.
        """
        shard, local = self._locate(index)
        return shard[local]

    def labels(self, index: int) -> Labels | None:
        """The labels of frame ``index``; raises the same as ``frame``."""
        shard, local = self._locate(index)
        return shard.labels(local)

    def regions(self, index: int) -> FrameRegions:
        """The image regions of frame ``index``'s objects, once it is rendered; none where the recipe has none."""
        shard, local = self._locate(index)
        return shard.regions(local)

    def close(self) -> None:
        """End the rendering."""
        self._rendering.close()

    def _locate(self, index: int) -> tuple[ShardDataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        number = bisect.bisect_right(self._ends, index)
        if number not in self._opened:
            self._rendering.wait(self._paths[number])
            self._opened[number] = ShardDataset([self._paths[number]])
        return self._opened[number], index - self._ends[number] + self._sizes[number]


_ADDED_FIELDS = {"regions": False, "lidar": "nominal", "cameras": True, "point_limit": None, "city": "home"}
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

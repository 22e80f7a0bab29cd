"""Frames that are rendered while training already goes on."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from types import TracebackType

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.data.shards import ShardDataset
from semlt3d_ros.simulation.generate import GenerationRecipe, generate_shards, shard_paths

_POLL_S = 0.5


class RenderedFrames:
    """The frames of a generation recipe; those not stored yet are rendered in the background, in order.

    Asking for a frame waits until it is there. As a context manager it ends the rendering on leaving; what was rendered
    is kept and found again.

    Args:
        folder: where the shards lie.
        recipe: what to render.
        processes: rendering processes.
    """

    def __init__(self, folder: Path, recipe: GenerationRecipe, processes: int = 1) -> None:
        self._recipe = recipe
        self._paths = shard_paths(folder, recipe)
        self._opened: dict[int, ShardDataset] = {}
        self._renderer = None
        if not all(path.exists() for path in self._paths):
            self._renderer = multiprocessing.get_context("spawn").Process(
                target=generate_shards, args=(folder, recipe, processes, False)
            )
            self._renderer.start()

    @property
    def block(self) -> int:
        """Frames per shard: what becomes available at once."""
        return self._recipe.drives_per_shard * self._recipe.frames

    def __len__(self) -> int:
        return self._recipe.drives * self._recipe.frames

    def __getitem__(self, index: int) -> Frame:
        """Frame ``index``, once it is rendered.

        Raises:
            ConfigurationError: rendering ended before the frame was there.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        number, local = divmod(index, self.block)
        if number not in self._opened:
            self._wait_for(self._paths[number])
            self._opened[number] = ShardDataset([self._paths[number]])
        return self._opened[number][local]

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

"""Image regions of simulated objects, with what is known of each: what the tiny CLIP learns from.

A block of drives is one ``.npz`` file, written whole or not at all, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.simulation.drive import Drive
from semlt3d_ros.simulation.generation import GenerationRecipe
from semlt3d_ros.simulation.mesh import Shape

_BLOCK = 25


@dataclass(frozen=True)
class ObjectCrops:
    """Regions of R objects.

    Attributes:
        images: (R, S, S, 3) uint8.
        class_ids: (R,) int64 indices into ``taxonomy.CLASS_NAMES``.
        sizes: (R, 3) float32 length, width, height of the objects in metres.
        paints: (R, 3) uint8 the colour that covers most of each object.
        seeds: (R,) int64 the drive each is from.
        visible_pixels: (R,) int64 pixels it covers in the student's images.
    """

    images: NDArray[np.uint8]
    class_ids: NDArray[np.int64]
    sizes: NDArray[np.float32]
    paints: NDArray[np.uint8]
    seeds: NDArray[np.int64]
    visible_pixels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)


def render_crops(
    folder: Path, recipe: GenerationRecipe, min_visible_pixels: int, progress: Callable[[int, int], None]
) -> ObjectCrops:
    """The regions of all objects of a recipe's drives, one frame of each; read from ``folder`` where they are there.

    Args:
        folder: where blocks are kept.
        recipe: what to render; of every drive the first frame only.
        min_visible_pixels: objects with fewer pixels in the student's images are left out.
        progress: called with the number of drives that are done and their number.

    Raises:
        ConfigurationError: a file in the folder is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stop = recipe.first_seed + recipe.drives
    parts: list[ObjectCrops] = []
    for first in range(recipe.first_seed, stop, _BLOCK):
        last = min(first + _BLOCK, stop)
        path = folder / f"crops-{first:07d}-{last:07d}-{min_visible_pixels}.npz"
        if not path.exists():
            _write(path, _concatenated([_of_drive(recipe, seed, min_visible_pixels) for seed in range(first, last)]))
        parts.append(_read(path))
        progress(last - recipe.first_seed, recipe.drives)
    return _concatenated(parts)


def _of_drive(recipe: GenerationRecipe, seed: int, min_visible_pixels: int) -> ObjectCrops:
    drive = Drive(replace(recipe.drive(seed), lidar=None))
    labels = drive.frame(0).labels
    assert labels is not None
    images, rows = drive.regions(0, labels, min_visible_pixels)
    shapes = [drive.actors[int(labels.track_ids[row].rsplit("-", 1)[1])].shape for row in rows]
    return ObjectCrops(
        images,
        labels.class_ids[rows],
        np.array([shape.size for shape in shapes], np.float32).reshape(-1, 3),
        np.array([main_paint(shape) for shape in shapes], np.uint8).reshape(-1, 3),
        np.full(len(rows), seed, np.int64),
        labels.visible_pixels[rows],
    )


def main_paint(shape: Shape) -> NDArray[np.uint8]:
    """The colour (3,) uint8 sRGB that covers the largest area of a shape."""
    corners = shape.vertices[shape.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    colors, which = np.unique(shape.colors, axis=0, return_inverse=True)
    return np.asarray(colors[np.bincount(which.reshape(-1), areas).argmax()], np.uint8)


def _concatenated(parts: list[ObjectCrops]) -> ObjectCrops:
    return ObjectCrops(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(ObjectCrops))
    )


def _write(path: Path, crops: ObjectCrops) -> None:
    with whole(path) as draft:
        np.savez(draft, **{field.name: getattr(crops, field.name) for field in fields(ObjectCrops)})


def _read(path: Path) -> ObjectCrops:
    try:
        with np.load(path) as archive:
            return ObjectCrops(*(archive[field.name] for field in fields(ObjectCrops)))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"crops '{path}' cannot be read ({error}); remove the file to render it anew"
        ) from error

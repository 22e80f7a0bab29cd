"""Bounds a data folder: frames that were decoded and rendered, and what is computed from them; all can be had again."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from semlt3d_ros.datasets.shards import SHARD_SUFFIX

_BAGS = "bags"
_GONE = ".gone"
"""What is being removed has this at the end of its name: nobody takes a part of it for all of it."""
_GIB = 2**30


@dataclass(frozen=True)
class Tidied:
    """What has become of a data folder.

    Attributes:
        removed: parts that were removed: frames of one recording or of one block of drives, or a single file.
        removed_bytes: that they had.
        kept_bytes: that are left.
    """

    removed: int
    removed_bytes: int
    kept_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.removed_bytes / _GIB:.2f} GiB of data that was not used for longest removed, "
            f"{self.kept_bytes / _GIB:.2f} GiB kept"
        )


def keep_within(folder: Path, gib: float, apart: Collection[str] = ()) -> Tidied:
    """Remove what was not used for longest until there is no more than so much. Not while anybody uses the folder.

    Args:
        folder: ``data_folder`` of a recipe.
        gib: at most so many gibibytes stay.
        apart: entries of the folder that do not count, since they have a bound of their own.

    Raises:
        OSError: something cannot be removed.
    """
    found = []
    for place in _parts(folder, apart):
        if place.name.endswith(_GONE):
            shutil.rmtree(place)
            continue
        with suppress(FileNotFoundError):
            found.append((place.stat().st_mtime_ns, _size(place), place))
    size = sum(each for _, each, _ in found)
    removed = gone = 0
    for _, each, place in sorted(found):
        if size - gone <= gib * _GIB:
            break
        _remove(place)
        removed, gone = removed + 1, gone + each
    return Tidied(removed, gone, size - gone)


def _parts(folder: Path, apart: Collection[str]) -> Iterator[Path]:
    """What is removed as a whole: shards of frames, frames of a recording, and every other file."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name in apart:
            continue
        within = list(entry.iterdir()) if entry.is_dir() else []
        if entry.name == _BAGS or any(SHARD_SUFFIX in each.suffixes for each in within):
            yield from within
        elif entry.is_dir():
            yield from (path for path in entry.rglob("*") if path.is_file())
        else:
            yield entry


def _size(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def _remove(place: Path) -> None:
    if place.is_file():
        place.unlink()
        return
    gone = place.with_name(place.name + _GONE)
    place.rename(gone)
    shutil.rmtree(gone)

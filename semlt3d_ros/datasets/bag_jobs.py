"""Which bags a source means, and where the frames of each are kept.

A bag's frames are found again by what decides them: the bag's bytes (its sizes, beginnings and ends stand for them),
the images wanted and the topics read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semlt3d_ros.bags.metadata import files_of_bag, read_folder
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.sensing.rig import load_rig

INDEX_NAME = "bag.json"
"""Of what became of a bag; it lies with the frames."""
_FORMAT = 1
_PROBED_BYTES = 1 << 16
_STORAGES = (".mcap", ".db3", ".zstd")


@dataclass(frozen=True)
class BagJob:
    """One bag to decode.

    Attributes:
        bag: the bag.
        folder: where its frames go.
        spec: what of it to take.
        image_spec: the images wanted.
    """

    bag: Path
    folder: Path
    spec: DataSpec
    image_spec: ImageSpec

    @property
    def is_done(self) -> bool:
        """Whether its frames are there."""
        return (self.folder / INDEX_NAME).exists()

    def index(self) -> dict[str, Any]:
        """What became of the bag.

        Raises:
            ConfigurationError: it cannot be read.
        """
        path = self.folder / INDEX_NAME
        try:
            values: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{path} cannot be read ({error}); remove its folder to decode the bag anew"
            ) from error
        return values


def jobs_of(spec: DataSpec, folder: Path, image_spec: ImageSpec) -> list[BagJob]:
    """The bags of a source, in the order of their names; each content once.

    Raises:
        ConfigurationError: a pattern matches no bag, or a file of one cannot be read.
    """
    jobs: dict[Path, BagJob] = {}
    for bag in sorted({bag for pattern in spec.bags for bag in find_bags(pattern)}):
        place = folder / "bags" / _digest(bag, spec, image_spec)
        jobs.setdefault(place, BagJob(bag, place, spec, image_spec))
    return list(jobs.values())


def find_bags(pattern: str) -> list[Path]:
    """The bags that a pattern, relative to the current folder, matches: folders of bags and single files.

    A file that is a part of its folder's bag stands for all of it, a folder of bags for the bags in it.

    Raises:
        ConfigurationError: there is none.
    """
    path = Path(os.path.expanduser(pattern))
    anchor = Path(path.anchor) if path.anchor else Path()
    parts = path.relative_to(anchor) if path.anchor else path
    matches = [path] if path.exists() else sorted(anchor.glob(str(parts)))
    bags = {bag for match in matches for bag in _bags_at(match)}
    if not bags:
        raise ConfigurationError(f"bags '{pattern}': there is no bag (a folder of .mcap or .db3 files, or such a file)")
    return sorted(bags)


def _bags_at(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        if place.suffix in _STORAGES and ".unfinished" not in place.suffixes:
            own, _ = files_of_bag(place.parent)
            yield place.parent if place in own else place
        return
    own, others = files_of_bag(place)
    if own:
        yield place
    yield from others
    if not own:
        yield from (entry for entry in place.iterdir() if entry.is_dir() and any(files_of_bag(entry)))


def _digest(bag: Path, spec: DataSpec, image_spec: ImageSpec) -> str:
    """Name of the folder with a bag's frames."""
    rig = repr(load_rig(spec.rig)) if spec.rig is not None else ""
    decides: tuple[Any, ...] = (_FORMAT, identity_of(bag), image_spec, spec.labels, spec.key_frames, rig)
    if spec.cloud_points is not None:  # frames from before there was this entry are found again
        decides = (*decides, spec.cloud_points)
    if not spec.labelled:
        decides = (*decides, "without labels")
    return hashlib.sha256(repr(decides).encode()).hexdigest()[:16]


def identity_of(bag: Path) -> str:
    """The same for copies of a bag: sizes, beginnings and ends of its files, where a bag counts what is in it.

    Raises:
        ConfigurationError: a file cannot be read, or there is none.
    """
    digest = hashlib.sha256()
    for file in [bag] if bag.is_file() else read_folder(bag).files:
        try:
            with open(file, "rb") as content:
                size = content.seek(0, os.SEEK_END)
                digest.update(size.to_bytes(8, "little"))
                for place in (0, max(0, size - _PROBED_BYTES)):
                    content.seek(place)
                    digest.update(content.read(_PROBED_BYTES))
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()


def refuse_overlap(train: Sequence[DataSpec], validation: Sequence[DataSpec]) -> None:
    """Refuse recordings, or parts of them, that are both learnt from and judged by.

    Raises:
        ConfigurationError: names them.
    """
    learnt, judged = (
        [(identity_of(bag), bag, spec.part) for spec in specs for pattern in spec.bags for bag in find_bags(pattern)]
        for specs in (train, validation)
    )
    both = [
        str(bag)
        for key, bag, (first, last) in judged
        if any(other == key and first < end and start < last for other, _, (start, end) in learnt)
    ]
    if both:
        raise ConfigurationError(
            f"{', '.join(sorted(set(both)))}: under train as well as under validation; keep them, or their parts, apart"
        )

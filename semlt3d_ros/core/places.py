"""What a command is told to write, held against what it is told to read: nothing that is read may be lost."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import identity, resolved, unfinished

Kind = Literal["file", "bag", "bags", "folder"]


@dataclass(frozen=True)
class Output:
    """Something a command is told to write.

    Attributes:
        option: how the user names it, such as ``"--out"``.
        path: its place.
        kind: a ``file``; a ``bag``, which is a file if it ends in ``.mcap`` and a folder of its own if not; ``bags``,
            likewise, but a folder that may hold others; a ``folder`` for files that may lie beside others.
    """

    option: str
    path: Path
    kind: Kind = "file"

    @property
    def is_folder(self) -> bool:
        """Whether the place is a folder's."""
        return self.kind == "folder" or (self.kind in ("bag", "bags") and self.path.suffix != ".mcap")


@dataclass(frozen=True)
class Input:
    """Something a command is told to read: how the user names it, and its place."""

    option: str
    path: Path


def refuse_losses(outputs: Iterable[Output], inputs: Iterable[Input]) -> None:
    """Refuse to write over what is to be read, or two results to one place; before anything is opened.

    Places are compared by where they lead, through links and other spellings, and by device and number, so that hard
    links and file systems without upper case are seen through. Refused are an output that is an input, or lies within
    the folder of one (the folder given, or the bag folder that a given file belongs to); a bag folder that holds an
    input; an output whose unfinished place is an input; an existing folder in place of a file.

    Raises:
        ConfigurationError: names the option, the place and the remedy.
    """
    outputs, inputs = list(outputs), list(inputs)
    for number, output in enumerate(outputs):
        if not output.is_folder and os.path.isdir(output.path):
            raise ConfigurationError(f"{output.option} {output.path} is a folder; give the name of a file")
        for other in outputs[:number]:
            if _same_output(output, other):
                raise ConfigurationError(
                    f"{output.option} {output.path} is the place of {other.option} {other.path} too; "
                    "give one of them another name"
                )
        for source in inputs:
            problem = _loss(output, source.path)
            if problem:
                raise ConfigurationError(
                    f"{output.option} {output.path} {problem} {source.option} {source.path}, which is read; "
                    f"give another {'folder' if output.kind == 'folder' else 'name'}"
                )


def _loss(output: Output, source: Path) -> str | None:
    """What an output would do to an input, in words; None: nothing."""
    folder = _folder_of(source)
    parts = [source, *_entries(folder)]
    for place in (resolved(output.path), unfinished(output.path, output.is_folder)):
        if any(_is_same(place, part) for part in [folder, *parts] if part is not None):
            return "is" if place == resolved(output.path) else "is written by way of"
        if folder is not None and any(_is_same(above, folder) for above in place.parents):
            return "lies within"
        holds = output.kind == "bag" and output.is_folder
        if holds and any(_is_same(above, place) for part in parts for above in resolved(part).parents):
            return "is a folder that holds"
    return None


def _folder_of(source: Path) -> Path | None:
    """The folder that an input is: itself, or the bag folder that the file belongs to."""
    if source.is_dir():
        return source
    return source.parent if (source.parent / "metadata.yaml").is_file() else None


def _entries(folder: Path | None) -> list[Path]:
    """What lies in an input folder; entries may be links to files elsewhere."""
    try:
        return [] if folder is None else list(folder.iterdir())
    except OSError:
        return []


def _is_same(first: Path, second: Path) -> bool:
    known = identity(first)
    return resolved(first) == resolved(second) or (known is not None and known == identity(second))


def _same_output(first: Output, second: Output) -> bool:
    # Where neither is there yet, only the file system knows whether upper and lower case differ: better refused.
    folded = [os.path.normcase(resolved(each.path)).casefold() for each in (first, second)]
    return folded[0] == folded[1] or _is_same(first.path, second.path)

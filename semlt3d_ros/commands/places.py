"""Options that name a file or folder say what becomes of it, so that no command writes over what it reads.

Every such option of every command has one of these functions as its ``type``.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from pathlib import Path

from semlt3d_ros.core.places import Input, Kind, Output, refuse_losses


def to_read(text: str) -> Path:
    """A file or folder that is read."""
    return Path(text)


def name_or_file(text: str) -> str:
    """A name of something, or a file that is read."""
    return text


def bag_to_write(text: str) -> Path:
    """An ``.mcap`` file, or else a bag's folder."""
    return Path(text)


def bags_to_write(text: str) -> Path:
    """An ``.mcap`` file, or else a folder for bags, which may lie beside others."""
    return Path(text)


def file_to_write(text: str) -> Path:
    """A file that is written."""
    return Path(text)


def folder_to_write(text: str) -> Path:
    """A folder for files, which may lie beside others."""
    return Path(text)


READ = (to_read, name_or_file)
WRITTEN: dict[object, Kind] = {
    bag_to_write: "bag",
    bags_to_write: "bags",
    file_to_write: "file",
    folder_to_write: "folder",
}


def inputs_of(options: argparse.Namespace) -> list[Input]:
    """What a command was told to read."""
    return [Input(name, path) for _, name, path in _given(options, READ)]


def outputs_of(options: argparse.Namespace) -> list[Output]:
    """What a command was told to write."""
    return [Output(name, path, WRITTEN[role]) for role, name, path in _given(options, WRITTEN)]


def refuse_losses_of(options: argparse.Namespace, outputs: list[Output] | None = None, *inputs: Input) -> None:
    """Refuse options by which something that is read would be written over.

    Args:
        options: of a command.
        outputs: all that the command writes, where that is more than the options name.
        inputs: what it reads besides what the options name.

    Raises:
        ConfigurationError: names the option, the place and the remedy.
    """
    refuse_losses(outputs_of(options) if outputs is None else outputs, [*inputs_of(options), *inputs])


def _given(options: argparse.Namespace, roles: Collection[object]) -> Iterator[tuple[object, str, Path]]:
    for action in options.parser._actions:
        if action.type in roles:
            value = getattr(options, action.dest, None)
            name = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
            for each in value if isinstance(value, list) else [value]:
                if each is not None:
                    yield action.type, name, Path(each)

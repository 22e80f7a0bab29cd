"""Which folders are sequences of PandaSet; light, so that a wrong folder is told at once."""

from __future__ import annotations

from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.importing import chosen_scenes


def is_sequence(folder: Path) -> bool:
    """Whether a folder is laid out as a sequence."""
    return (folder / "lidar").is_dir() and (folder / "camera").is_dir()


def require_sequence(folder: Path) -> None:
    """See that a folder is a sequence.

    Raises:
        ConfigurationError: it is none.
    """
    if not is_sequence(folder):
        raise ConfigurationError(
            f"{folder}: not a PandaSet sequence; give the folder that holds camera/, lidar/ and annotations/, or one "
            "with such folders in it"
        )


def sequence_folders(folder: Path, wanted: str | None) -> dict[str, Path]:
    """The sequences in a folder by name, in the order of their names; or the folder itself, if it is one.

    Args:
        folder: the folder.
        wanted: which sequences, as of ``chosen_scenes``.

    Raises:
        ConfigurationError: it is no sequence and holds none, or not those that are wanted.
    """
    if is_sequence(folder):
        found = {folder.resolve().name: folder}
    else:
        found = {path.name: path for path in sorted(folder.glob("*")) if is_sequence(path)}
    if not found:
        require_sequence(folder)
    return {name: found[name] for name in chosen_scenes(list(found), wanted, folder)}

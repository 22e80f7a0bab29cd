"""Configuration files that come with the package and are chosen by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError


def shipped_file(kind: str, path_or_name: Path | str) -> Path:
    """A file that was named, or the one that comes with the package under ``config/<kind>/<name>.yaml``.

    Args:
        kind: folder under ``config``, such as ``classes``.
        path_or_name: a path, or a plain name without suffix.

    Raises:
        ConfigurationError: it is a plain name that no file has.
    """
    path = Path(path_or_name)
    if path.suffix or len(path.parts) != 1 or path.exists():
        return path
    known = shipped_files(kind)
    if path.name not in known:
        raise ConfigurationError(
            f"there is no {kind.replace('_', ' ')} file '{path.name}'; give a path, or one of {', '.join(known)}"
        )
    return known[path.name]


def shipped_files(kind: str) -> dict[str, Path]:
    """All files of a kind that come with the package, by name."""
    installed = Path(str(resources.files("semlt3d_ros"))) / "config" / kind
    folder = installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "config" / kind
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}

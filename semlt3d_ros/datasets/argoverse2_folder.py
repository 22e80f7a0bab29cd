"""Which folders are logs of Argoverse 2's sensor data set; light, so that a wrong folder is told at once."""

from __future__ import annotations

from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.importing import chosen_scenes

RING: tuple[str, ...] = (
    "ring_front_center",
    "ring_front_right",
    "ring_side_right",
    "ring_rear_right",
    "ring_rear_left",
    "ring_side_left",
    "ring_front_left",
)
"""The cameras all around, clockwise from the front."""

STEREO: tuple[str, ...] = ("stereo_front_left", "stereo_front_right")

POSES = "city_SE3_egovehicle.feather"


def is_log(folder: Path) -> bool:
    """Whether a folder is laid out as a log, be it half downloaded."""
    parts = ((folder / POSES).is_file(), (folder / "calibration").is_dir(), (folder / "sensors").is_dir())
    return sum(parts) >= 2


def log_folders(folder: Path, wanted: str | None) -> dict[str, Path]:
    """The logs in a folder by name, in the order of their names; or the folder itself, if it is one.

    Args:
        folder: a log, a split (``train``, ``val``, ``test``) of logs, or a folder of splits.
        wanted: which logs, as of ``chosen_scenes``.

    Raises:
        ConfigurationError: it is no log and holds none, or not those that are wanted.
    """
    candidates = [folder] if is_log(folder) else [*sorted(folder.glob("*")), *sorted(folder.glob("*/*"))]
    found = {path.resolve().name: path for path in candidates if is_log(path)}
    if not found:
        raise ConfigurationError(
            f"{folder}: no log of Argoverse 2's sensor data set; give a folder with {POSES}, calibration/ and "
            "sensors/, or one with such folders in it"
        )
    return {name: found[name] for name in chosen_scenes(list(found), wanted, folder)}

"""Which folders are KITTI's recordings; light, so that a wrong folder is told at once."""

from __future__ import annotations

from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.importing import chosen_scenes

CAMERAS: tuple[str, ...] = ("image_02", "image_03", "image_00", "image_01")
"""Left and right colour camera, left and right grey camera, as raw drives name them; the first is labelled."""

COLOUR = CAMERAS[:2]

POINTS = "velodyne_points"


def is_drive(folder: Path) -> bool:
    """Whether a folder is laid out as a raw drive, such as ``2011_09_26_drive_0009_sync``."""
    return any((folder / sensor / "data").is_dir() for sensor in (*CAMERAS, POINTS))


def is_object_split(folder: Path) -> bool:
    """Whether a folder holds frames of the object benchmark, as its ``training`` and ``testing`` do."""
    return (folder / "calib").is_dir() and any((folder / each).is_dir() for each in ("image_2", "image_3", "velodyne"))


def recording_folders(folder: Path, wanted: str | None) -> dict[str, Path]:
    """The recordings in a folder by name, in the order of their names; or the folder itself, if it is one.

    Args:
        folder: a raw drive, a day's folder of drives or a folder of such; or a split of the object benchmark, or a
            folder of such.
        wanted: which recordings, as of ``chosen_scenes``.

    Raises:
        ConfigurationError: it is no recording and holds none, or not those that are wanted.
    """
    candidates = [folder] if _is_recording(folder) else sorted(folder.glob("*")) + sorted(folder.glob("*/*"))
    found = {path.resolve().name: path for path in candidates if _is_recording(path)}
    if not found:
        raise ConfigurationError(
            f"{folder}: no KITTI recording; give a raw drive (with image_02/data and velodyne_points/data), a folder "
            "of drives, or one of the object benchmark's (with image_2, velodyne and calib)"
        )
    return {name: found[name] for name in chosen_scenes(list(found), wanted, folder)}


def _is_recording(folder: Path) -> bool:
    return is_drive(folder) or is_object_split(folder)

"""nuScenes' folders: which versions and scenes are in one; light, so that a wrong folder is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.shipped_files import shipped_file
from semlt3d_ros.datasets.importing import chosen_scenes
from semlt3d_ros.datasets.json_table import read_rows

_NEEDED = ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")
OF_TRUTH = ("sample_annotation", "instance", "category")
"""Tables without which there is no ground truth."""


@dataclass(frozen=True)
class NuScenesFolder:
    """A folder in nuScenes' layout, and one version of the tables in it.

    Attributes:
        root: holds ``samples/``, ``sweeps/`` and the folder of the tables.
        version: name of the latter, such as ``v1.0-mini``.
        scenes: scene name -> token, in the order of the table.
    """

    root: Path
    version: str
    scenes: dict[str, str]

    def table(self, name: str) -> Path:
        """The file of a table."""
        return self.root / self.version / f"{name}.json"


def is_folder(folder: Path) -> bool:
    """Whether a folder is nuScenes', or that of a version's tables."""
    return (folder / "scene.json").is_file() or any(folder.glob("*/scene.json"))


def chosen_by_split(folder: NuScenesFolder, scenes: str | None, split: str | None) -> list[str]:
    """The scenes asked for.

    Args:
        folder: the data set.
        scenes: as of ``chosen_scenes``; None for all.
        split: name of a split, of whose scenes those that are there are taken; None for all.

    Raises:
        ConfigurationError: there is no such split, or none of its scenes.
    """
    names = chosen_scenes(list(folder.scenes), scenes, folder.root)
    if split is None:
        return names
    splits = yaml.safe_load(shipped_file("splits", "nuscenes").read_text())
    if split not in splits:
        raise ConfigurationError(f"--split {split}: nuScenes has no such split; it has {', '.join(splits)}")
    of_split = {f"scene-{number:04d}" for number in splits[split]}
    found = [name for name in names if name in of_split]
    if not found:
        raise ConfigurationError(f"--split {split}: none of its scenes is in {folder.root / folder.version}")
    return found


def open_folder(folder: Path, version: str | None = None) -> NuScenesFolder:
    """Look into a folder.

    Args:
        folder: the root of the data set, or the folder of a version's tables in it.
        version: which of several; None where there is only one.

    Raises:
        ConfigurationError: it is no nuScenes folder, tables are missing, or it does not have that version.
    """
    if (folder / "scene.json").is_file():
        root, found = folder.resolve().parent, [folder.resolve().name]
    else:
        root, found = folder, sorted(path.parent.name for path in folder.glob("*/scene.json"))
    if not found:
        raise ConfigurationError(
            f"{folder}: not a nuScenes folder; give the one that holds samples/, sweeps/ and the tables, as v1.0-mini/"
        )
    if version is None and len(found) > 1:
        raise ConfigurationError(f"{folder} has several versions: {', '.join(found)}; say which with --version")
    if version is not None and version not in found:
        raise ConfigurationError(f"{folder} has no version '{version}'; it has {', '.join(found)}")
    chosen = version or found[0]
    missing = [name for name in _NEEDED if not (root / chosen / f"{name}.json").is_file()]
    if missing:
        raise ConfigurationError(
            f"{root / chosen}: tables are missing: {', '.join(missing)}; download the version's metadata again"
        )
    path = root / chosen / "scene.json"
    scenes: dict[str, str] = {}
    try:
        for row in read_rows(path):
            if str(row["name"]) in scenes:
                raise InputRejected("scene", f"two scenes are called '{row['name']}'; give each a name of its own")
            scenes[str(row["name"])] = str(row["token"])
    except KeyError as error:
        raise ConfigurationError(f"{path}: a scene has no {error}; download the version's metadata again") from None
    except InputRejected as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return NuScenesFolder(root, chosen, scenes)


def in_rig_order(channels: Sequence[str], usual: Sequence[str]) -> list[str]:
    """Cameras in the order of the usual rig; others after them, in their own order."""
    return [*(name for name in usual if name in channels), *(name for name in channels if name not in usual)]

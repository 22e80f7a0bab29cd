"""``semlt3d import nuscenes``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from semlt3d_ros.commands.output import for_people, progress_bar
from semlt3d_ros.core.errors import ConfigurationError

if TYPE_CHECKING:
    from semlt3d_ros.datasets.importing import Scenes

HELP = "nuScenes' scenes as bags, any version"
EXAMPLE = "semlt3d import nuscenes /data/nuscenes build/nuscenes --version v1.0-mini --key-frames"
FOLDER = "folder with samples/, sweeps/ and a version's tables, or the folder of the tables"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what only nuScenes has."""
    parser.add_argument("--version", metavar="NAME", help="which tables, where the folder has several: v1.0-mini ...")
    parser.add_argument("--split", metavar="NAME", help="only scenes of a split: train, val, test, mini_train ...")
    parser.add_argument(
        "--key-frames", action="store_true", help="only what is annotated, twice a second, not every image and sweep"
    )


def open_scenes(options: argparse.Namespace, frames: slice | None) -> Scenes:
    """The scenes that the options ask for; of those whose bags are there already, no table is read."""
    from semlt3d_ros.datasets.importing import pending
    from semlt3d_ros.datasets.nuscenes_folder import chosen_by_split, open_folder

    folder = open_folder(options.folder, options.version)
    names = chosen_by_split(folder, options.scenes, options.split)
    wanted = pending(names, options.out, options.overwrite)

    from semlt3d_ros.datasets.nuscenes import open_nuscenes

    opened: Scenes = {}
    if wanted:
        with progress_bar("reading the tables", for_people(options)) as progress:
            opened = open_nuscenes(folder, wanted, frames, key_frames=options.key_frames, progress=progress)
    return {name: opened.get(name, _there) for name in names}


def _there() -> NoReturn:
    raise ConfigurationError("the bag has vanished; run again")

"""``semlt3d import kitti``."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from semlt3d_ros.commands.places import to_read
from semlt3d_ros.core.errors import ConfigurationError

if TYPE_CHECKING:
    from semlt3d_ros.datasets.importing import Scenes

HELP = "KITTI's raw drives and object frames as bags"
EXAMPLE = (
    "semlt3d import kitti ../shared/data/kitti_raw/2011_09_26 build/kitti.mcap "
    "--labels ../shared/data/kitti_raw/tracking_label_02/0001.txt"
)
FOLDER = "a raw drive, a folder of drives, or frames of the object benchmark (training, testing)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what only KITTI has."""
    parser.add_argument(
        "--labels",
        type=to_read,
        metavar="FILE",
        help="labels of a raw drive, as the tracking benchmark has them (label_02/NNNN.txt), in place of its tracklets",
    )
    parser.add_argument("--grey", action="store_true", help="of raw drives, take the grey cameras as well")


def open_scenes(options: argparse.Namespace, frames: slice | None) -> Scenes:
    """The recordings that the options ask for."""
    from semlt3d_ros.datasets.kitti_folder import is_drive, recording_folders

    folders = recording_folders(options.folder, options.scenes)
    if options.labels is not None and (len(folders) != 1 or not all(map(is_drive, folders.values()))):
        names = ", ".join(list(folders)[:5]) + (", ..." if len(folders) > 5 else "")
        raise ConfigurationError(
            f"--labels {options.labels} belongs to one raw drive, but these are {names}; choose it with --scenes"
        )

    from semlt3d_ros.datasets.kitti import open_kitti

    return {
        name: partial(open_kitti, folder, frames, labels=options.labels, grey=options.grey)
        for name, folder in folders.items()
    }

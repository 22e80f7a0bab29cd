"""``semlt3d import argoverse2``."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semlt3d_ros.datasets.importing import Scenes

HELP = "logs of Argoverse 2's sensor data set as bags"
EXAMPLE = "semlt3d import argoverse2 /data/argoverse2/val build/argoverse2 --scenes 0:10 --key-frames"
FOLDER = "a log, or a folder of logs such as val"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what only Argoverse 2 has."""
    parser.add_argument(
        "--key-frames", action="store_true", help="only the images nearest to the sweeps, not all at 20 Hz"
    )
    parser.add_argument("--stereo", action="store_true", help="take the stereo pair as well")


def open_scenes(options: argparse.Namespace, frames: slice | None) -> Scenes:
    """The logs that the options ask for."""
    from semlt3d_ros.datasets.argoverse2_folder import log_folders

    folders = log_folders(options.folder, options.scenes)

    from semlt3d_ros.datasets.argoverse2 import open_argoverse2

    return {
        name: partial(open_argoverse2, folder, frames, key_frames=options.key_frames, stereo=options.stereo)
        for name, folder in folders.items()
    }

"""``semlt3d import pandaset``."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semlt3d_ros.datasets.importing import Scenes

HELP = "PandaSet's sequences as bags"
EXAMPLE = "semlt3d import pandaset ../shared/data/pandaset/002 build/panda.mcap --frames 0:10"
FOLDER = "folder of one sequence, with camera/ and lidar/, or of many"


def add_options(parser: argparse.ArgumentParser) -> None:
    """None but those of all data sets: every frame is annotated."""


def open_scenes(options: argparse.Namespace, frames: slice | None) -> Scenes:
    """The sequences that the options ask for."""
    from semlt3d_ros.datasets.pandaset_folder import sequence_folders

    folders = sequence_folders(options.folder, options.scenes)

    from semlt3d_ros.datasets.pandaset import open_pandaset

    return {name: partial(open_pandaset, folder, frames) for name, folder in folders.items()}

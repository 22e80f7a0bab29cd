"""``semlt3d import``: recordings of data sets as bags. Each data set's own options are in ``import_NAME.py``."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from semlt3d_ros.commands.output import faults_json, for_people, print_faults, print_json, progress_bar
from semlt3d_ros.commands.places import bags_to_write, to_read
from semlt3d_ros.core.errors import ConfigurationError

if TYPE_CHECKING:
    from semlt3d_ros.datasets.importing import Imported, Scenes

HELP = "turn recordings of a data set into bags"
EXAMPLE = "semlt3d import pandaset ../shared/data/pandaset/002 build/panda.mcap --frames 0:10"

DATA_SETS = ("nuscenes", "kitti", "argoverse2", "pandaset")
"""In the order of the help."""


class DataSetModule(Protocol):
    """What ``import_NAME.py`` has.

    Attributes:
        HELP, EXAMPLE: as of every command.
        FOLDER: which folder ``DIR`` is.
    """

    HELP: str
    EXAMPLE: str
    FOLDER: str

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare what only this data set has."""

    def open_scenes(self, options: argparse.Namespace, frames: slice | None) -> Scenes:
        """The recordings that ``options`` ask for; says at once what is wrong with the folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the data sets, and their options."""
    data_sets = parser.add_subparsers(metavar="DATASET", required=True, dest="data_set")
    for name in DATA_SETS:
        module: DataSetModule = import_module(f"semlt3d_ros.commands.import_{name}")  # type: ignore[assignment]
        command = data_sets.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("folder", type=to_read, metavar="DIR", help=module.FOLDER)
        command.add_argument(
            "out",
            type=bags_to_write,
            metavar="OUT",
            help="the bag (.mcap) of a single recording, or a folder that gets one for each",
        )
        command.add_argument(
            "--scenes", metavar="NAMES", help="only these: names or patterns, or places A:B in the list; with commas"
        )
        command.add_argument("--frames", metavar="A:B", help="only frames A to B - 1 of each, as in a Python slice")
        module.add_options(command)
        command.add_argument("--overwrite", action="store_true", help="make bags anew that are there already")
        command.add_argument("--json", action="store_true", help="print a summary as JSON")
        command.set_defaults(parser=command, open_scenes=module.open_scenes)


def run(options: argparse.Namespace) -> int:
    """Import what is asked for and say what was written."""
    scenes = options.open_scenes(options, parse_frames(options.frames))

    from semlt3d_ros.datasets.importing import import_scenes

    with progress_bar("importing", for_people(options)) as progress:
        imported = import_scenes(scenes, options.out, overwrite=options.overwrite, progress=progress)
    if options.json:
        print_json({**imported.to_json(), **faults_json(imported.faults)})
    else:
        _print(imported)
    return 0


def _print(imported: Imported) -> None:
    for bag in imported.bags:
        what = f"{bag['frames']} frames with {bag['images']} images and {bag['sweeps']} sweeps in {bag['bag']}"
        boxes = ", ".join(f"{count} {label}" for label, count in bag["boxes"].items())
        print(f"{what}; boxes: {boxes or 'none'}" if bag["labelled"] else f"{what}, without ground truth")
        if bag["boxes_unknown"]:
            labels = ", ".join(f"{count} {label}" for label, count in bag["boxes_unknown"].items())
            print(f"labels that the data set's list does not have, written as 'other': {labels}")
    for path in imported.skipped:
        print(f"{path} is there already and was left as it is; --overwrite makes it anew")
    print_faults(imported.faults)


def parse_frames(text: str | None) -> slice | None:
    """The frames ``A:B`` as a slice, either end of which may be left out; None for all.

    Raises:
        ConfigurationError: not two whole numbers with a colon between.
    """
    if text is None:
        return None
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return slice(int(first) if first else None, int(last) if last else None)
    except ValueError:
        raise ConfigurationError(f"--frames {text}: expected A:B with whole numbers, for example 0:10") from None

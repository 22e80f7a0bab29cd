"""``semlt3d import pandaset``: a recorded PandaSet drive as a rosbag2."""

from __future__ import annotations

import argparse

from semlt3d_ros.commands.output import faults_json, for_people, print_faults, print_json, progress_bar
from semlt3d_ros.commands.places import bag_to_write, to_read
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog

HELP = "turn a data set's recording into a bag"
EXAMPLE = "semlt3d import pandaset ../shared/data/pandaset/002 build/panda.mcap --frames 0:10"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("dataset", choices=("pandaset",), help="the data set's format")
    parser.add_argument("folder", type=to_read, metavar="DIR", help="folder of one sequence, with camera/ and lidar/")
    parser.add_argument("out", type=bag_to_write, metavar="OUT", help="bag to write (.mcap file)")
    parser.add_argument("--frames", metavar="A:B", help="only frames A to B - 1, as in a Python slice")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bag")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")


def run(options: argparse.Namespace) -> int:
    """Import the frames and say what was written."""
    from semlt3d_ros.datasets.pandaset_files import require_sequence

    frames, faults = parse_frames(options.frames), FaultLog()
    require_sequence(options.folder)

    from semlt3d_ros.datasets.pandaset import import_pandaset

    with progress_bar("importing", for_people(options)) as progress:
        summary = import_pandaset(
            options.folder, options.out, frames, overwrite=options.overwrite, progress=progress, faults=faults
        )
    if options.json:
        print_json({**summary, **faults_json(faults)})
    else:
        boxes = ", ".join(f"{count} {name}" for name, count in summary["boxes"].items())
        print(
            f"{summary['frames']} frames with {summary['images']} images in {summary['bag']}; boxes: {boxes or 'none'}"
        )
        if summary["boxes_dropped"]:
            labels = ", ".join(f"{count} {label}" for label, count in summary["boxes_dropped"].items())
            print(f"left out, since no class fits: {labels}")
        print_faults(faults)
    return 0


def parse_frames(text: str | None) -> slice:
    """The frames ``A:B`` as a slice; either end may be left out.

    Raises:
        ConfigurationError: not two whole numbers with a colon between.
    """
    if text is None:
        return slice(None)
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return slice(int(first) if first else None, int(last) if last else None)
    except ValueError:
        raise ConfigurationError(f"--frames {text}: expected A:B with whole numbers, for example 0:10") from None

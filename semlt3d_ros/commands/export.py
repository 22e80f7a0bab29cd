"""``semlt3d export``: a published model as ONNX."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from semlt3d_ros.commands.output import for_people, print_json, progress_bar
from semlt3d_ros.commands.places import folder_to_write, to_read
from semlt3d_ros.core.errors import ConfigurationError

HELP = "write a StreamPETR's checkpoint as ONNX, checked against torch"
EXAMPLE = "semlt3d export build/streampetr.safetensors -o build/streampetr.onnx"
_CAMERAS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("checkpoint", type=to_read, metavar="CHECKPOINT", help="made by 'semlt3d import-weights'")
    parser.add_argument(
        "-o",
        "--out",
        type=folder_to_write,
        required=True,
        metavar="DIR",
        help="folder for the files; beside the checkpoint, named as it is with .onnx, device onnxruntime finds it",
    )
    parser.add_argument(
        "--cameras", type=int, default=_CAMERAS, metavar="N", help=f"images a frame (default: {_CAMERAS})"
    )
    parser.add_argument("--json", action="store_true", help="print the differences to torch as JSON")


def run(options: argparse.Namespace) -> int:
    """Export, check, and print the largest difference of each output."""
    from semlt3d_ros.checkpoints.shipped import chosen_checkpoint

    if options.cameras < 1:
        raise ConfigurationError(f"--cameras {options.cameras}: there must be at least one")
    path = chosen_checkpoint(options.checkpoint)

    from semlt3d_ros.checkpoints.file import family_of
    from semlt3d_ros.checkpoints.published import read_published

    if not family_of(path):
        raise ConfigurationError(
            f"checkpoint '{path}' is a student of this package; only imported StreamPETRs can be exported so far"
        )
    checkpoint = read_published(path)

    from semlt3d_ros.export.onnx import TOLERANCE, export_published

    with progress_bar("exporting", for_people(options)) as progress:
        differences = export_published(checkpoint, options.out, options.cameras, progress)
    if options.json:
        print_json({"folder": options.out, "cameras": options.cameras, "differences": [asdict(d) for d in differences]})
        return 0
    print(f"{checkpoint.version} in {options.out}, for {options.cameras} cameras")
    largest: dict[str, float] = {}
    for each in differences:
        largest[each.part] = max(largest.get(each.part, 0.0), each.difference)
    for part, difference in largest.items():
        print(f"  {part}.onnx: differs from torch by {difference:.1g} at most (limit {TOLERANCE:g})")
    return 0

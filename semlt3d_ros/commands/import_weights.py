"""``semlt3d import-weights``: published weights as a checkpoint of this package."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.output import print_json
from semlt3d_ros.commands.places import file_to_write, name_or_file, to_read
from semlt3d_ros.core.errors import ConfigurationError

if TYPE_CHECKING:
    from semlt3d_ros.checkpoints.import_weights import Choices, Imported, ImportedTeacher

HELP = "turn published weights (StreamPETR, Far3D, CenterPoint on pillars) into a checkpoint"
EXAMPLE = "semlt3d import-weights stream_petr_r50_flash_704_bs2_seq_428q_nui_60e.pth -o build/streampetr.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("file", type=to_read, metavar="FILE", help="the .pth file as its authors publish it")
    parser.add_argument(
        "-o", "--out", type=file_to_write, required=True, metavar="OUT", help="checkpoint to write (.safetensors)"
    )
    said = parser.add_argument_group("what the file does not say (default: as published with the model)")
    said.add_argument("--image-size", metavar="WxH", help="pixels of the images it was trained on, such as 704x256")
    said.add_argument(
        "--model-frame",
        nargs=6,
        type=float,
        metavar=("X", "Y", "Z", "ROLL", "PITCH", "YAW"),
        help="frame of its boxes in base_link: metres and degrees; where the LiDAR would be on this vehicle",
    )
    said.add_argument(
        "--classes",
        type=name_or_file,
        metavar="LIST",
        help="class list in the order of its outputs: a file, or the name of one that comes with the package",
    )
    said.add_argument("--channels", choices=("rgb", "bgr"), help="order of the image channels it was trained on")
    said.add_argument(
        "--memory-interval",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="image sets that follow sooner are looked at, but not remembered: 0.45 where a model of 2 Hz shall run at "
        "more (default: all are remembered)",
    )
    said.add_argument("--name", help="first half of the model's version (default: the published model's)")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(options: argparse.Namespace) -> int:
    """Convert the file, write the checkpoint, and say what it is."""
    if not options.file.is_file():
        raise ConfigurationError(f"'{options.file}' is not a file; docs/weights.md says what to download")
    choices = read_choices(options)

    from semlt3d_ros.checkpoints.import_weights import ImportedTeacher, import_weights
    from semlt3d_ros.checkpoints.published import save_published
    from semlt3d_ros.checkpoints.teacher import save_teacher
    from semlt3d_ros.inference.checksum import output_checksum, weights_checksum

    imported = import_weights(options.file, choices)
    name = options.name or imported.name
    network = imported.teacher if isinstance(imported, ImportedTeacher) else imported.model
    checksum, outputs = weights_checksum(network), output_checksum(network)
    provenance = {"imported_from": options.file.name, "model": imported.name, "weights": checksum, "outputs": outputs}
    if isinstance(imported, ImportedTeacher):
        save_teacher(options.out, imported.teacher, name, provenance, imported.classes)
    else:
        save_published(options.out, imported.model, imported.classes, name, provenance)
    facts = {
        "checkpoint": options.out,
        "name": name,
        "found": imported.found,
        "assumed": imported.assumed,
        "tensors_used": imported.used,
        "tensors_dropped": imported.dropped,
        "weights_checksum": checksum,
        "outputs": outputs,
    }
    if options.json:
        print_json(facts)
    else:
        _print(options.out, name, imported, facts)
    return 0


def read_choices(options: argparse.Namespace) -> Choices:
    """What the options say about the weights.

    Raises:
        ConfigurationError: the size is none, or there is no such class list.
    """
    size = None
    if options.image_size:
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", options.image_size)
        if match is None:
            raise ConfigurationError(f"--image-size {options.image_size}: expected WIDTHxHEIGHT, such as 704x256")
        size = int(match[1]), int(match[2])
        if size[0] % 32 or size[1] % 32:
            raise ConfigurationError(f"--image-size {options.image_size}: both must be multiples of 32")

    from semlt3d_ros.core.classes import load_class_list

    classes = load_class_list(options.classes) if options.classes else None

    from semlt3d_ros.checkpoints.import_weights import Choices

    frame = tuple(options.model_frame) if options.model_frame else None
    return Choices(size, frame, classes, options.channels, options.memory_interval)


def _print(out: Path, name: str, imported: Imported | ImportedTeacher, facts: dict[str, Any]) -> None:
    print(f"{name}, in {out}")
    for title, entries in (("found in the file", imported.found), ("not said in the file, taken as", imported.assumed)):
        print(f"{title}:")
        for what, value in entries.items():
            print(f"  {what}: {value}")
    dropped = ", ".join(f"{count} of {what}" for what, count in imported.dropped.items())
    print(f"tensors: {imported.used} used; dropped: {dropped or 'none'}")
    print(f"checksum of the weights: {facts['weights_checksum']}")
    print("outputs on the fixed batch:")
    for what, value in facts["outputs"].items():
        print(f"  {what}: {value:.6g}")

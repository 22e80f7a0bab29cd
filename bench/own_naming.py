"""Whether a student's embedding in its language space names what it has found better than its classifier does.

    python -m bench.own_naming [--checkpoint STUDENT.safetensors] [--json]

A second opinion of a CLIP costs a crop and an image encoder. A student with language says an embedding of each query
anyway, in the space of the names: if that knew what the CLIP knows, the opinion would be free. Here the classifier's
logits are taken alone, mixed with the aligned ones (``language_share``), and in a geometric mean with the shares that
the cosines of embedding and names come to:

    logit + weight * (log softmax(scale * cosine) + 1)

on flat simulated drives that no recipe learns from. Average precision, and the same given a box; the gains over the
classifier alone with the 95 % interval of a paired bootstrap over drives.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.checkpoints.checkpoint import Checkpoint, read_checkpoint
from semlt3d_ros.checkpoints.shipped import chosen_checkpoint
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.evaluation import EvaluationSettings, protocol_of
from semlt3d_ros.evaluation.bootstrap import Answer
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.postprocess import postprocess
from semlt3d_ros.simulation.generation import GenerationRecipe
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.paired import Gain, Kept, drawn_figures, gains

SHARES, SCALES, WEIGHTS = (0.5, 1.0), (8.0, 16.0), (0.25, 0.5)
RANGE_M, MIN_VISIBLE_PIXELS = 40.0, 6

Way = Callable[[LayerOutput], Tensor]
"""From what a decoder layer says to class logits (B, Q, C)."""


def ways(anchors: Tensor) -> dict[str, Way]:
    """How a class may be told, by name; the first is the classifier alone."""

    def mixed(share: float) -> Way:
        return lambda layer: torch.lerp(layer.logits, _of(layer.aligned), share)

    def fused(scale: float, weight: float) -> Way:
        def way(layer: LayerOutput) -> Tensor:
            cosines = F.normalize(_of(layer.projected), dim=-1) @ anchors.T
            return layer.logits + weight * ((scale * cosines).log_softmax(-1) + 1.0)

        return way

    return {
        "classifier": lambda layer: layer.logits,
        **{f"share {share:g} of aligned logits": mixed(share) for share in SHARES},
        **{f"cosines x {s:g}, weight {w:g}": fused(s, w) for s in SCALES for w in WEIGHTS},
    }


def _of(values: Tensor | None) -> Tensor:
    assert values is not None
    return values


def with_language(parser: argparse.ArgumentParser, path: Path) -> Checkpoint:
    """The checkpoint of a student with language; of another one the command is refused."""
    checkpoint = read_checkpoint(path)
    if not checkpoint.config.language_width:
        parser.error(f"'{path}' has no language: its language_width is 0")
    return checkpoint


def flat_options(parser: argparse.ArgumentParser) -> None:
    """Which flat drives, where their frames are kept, and how figures are told."""
    parser.add_argument("--drives", type=int, default=100, help="drives of three frames (default: %(default)s)")
    parser.add_argument("--first-seed", type=int, default=80001, help="of the drives (default: %(default)s)")
    parser.add_argument(
        "--data-folder", type=Path, default=Path("build/data"), help="for frames (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def flat_drives(drives: int, first_seed: int) -> DataSpec:
    """So many drives of three frames with a flat class mix, of seeds from ``first_seed``."""
    return DataSpec(
        simulate=GenerationRecipe(
            first_seed=first_seed, drives=drives, frames=3, interval_s=(0.1, 0.7), drives_per_shard=50,
            image_size=(224, 128), top_crop=0.25, objects=(16, 36), class_exponent=0.35, rig_jitter=0.5,
        )
    )  # fmt: skip


def looked(detector: Detector, test: DataSpec, folder: Path) -> list[tuple[int, int, LayerOutput, Labels]]:
    """Number of the drive, stamp, what the student says and what is there, of every frame."""
    config = detector._student.config
    found = []
    with open_frames([test], folder, config) as frames:
        for number, drive in enumerate(frames.drives()):
            detector.reset()
            for index in drive:
                frame = frames.frame(index)
                layer = detector.look(frame)
                assert frame.labels is not None
                found.append((number, frame.stamp, layer, frame.labels))
    return found


def main() -> None:
    """Print average precision by each way."""
    parser = argparse.ArgumentParser(prog="python -m bench.own_naming", description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, help="default: the one that comes with the package")
    flat_options(parser)
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = chosen_checkpoint(given.checkpoint)
    checkpoint = with_language(parser, path)
    student = checkpoint.student()
    detector = Detector(student, path.stem)
    found = looked(detector, flat_drives(given.drives, given.first_seed), given.data_folder)
    settings = EvaluationSettings(
        protocol_of(detector.classes), range_limit_m=RANGE_M, min_visible_pixels=MIN_VISIBLE_PIXELS
    )
    drives = 1 + max(number for number, *_ in found)
    result: dict[str, dict[str, Gain]] = {}
    reference = None
    for name, way in ways(student.decoder.language_anchors).items():
        answers: list[Answer] = []
        for number, stamp, layer, labels in found:
            told = replace(layer, logits=way(layer), aligned=None)
            answers.append((number, postprocess(told, [stamp], student.config)[0], labels))
        figures = drawn_figures([Kept.of(answers, drives, settings)], settings.protocol)
        reference = figures if reference is None else reference
        result[name] = gains(reference, figures, drives)
    if given.json:
        print(json.dumps({name: {key: vars(gain) for key, gain in each.items()} for name, each in result.items()}))
    else:
        show(result)


def show(result: dict[str, dict[str, Gain]]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    columns = list(next(iter(result.values())))
    table = Table("", *columns)
    for name, told in result.items():
        table.add_row(name, *(_cell(told[column]) for column in columns))
    Console().print(table)


def _cell(gain: Gain) -> str:
    low, high = gain.interval or (0.0, 0.0)
    values: list[Any] = [100 * each for each in (gain.values[0], gain.gain, low, high)]
    return "{:.1f} ({:+.1f}, {:+.1f} to {:+.1f})".format(*values)


if __name__ == "__main__":
    main()

"""How well a checkpoint detects on simulated drives it never saw: ``python -m bench.accuracy [--json]``.

The drives have the demo's images (448x256) and pass through the node's own image preparation. Two class mixes: the
long-tailed one of real streets and a flatter one, which holds enough of the rare classes to measure them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame, Labels

if TYPE_CHECKING:
    from semlt3d_ros.evaluation import EvaluationSettings
    from semlt3d_ros.inference.detector import Detector
    from semlt3d_ros.sensing.preparation import ImagePreparation

FIRST_SEED = 3_000_000
"""Training recipes use seeds far below."""
MIXES = {"long-tailed": 1.0, "flatter": 0.35}
RANGE_M = 40.0
MIN_VISIBLE_PIXELS = 24
"""Of 448x256 images: as much as the 6 pixels of 224x128 images below which training ignores an object."""


def prepared(frame: Frame, preparation: ImagePreparation) -> Frame:
    """The frame with its images as the student takes them."""
    views = []
    for view in frame.views:
        image, camera = preparation(view.image, view.camera)
        views.append(replace(view, image=image, camera=camera))
    return replace(frame, views=tuple(views))


def pairs(detector: Detector, drives: int, frames: int, exponent: float) -> Iterator[tuple[Detections, Labels]]:
    """Detections and truth of every frame of the drives."""
    from semlt3d_ros.sensing.preparation import ImagePreparation
    from semlt3d_ros.simulation.drive import Drive, DriveConfig

    preparation = ImagePreparation(detector.image_spec)
    for seed in range(FIRST_SEED, FIRST_SEED + drives):
        drive = Drive(DriveConfig(seed, frames=frames, interval_s=2.0, class_exponent=exponent))
        detector.reset()
        for index in range(frames):
            frame = drive.frame(index)
            assert frame.labels is not None
            yield detector.detect(prepared(frame, preparation)), frame.labels
        print(".", end="", file=sys.stderr, flush=True)


def options(name: str, description: str | None, drives: int, frames: int) -> argparse.Namespace:
    """The options of a benchmark of a checkpoint on drives, with the default numbers of drives and frames."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=description)
    parser.add_argument("--checkpoint", type=Path, help="default: the one that comes with the package")
    parser.add_argument("--drives", type=int, default=drives, help="drives of each kind (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=frames, help="frames per drive (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser.parse_args()


def load(checkpoint: Path | None) -> tuple[Detector, EvaluationSettings]:
    """The detector of a checkpoint, the package's own for None, and what of its detections counts."""
    from semlt3d_ros.checkpoints.shipped import default_checkpoint
    from semlt3d_ros.evaluation import EvaluationSettings
    from semlt3d_ros.inference.detector import Detector

    settings = EvaluationSettings(range_limit_m=RANGE_M, min_visible_pixels=MIN_VISIBLE_PIXELS)
    return Detector.load(checkpoint or default_checkpoint()), settings


def main() -> None:
    """Detect on unseen simulated drives and print average precision, by class group and class, for both mixes."""
    given = options("accuracy", main.__doc__, drives=60, frames=3)

    from rich.console import Console

    from semlt3d_ros.evaluation import evaluate
    from semlt3d_ros.evaluation.table import report_table

    detector, settings = load(given.checkpoint)
    reports = {
        mix: evaluate(pairs(detector, given.drives, given.frames, exponent), settings)
        for mix, exponent in MIXES.items()
    }
    print(file=sys.stderr)
    if given.json:
        figures = {mix: report.to_json() for mix, report in reports.items()}
        print(json.dumps({"model": detector.model_version, **figures}, indent=1))
        return
    for mix, report in reports.items():
        Console().print(report_table(report, f"{detector.model_version}, {mix} mix, within {RANGE_M:g} m"))


if __name__ == "__main__":
    main()

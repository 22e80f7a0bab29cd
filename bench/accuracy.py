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

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame, Labels

FIRST_SEED = 3_000_000
"""Training recipes use seeds far below."""
MIXES = {"long-tailed": 1.0, "flatter": 0.35}
RANGE_M = 40.0
MIN_VISIBLE_PIXELS = 24
"""Of 448x256 images: as much as the 6 pixels of 224x128 images below which training ignores an object."""


def prepared(frame: Frame, preparation) -> Frame:  # type: ignore[no-untyped-def]
    """The frame with its images as the student takes them."""
    views = []
    for view in frame.views:
        image, camera = preparation(view.image, view.camera)
        views.append(replace(view, image=image, camera=camera))
    return replace(frame, views=tuple(views))


def pairs(detector, drives: int, frames: int, exponent: float) -> Iterator[tuple[Detections, Labels]]:  # type: ignore[no-untyped-def]
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


def main() -> None:
    """Detect on unseen simulated drives and print average precision, by class group and class, for both mixes."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, help="default: the one that comes with the package")
    parser.add_argument("--drives", type=int, default=60, help="drives per mix")
    parser.add_argument("--frames", type=int, default=3, help="frames per drive")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()

    from rich.console import Console

    from semlt3d_ros.evaluation import EvaluationSettings, evaluate
    from semlt3d_ros.student.detector import Detector, default_checkpoint

    detector = Detector.load(given.checkpoint or default_checkpoint())
    settings = EvaluationSettings(range_limit_m=RANGE_M, min_visible_pixels=MIN_VISIBLE_PIXELS)
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
        Console().print(report.to_table(f"{detector.model_version}, {mix} mix, within {RANGE_M:g} m"))


if __name__ == "__main__":
    main()

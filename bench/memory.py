"""What memory is worth, at which frame interval: ``python -m bench.memory [--json]``.

The same unseen simulated drives are seen at fixed intervals from 0.1 to 0.7 s, at irregular ones, and with frames
missing. Each is detected twice: with the memory, and with the memory emptied before every frame. Both use the same
weights, so the difference is what was remembered.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from bench.accuracy import load, options, prepared

if TYPE_CHECKING:
    from semlt3d_ros.evaluation import EvaluationSettings
    from semlt3d_ros.inference.detector import Detector

FIRST_SEED = 3_200_000
INTERVALS: dict[str, float | tuple[float, float]] = {
    "0.1 s": 0.1,
    "0.3 s": 0.3,
    "0.5 s": 0.5,
    "0.7 s": 0.7,
    "0.1 to 0.7 s": (0.1, 0.7),
}


def compare(
    detector: Detector, settings: EvaluationSettings, drives: int, frames: int, interval: float | tuple[float, float]
) -> dict[str, Any]:
    """Figures with and without memory on the later frames of drives at one interval."""
    from semlt3d_ros.evaluation.evaluator import Evaluator
    from semlt3d_ros.sensing.preparation import ImagePreparation
    from semlt3d_ros.simulation.drive import Drive, DriveConfig

    preparation = ImagePreparation(detector.image_spec)
    evaluators = {"with memory": Evaluator(settings), "without": Evaluator(settings)}
    for seed in range(FIRST_SEED, FIRST_SEED + drives):
        drive = Drive(DriveConfig(seed, frames=frames, interval_s=interval, class_exponent=0.5))
        shown = [prepared(drive.frame(index), preparation) for index in range(frames)]
        for name, evaluator in evaluators.items():
            detector.reset()
            for index, frame in enumerate(shown):
                if name == "without":
                    detector.reset()
                detections = detector.detect(frame)
                # The first frames have nothing to remember; both ways see them alike.
                if index >= min(2, frames - 1) and frame.labels is not None:
                    evaluator.add(detections, frame.labels)
        print(".", end="", file=sys.stderr, flush=True)
    figures: dict[str, Any] = {}
    for name, evaluator in evaluators.items():
        report = evaluator.report()
        figures[name] = {"map": report.map, **report.groups, "errors": report.errors}
    return figures


def main() -> None:
    """Print mean average precision and errors with and without memory, by frame interval."""
    given = options("memory", main.__doc__, drives=25, frames=6)

    from rich.console import Console
    from rich.table import Table

    detector, settings = load(given.checkpoint)
    figures = {name: compare(detector, settings, given.drives, given.frames, gap) for name, gap in INTERVALS.items()}
    print(file=sys.stderr)
    if given.json:
        print(json.dumps({"model": detector.model_version, "intervals": figures}, indent=1))
        return
    table = Table("interval", "memory", "mAP", "many", "medium", "few", "ATE m", "AOE rad", "AVE m/s")
    for interval, ways in figures.items():
        for way, values in ways.items():
            cells = [values[name] for name in ("map", "many", "medium", "few")]
            cells += [values["errors"][name] for name in ("ate", "aoe", "ave")]
            table.add_row(interval, way, *("-" if cell is None else f"{cell:.3f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()

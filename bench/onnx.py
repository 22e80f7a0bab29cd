"""A published model in onnxruntime against torch on the CPU: ``python -m bench.onnx [CHECKPOINT] [--json]``.

Both get the same frames of six images in turns, in one process with the same number of threads. Without a checkpoint it
is StreamPETR R50 with 428 queries and weights made by rule, which is as fast as with the published ones. The export,
with its check against torch, is part of the run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

CAMERAS = 6


def measure(path: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds of the forward pass by way, and by how much boxes and confidences differ."""
    from semlt3d_ros.checkpoints.published import read_published
    from semlt3d_ros.core.frame import Frame
    from semlt3d_ros.export.onnx import export_published
    from semlt3d_ros.export.runtime import ExportedStreamPETR
    from semlt3d_ros.inference.published import PublishedDetector
    from semlt3d_ros.nodes.model_loader import blank_frame

    checkpoint = read_published(path)
    differences = export_published(checkpoint, folder, CAMERAS)
    ways = {
        "torch": PublishedDetector(checkpoint.model(), checkpoint.classes, checkpoint.version),
        "onnxruntime": PublishedDetector(
            ExportedStreamPETR(checkpoint, folder), checkpoint.classes, checkpoint.version
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    off = 0.0
    for index in range(rounds + 1):
        frame: Frame = blank_frame(ways["torch"].image_spec, CAMERAS, index * 500_000_000)
        for number, view in enumerate(frame.views):
            random = np.random.default_rng([index, number])
            view.image = random.integers(0, 256, view.image.shape, np.uint8)
        found = {}
        for name, detector in ways.items():
            found[name] = detector.detect(frame)
            if index:  # the first frame warms up
                times[name].append(detector.last_timings["forward"])
        scores = [np.sort(each.confidences[each.confidences > 0])[::-1][:50] for each in found.values()]
        off = max(off, float(np.abs(scores[0] - scores[1]).max()))
    return {
        "model": checkpoint.version,
        "largest_difference_in_the_export": max(each.difference for each in differences),
        "largest_difference_of_the_50_best_confidences": off,
        "forward_ms": {name: {"p50": statistics.median(each), "least": min(each)} for name, each in times.items()},
    }


def main() -> None:
    """Print the table."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m bench.onnx", description=main.__doc__)
    parser.add_argument("checkpoint", nargs="?", type=Path, help="made by 'semlt3d import-weights'")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.checkpoint or by_rule(Path(folder))
        result = {**measure(path, Path(folder) / "onnx", options.rounds), "threads": torch.get_num_threads()}
    if options.json:
        print(json.dumps(result, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("forward pass, 6 images", "p50 ms", "least ms", title=result["model"])
    for name, values in result["forward_ms"].items():
        table.add_row(name, f"{values['p50']:.0f}", f"{values['least']:.0f}")
    export, seen = (result[f"largest_difference_{what}"] for what in ("in_the_export", "of_the_50_best_confidences"))
    table.caption = f"{result['threads']} threads; differences: export {export:.1g}, confidences {seen:.1g}"
    Console().print(table)


def by_rule(folder: Path) -> Path:
    """StreamPETR R50 with 428 queries and weights made by rule."""
    from bench.parity.checkpoints import write_streampetr
    from semlt3d_ros.checkpoints.import_weights import Choices, import_weights
    from semlt3d_ros.checkpoints.published import save_published

    imported = import_weights(write_streampetr(folder / "weights.pth"), Choices())
    save_published(folder / "model.safetensors", imported.model, imported.classes, imported.name, {})
    return folder / "model.safetensors"


if __name__ == "__main__":
    main()

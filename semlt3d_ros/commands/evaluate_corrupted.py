"""``semlt3d evaluate --corrupt``: a checkpoint on a drive as it is, and as corruptions would have it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.output import came_to_nothing, for_people, print_json, print_table, progress_bar, write_json
from semlt3d_ros.core.errors import ConfigurationError, InputRejected

if TYPE_CHECKING:
    from semlt3d_ros.commands.corrupt_messages import MessageCorruptor
    from semlt3d_ros.evaluation import Report
    from semlt3d_ros.evaluation.robustness import Robustness
    from semlt3d_ros.inference.frame_detector import FrameDetector

FIGURES, PICTURE, BAGS, MADE_OF = "robustness.json", "robustness.png", "detections", "made_of.json"
"""What is in the folder: figures, their picture, a bag for each corruption and severity, what those were made of."""
CLEAN = "clean"

Measure = Callable[[argparse.Namespace], "Report"]
"""Measures the detections that options name."""


def evaluate_corrupted(options: argparse.Namespace, measure: Measure) -> int:
    """Detect under every corruption whose detections are not there yet, and measure them all.

    Raises:
        ConfigurationError: options do not go together, or the folder holds what was made of something else.
    """
    from semlt3d_ros.checkpoints.shipped import chosen_checkpoint
    from semlt3d_ros.corruptions.benchmarks import corruptions_named
    from semlt3d_ros.evaluation.robustness import Robustness, figures_of
    from semlt3d_ros.evaluation.robustness_report import save_plot, table_of

    _check(options)
    chosen = corruptions_named(options.corrupt.split(","))
    baseline = None if options.baseline is None else _read_baseline(options.baseline)
    checkpoint = chosen_checkpoint(options.checkpoint)
    bags = [(CLEAN, 0), *((each.name, n + 1) for each in chosen for n in range(len(each.strengths)))]

    from semlt3d_ros.inference.opening import load_detector

    detector = load_detector(checkpoint, options.device)
    _require_same_origin(options.out, {"model": detector.model_version, "recording": _recording(options.truth)})
    found: dict[str, list[Any]] = {}
    with progress_bar("corrupting and detecting", for_people(options)) as progress:
        for number, (name, severity) in enumerate(bags):
            progress(number, len(bags))
            out = options.out / BAGS / (f"{name}_{severity}.mcap" if severity else f"{name}.mcap")
            if not out.exists():
                _detect(options, detector, name, severity, out)
            one = copy(options)
            one.detections = out
            found.setdefault(name, []).append(figures_of(measure(one)))
    robustness = Robustness(found.pop(CLEAN)[0], found)
    told = {"model": detector.model_version, "recording": options.truth.name, **robustness.to_json()}
    if baseline is not None:
        told["mean_error"] = robustness.mean_error(baseline)
    write_json(options.out / FIGURES, told)
    save_plot(robustness, options.out / PICTURE)
    if options.json:
        print_json(told)
    else:
        print_table(table_of(robustness, baseline, f"{detector.model_version} on {options.truth.name}"))
    return 0


def _check(options: argparse.Namespace) -> None:
    faults = []
    if options.detections is not None:
        faults.append(f"--corrupt detects anew, with a --checkpoint: leave out '{options.detections}'")
    if options.out is None:
        faults.append("--corrupt needs --out FOLDER, where detections and figures are kept")
    faults += [
        f"--{name} does not go with --corrupt" for name in ("results", "kitti") if getattr(options, name) is not None
    ]
    if faults:
        raise ConfigurationError("; ".join(faults))


def _read_baseline(path: Path) -> Robustness:
    from semlt3d_ros.evaluation.robustness import Robustness

    try:
        return Robustness.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"--baseline {path} is no {FIGURES} of semlt3d evaluate --corrupt ({type(error).__name__}: {error})"
        ) from error


def _recording(bag: Path) -> str:
    """A recording's name and span: as much as tells it from others."""
    from semlt3d_ros.bags.source import BagSource

    with BagSource(bag) as source:
        return f"{bag.name} ({source.start}-{source.end})"


def _require_same_origin(folder: Path, origin: dict[str, str]) -> None:
    """Detections that are there already are taken for those of this model on this recording: so they must be."""
    path = folder / MADE_OF
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if known is None:
        (folder / BAGS).mkdir(parents=True, exist_ok=True)
        write_json(path, origin)
    elif known != origin:
        made = " on ".join(known.values()) if isinstance(known, dict) else known
        raise ConfigurationError(f"--out {folder} holds detections of {made}; give another folder, or remove it")


def _detect(options: argparse.Namespace, detector: FrameDetector, name: str, severity: int, out: Path) -> None:
    """Write the detections of a drive; of the drive as it is with severity 0."""
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.commands.corrupt_messages import MessageCorruptor
    from semlt3d_ros.commands.detect import detect, rig_of
    from semlt3d_ros.corruptions.benchmarks import Corruptor, corruption_named
    from semlt3d_ros.sensing.frame_builder import FrameBuilder
    from semlt3d_ros.sensing.rig import load_rig

    with BagSource(options.truth) as source, BagSink(out, overwrite=True) as sink:
        rig = load_rig(options.rig) if options.rig else rig_of(source)
        change = None
        if severity:
            corruptor = Corruptor(corruption_named(name), severity, rig.camera_names)
            change = _unless_unreadable(MessageCorruptor(source, rig, corruptor))
        builder = FrameBuilder(rig, detector.image_spec)
        detector.reset()
        answers = detect(source, builder, detector, sink, lambda done, total: None, change)
        if not answers.processed:
            faults = [*source.faults, *builder.faults, *answers.faults]
            raise came_to_nothing(f"no set of images in {options.truth} was detected in", faults, "it holds no images")


def _unless_unreadable(change: MessageCorruptor) -> Callable[[str, str, Any], Any]:
    def changed(topic: str, type_name: str, message: Any) -> Any:
        with suppress(InputRejected):  # who detects is told, by the same error
            return change(topic, type_name, message)
        return message

    return changed

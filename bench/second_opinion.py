"""What a second opinion is worth, and what it costs: the same detections with and without it, in one run.

Flat simulated drives (the rare classes drawn far more often than on real streets) of three ranges of seeds that nothing
was trained or fitted on, in the demo's images (448x256) and through the node's own preparation. Differences have the
95 % interval of a paired bootstrap over drives. Latency is that of a set in the detector, with and without the opinion,
in turns on one thread.

    python -m bench.second_opinion [--settings tiny] [--drives 100] [--seeds 80001 81001 82001] [--json]
    python -m bench.second_opinion --bag FILE       # a recording with ground truth instead
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from semlt3d_ros.core.classes import frequency_groups
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame, Labels

SEEDS = (80_001, 81_001, 82_001)
RANGE_M = 40.0
MIN_VISIBLE_PIXELS = 24
REPLICATES = 300
_FRAMES = 3


@dataclass
class Judged:
    """Predictions of all drives: drive, class, score (P,) and whether each is right at each distance (P, T)."""

    drives: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    truth: NDArray[np.int64]
    """(drives, classes) true boxes."""


def drives_of(first_seed: int, count: int, image_spec: Any) -> Iterator[list[Frame]]:
    """Flat drives as the detector takes them, with their whole images."""
    from semlt3d_ros.sensing.preparation import ImagePreparation
    from semlt3d_ros.simulation.drive import Drive, DriveConfig

    preparation = ImagePreparation(image_spec)
    for seed in range(first_seed, first_seed + count):
        drive = Drive(
            DriveConfig(
                seed,
                frames=_FRAMES,
                interval_s=(0.1, 0.7),
                objects=(16, 36),
                class_exponent=0.35,
                rig_jitter=0.5,
                lidar=None,
            )
        )
        yield [preparation.prepared(drive.frame(index)) for index in range(_FRAMES)]


def recorded(bag: Path, detector: Any) -> list[Frame]:
    """The frames of a bag with ground truth in the detector's classes, with their whole images."""
    from semlt3d_ros.bags.message import decoded
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.commands.detect import rig_of
    from semlt3d_ros.core.faults import FaultLog
    from semlt3d_ros.core.label_map import columns_for
    from semlt3d_ros.sensing.frame_builder import FrameBuilder

    frames: list[Frame] = []
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_of(source), detector.image_spec, with_labels=True, whole_width=detector.whole_width)
        for entry, message in decoded(source.messages(topics=list(builder.topics)), FaultLog()):
            frames += builder.add(entry.topic, entry.type_name, message)
        frames += builder.flush()
    found = []
    for frame in frames:
        if frame.labels is not None:
            columns = columns_for(frame.labels.class_names, detector.classes, None)
            found.append(replace(frame, labels=frame.labels.as_classes(columns, detector.classes.names)))
    return found


def judge_all(answers: list[list[tuple[Detections, Labels]]], settings: Any) -> Judged:
    """Match what was found in each drive's frames with what is there."""
    from semlt3d_ros.evaluation.outcomes import IGNORED, TRUE_POSITIVE, find_pairs, judge
    from semlt3d_ros.evaluation.selection import select_predictions, select_truth

    protocol, parts, truths = settings.protocol, [], []
    for number, drive in enumerate(answers):
        found, labels = zip(*drive, strict=True)
        nothing: list[tuple[str, ...]] = [()] * len(drive)
        table, predictions = select_predictions(found, nothing, settings)
        truth = select_truth(labels, nothing, settings)
        outcomes = judge(table, predictions, truth, find_pairs(table, predictions, truth, protocol), protocol)
        right = outcomes.codes == TRUE_POSITIVE
        parts.append((np.full(len(right), number), outcomes.class_ids, outcomes.scores, right, outcomes.codes))
        truths.append(np.bincount(truth.class_ids, minlength=len(protocol.classes)))
    drives, class_ids, scores, right, codes = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(-scores, kind="stable")
    return Judged(
        drives[order], class_ids[order], scores[order], right[order], codes[order] != IGNORED, np.stack(truths)
    )


def average_precisions(judged: Judged, times: NDArray[np.int64], protocol: Any) -> NDArray[np.float64]:
    """(classes,) AP with each drive taken ``times`` (drives,) over; NaN where there are no true boxes."""
    from semlt3d_ros.evaluation.curves import RECALLS, average_precision

    aps = np.full(len(protocol.classes), np.nan)
    truth = times @ judged.truth
    for index in np.flatnonzero(truth):
        rows = judged.class_ids == index
        weight = times[judged.drives[rows]]
        each = []
        for column in range(judged.right.shape[1]):
            right = (weight * judged.right[rows, column]).cumsum()
            total = (weight * judged.counted[rows, column]).cumsum()
            reached = right / truth[index]
            precision = np.zeros_like(RECALLS)
            if len(right) and right[-1]:
                precision = np.interp(RECALLS, reached, right / np.maximum(total, 1), right=0.0)
            each.append(average_precision(precision, protocol.min_recall, protocol.min_precision))
        aps[index] = np.mean(each)
    return aps


def groups_of(aps: NDArray[np.float64], protocol: Any) -> dict[str, float]:
    """Mean AP of all classes and of each frequency group."""
    groups = {name: aps[list(places)] for name, places in frequency_groups(protocol.classes).items()}
    return {
        "mAP": float(np.nanmean(aps)),
        **{name: float(np.nanmean(values)) for name, values in groups.items() if np.isfinite(values).any()},
    }


def compare(before: Judged, after: Judged, protocol: Any, replicates: int = REPLICATES) -> dict[str, Any]:
    """Both figures, and the difference with the 95 % interval of a paired bootstrap over drives."""
    count = len(before.truth)
    once = np.ones(count, np.int64)
    figures = [groups_of(average_precisions(each, once, protocol), protocol) for each in (before, after)]
    rng = np.random.default_rng(0)
    gains: dict[str, list[float]] = {name: [] for name in figures[0]}
    for _ in range(replicates):
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        one, two = (groups_of(average_precisions(each, times, protocol), protocol) for each in (before, after))
        for name, gained in gains.items():
            gained.append(two.get(name, np.nan) - one.get(name, np.nan))
    return {
        name: {
            "without": figures[0][name],
            "with": figures[1][name],
            "interval": np.nanpercentile(gains[name], (2.5, 97.5)).tolist(),
        }
        for name in gains
    }


def main() -> None:
    """Print average precision with and without a second opinion, and what it costs."""
    parser = argparse.ArgumentParser(prog="python -m bench.second_opinion", description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, help="default: the one that comes with the package")
    parser.add_argument("--settings", default="tiny", help="settings of the second opinion (default: %(default)s)")
    parser.add_argument("--crops", type=int, help="most crops of a set; default: as the settings have it")
    parser.add_argument("--drives", type=int, default=100, help="drives of each range (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="first seed of each range")
    parser.add_argument("--bag", type=Path, help="a recording with ground truth, instead of simulated drives")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()

    import torch

    from semlt3d_ros.checkpoints.shipped import chosen_checkpoint
    from semlt3d_ros.evaluation import EvaluationSettings, protocol_of
    from semlt3d_ros.inference.advised import advised
    from semlt3d_ros.inference.opening import load_detector

    torch.set_num_threads(1)
    detector = load_detector(chosen_checkpoint(given.checkpoint))
    both = advised(detector, given.settings)
    if given.crops:
        both.opinion.settings = replace(both.opinion.settings, crops=given.crops)
    pixels = 0 if given.bag else MIN_VISIBLE_PIXELS
    settings = EvaluationSettings(protocol_of(detector.classes), RANGE_M, min_visible_pixels=pixels)
    ways: dict[str, dict[str, Any]] = {}
    spent: list[tuple[float, float]] = []
    everything: tuple[list[Any], list[Any]] = ([], [])
    ranges: dict[str, Any] = {str(seed): drives_of(seed, given.drives, detector.image_spec) for seed in given.seeds}
    if given.bag:
        # The frames are what is drawn anew: there is one drive.
        ranges = {given.bag.name: [recorded(given.bag, both)]}
    for name, drives in ranges.items():
        plain, advice = [], []
        for frames in drives:
            detector.reset()
            answers: list[tuple[Detections, Detections, Labels]] = []
            for frame in frames:
                start = time.perf_counter()
                found = detector.detect(frame)
                middle = time.perf_counter()
                second = both.opinion(frame, found)
                spent.append((middle - start, time.perf_counter() - middle))
                assert frame.labels is not None
                answers.append((found, second, frame.labels))
            cut = [[each] for each in answers] if given.bag else [answers]
            plain += [[(found, labels) for found, _, labels in part] for part in cut]
            advice += [[(second, labels) for _, second, labels in part] for part in cut]
            print(".", end="", file=sys.stderr, flush=True)
        everything[0].extend(plain)
        everything[1].extend(advice)
        ways[name] = compare(judge_all(plain, settings), judge_all(advice, settings), settings.protocol)
    print(file=sys.stderr)
    if len(ranges) > 1:
        ways["together"] = compare(*(judge_all(each, settings) for each in everything), settings.protocol)
    own, opinion = (float(np.median([each[k] for each in spent])) for k in (0, 1))
    latency = {
        "detector_ms": own * 1e3,
        "opinion_ms": opinion * 1e3,
        "ratio": float(np.median([1 + added / alone for alone, added in spent])),
        "crops": both.opinion.asked / len(spent),
    }
    result = {"model": detector.model_version, "clip": both.opinion.identity, "latency": latency, "ap": ways}
    if given.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    table = Table("drives", "", "without", "with", "ratio", "gain", "95 %")
    for name, groups in result["ap"].items():
        for group, values in groups.items():
            before, after = values["without"], values["with"]
            low, high = values["interval"]
            table.add_row(
                name,
                group,
                f"{100 * before:.1f}",
                f"{100 * after:.1f}",
                f"{after / before:.2f}" if before else "-",
                f"{100 * (after - before):+.1f}",
                f"{100 * low:+.1f} .. {100 * high:+.1f}",
                end_section=group == list(groups)[-1],
            )
    latency = result["latency"]
    console = Console()
    console.print(table)
    console.print(
        f"{result['model']} and {result['clip']}: {latency['detector_ms']:.1f} ms a set, with a second opinion on "
        f"{latency['crops']:.1f} boxes {latency['opinion_ms']:.1f} ms more: {latency['ratio']:.2f} times"
    )


if __name__ == "__main__":
    main()

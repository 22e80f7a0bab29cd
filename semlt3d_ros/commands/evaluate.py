"""``semlt3d evaluate``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from semlt3d_ros.commands.evaluate_corrupted import FIGURES, MADE_OF, PICTURE, evaluate_corrupted
from semlt3d_ros.commands.evaluate_kitti import write_kitti
from semlt3d_ros.commands.evaluate_sources import (
    detections_of,
    ego_poses,
    is_folder_of_data_set,
    open_pairs,
    unlabelled_samples,
)
from semlt3d_ros.commands.output import came_to_nothing, faults_json, print_faults, print_json, print_table
from semlt3d_ros.commands.places import (
    file_to_write,
    folder_to_write,
    name_or_file,
    outputs_of,
    refuse_losses_of,
    to_read,
)
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.core.places import Output

if TYPE_CHECKING:
    from semlt3d_ros.core.classes import ClassList
    from semlt3d_ros.core.detections import Detections
    from semlt3d_ros.core.label_map import LabelMap
    from semlt3d_ros.evaluation import EvaluationSettings, Report
    from semlt3d_ros.evaluation.bags import BagPairs
    from semlt3d_ros.evaluation.evaluator import Pair
    from semlt3d_ros.evaluation.results_pairs import ResultsPairs

    Pairs = BagPairs | ResultsPairs

HELP = "measure detections against ground truth: of bags, results files and data sets"
EXAMPLE = "semlt3d evaluate build/detections.mcap --truth build/drive.mcap --out build/evaluation"

BASE_FRAME = "base_link"
REPORT = "report.json"
"""The figures, in the folder of an evaluation."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "detections",
        type=to_read,
        nargs="?",
        metavar="DETECTIONS",
        help="bag with the detector's output, a nuScenes results file (.json), or a folder in KITTI's format",
    )
    parser.add_argument(
        "--truth",
        type=to_read,
        required=True,
        metavar="BAG",
        help="bag with the ground truth; or, for a results file, the data set's own folder",
    )
    parser.add_argument("--version", metavar="NAME", help="of a data set's folder: which tables, as v1.0-trainval")
    parser.add_argument(
        "--scenes",
        metavar="NAMES",
        help="of a data set's folder: only these, named as for import (default: those of which there are results)",
    )
    parser.add_argument("--split", metavar="NAME", help="of a data set's folder: the scenes of a split, such as val")
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="a benchmark to the letter, to which what it has no class for is nothing: lt3d (18 classes, no floors) or "
        "nuscenes (10 classes, recall and precision from 0.1); default: LT3D's rules on the classes, the rest ignored",
    )
    parser.add_argument(
        "--classes",
        type=name_or_file,
        metavar="FILE",
        help="the classes to evaluate: a class list, or the name of one that comes with the package (default: the "
        "detections' own)",
    )
    parser.add_argument(
        "--label-map",
        type=name_or_file,
        metavar="FILE",
        help="what the ground truth's labels are called among these classes: a file, or the name of one that comes "
        "with the package (default: the one there that fits)",
    )
    parser.add_argument(
        "--range", type=float, metavar="METRES", help="leave out what is farther (default: the classes' own ranges)"
    )
    parser.add_argument(
        "--min-pixels", type=int, default=0, metavar="N", help="leave out truth with fewer visible pixels"
    )
    parser.add_argument(
        "--absent-as-zero",
        action="store_true",
        help="count classes without truth as 0, as the nuScenes development kit does, instead of leaving them out",
    )
    parser.add_argument(
        "--out",
        type=folder_to_write,
        metavar="FOLDER",
        help="write report.json and pictures of the curves, confusions, calibration",
    )
    parser.add_argument(
        "--results",
        type=file_to_write,
        metavar="FILE",
        help="write the detections as a nuScenes results file (global frame)",
    )
    parser.add_argument(
        "--kitti",
        type=folder_to_write,
        metavar="FOLDER",
        help="write the detections in KITTI's format, a text file for each frame",
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    corrupted = parser.add_argument_group(
        "robustness", "a checkpoint on the images of --truth as they are and corrupted, in place of DETECTIONS"
    )
    corrupted.add_argument(
        "--corrupt",
        metavar="NAMES",
        help="all, robobev, dong, or corruptions by name, with commas between (docs/robustness.md): mRR; what is there "
        "in --out is not done again",
    )
    corrupted.add_argument(
        "--checkpoint", type=to_read, metavar="FILE", help="default: the one that comes with the package"
    )
    corrupted.add_argument("--device", default="cpu", help="cpu (the default: repeatable), cuda, or onnxruntime")
    corrupted.add_argument("--rig", type=to_read, metavar="FILE", help="rig file (default: found from the topic names)")
    corrupted.add_argument(
        "--baseline", type=to_read, metavar="FILE", help="robustness.json of another model on the same drive: mCE"
    )


def run(options: argparse.Namespace) -> int:
    """Print the figures of all classes and groups, and what they lack; write what is asked for."""
    from semlt3d_ros.evaluation.table import report_table

    _refuse_losses(options)
    settings, classes, label_map = _asked_for(options)
    if options.corrupt is not None:
        return evaluate_corrupted(options, lambda one: _measured(one, settings, classes, label_map).report)
    _refuse_what_only_corruptions_need(options)
    if options.results is not None and options.truth.exists() and not is_folder_of_data_set(options.truth):
        samples = unlabelled_samples(options.truth)
        if samples:
            return _write_results_alone(options, samples, settings, classes)
    measured = _measured(options, settings, classes, label_map)
    pairs, detections, outcome = measured.pairs, measured.detections, measured.outcome
    if options.results is not None:
        outcome["results"] = _write_results(options, pairs, detections, measured.report.settings)
    if options.kitti is not None:
        outcome["kitti"] = {"frames": _write_kitti(options, pairs, detections, measured.report.settings)}
    if options.out is not None:
        _write(measured.report, options.out, outcome)
    if options.json:
        print_json({**measured.report.to_json(), **outcome})
    else:
        print_table(report_table(measured.report))
        _print_outcome(pairs, outcome)
    return 0


def _asked_for(options: argparse.Namespace) -> tuple[EvaluationSettings, ClassList | None, LabelMap | None]:
    """How to measure, and what is known of the classes so far."""
    from semlt3d_ros.core.label_map import load_label_map
    from semlt3d_ros.evaluation import LT3D, EvaluationSettings, protocol_named

    benchmark = protocol_named(options.protocol) if options.protocol is not None else None
    label_map = load_label_map(options.label_map) if options.label_map is not None else None
    if benchmark and options.classes is not None:
        raise ConfigurationError(f"the protocol '{benchmark.name}' has its own classes; leave out --classes")
    classes = benchmark.known if benchmark else _classes(options)
    settings = EvaluationSettings(
        benchmark or LT3D,
        range_limit_m=options.range,
        min_visible_pixels=options.min_pixels,
        absent_classes="zero" if options.absent_as_zero else "left_out",
        of_no_class="nothing" if benchmark else "ignored",
    )
    return settings, classes, label_map


def _refuse_what_only_corruptions_need(options: argparse.Namespace) -> None:
    if options.detections is None:
        raise ConfigurationError("no DETECTIONS: name a bag or a results file, or --corrupt NAMES to detect anew")
    given = [name for name in ("checkpoint", "rig", "baseline") if getattr(options, name) is not None]
    if given:
        raise ConfigurationError(f"--{given[0]} goes with --corrupt; '{options.detections}' holds detections already")


@dataclass
class _Measured:
    """An evaluation: its figures, what they are of, and what else is told."""

    report: Report
    pairs: Pairs
    detections: list[Detections]
    outcome: dict[str, Any]


def _measured(
    options: argparse.Namespace, settings: EvaluationSettings, classes: ClassList | None, label_map: LabelMap | None
) -> _Measured:
    from semlt3d_ros.evaluation import evaluate, protocol_of
    from semlt3d_ros.evaluation.complete import LeftOut, where_labelled

    pairs = open_pairs(options, classes, label_map)
    frames: list[Pair] = list(pairs)
    if options.protocol is None:
        settings = replace(settings, protocol=protocol_of(pairs.classes, label_map))
    outcome = {
        "pairs": pairs.to_json(),
        "of_no_class": dict(pairs.of_no_class.most_common()),
        **faults_json(pairs.faults, pairs.incomplete),
    }
    if not pairs.answered:
        what = f"no detections in '{options.detections}' belong to ground truth"
        _fail(what, "neither of them holds a message", pairs, outcome, options)
    left_out = LeftOut()
    labelled = ((*pair[:2], pairs.region(pair[0].stamp), *pair[2:]) for pair in frames)
    report = evaluate(where_labelled(labelled, left_out), settings)
    outcome["outside_labelled_region"] = vars(left_out)
    _note_unknown(report, pairs, options)
    outcome |= faults_json(pairs.faults, pairs.incomplete)
    if not any(each.truth for each in report.classes):
        objects = sum(len(pair[1].boxes) for pair in frames)
        if objects and not any((pair[1].class_ids >= 0).any() for pair in frames):
            what = f"none of the {objects} objects is one of the classes ({', '.join(pairs.classes.names)})"
            _fail(what, "give a --label-map that leads to them", pairs, outcome, options)
        if objects:
            what = f"range, visible pixels and LiDAR points leave none of the {objects} objects"
            _fail(what, "give a wider --range, or less --min-pixels", pairs, outcome, options)
        _fail("there is no object", "the drive must be labelled", pairs, outcome, options)
    if not any(each.predictions for each in report.classes) and (pairs.rejected or report.unknown_classes):
        what = f"no detection in '{options.detections}' can be held against ground truth"
        _fail(what, "all are out of range", pairs, outcome, options)
    return _Measured(report, pairs, [pair[0] for pair in frames], outcome)


def _classes(options: argparse.Namespace) -> ClassList | None:
    from semlt3d_ros.core.classes import load_class_list

    return load_class_list(options.classes) if options.classes is not None else None


def _refuse_losses(options: argparse.Namespace) -> None:
    """The results file must not be one of the files in the folder either."""
    from semlt3d_ros.evaluation.plots import PICTURES

    if options.out is not None:
        names = (REPORT, *PICTURES) if options.corrupt is None else (FIGURES, PICTURE, MADE_OF)
        inside = [Output("--out", options.out / name) for name in names]
        refuse_losses_of(options, inside + [each for each in outputs_of(options) if each.kind == "file"])


def _fail(what: str, otherwise: str, pairs: Pairs, outcome: dict[str, Any], options: argparse.Namespace) -> NoReturn:
    """End without figures: figures of nothing would be taken for those of a bad detector."""
    if options.json:
        print_json({"frames": pairs.answered + pairs.unanswered, **outcome})
    else:
        _print_outcome(pairs, outcome)
    raise came_to_nothing(
        f"nothing to evaluate: {what} in '{options.truth}'",
        [*pairs.incomplete, *pairs.faults],
        otherwise,
    )


def _note_unknown(report: Report, pairs: Pairs, options: argparse.Namespace) -> None:
    if report.unknown_classes:
        names = ", ".join(report.unknown_classes[:10]) + (", ..." if len(report.unknown_classes) > 10 else "")
        remedy = (
            "leave out --protocol and give --classes and a --label-map that knows them"
            if options.protocol is not None
            else "give --classes, or a --label-map that knows them"
        )
        text = f"detections of the classes {names} do not count: the protocol does not have these names; {remedy}"
        pairs.faults.add(str(options.detections), "unknown_classes", text, len(report.unknown_classes))


def _write_results_alone(
    options: argparse.Namespace, samples: dict[int, str], settings: EvaluationSettings, classes: ClassList | None
) -> int:
    """Write the results of a test split, which has no ground truth to measure them with."""
    from semlt3d_ros.core.faults import FaultLog
    from semlt3d_ros.evaluation import protocol_of
    from semlt3d_ros.evaluation.bags import classes_of_detections
    from semlt3d_ros.evaluation.results_nuscenes import sample_results, write_results

    faults = FaultLog()
    found = detections_of(options.detections, faults)
    answered = sorted(samples.keys() & found.keys())
    if not answered:
        what = f"no detections in '{options.detections}' belong to a sample of '{options.truth}'"
        raise came_to_nothing(what, faults, "their stamps differ")
    if options.protocol is None:
        names = (name for stamp in answered for name in found[stamp].class_names)
        settings = replace(settings, protocol=protocol_of(classes or classes_of_detections(names, complete=True)))
    poses = dict(zip(answered, ego_poses([options.truth], BASE_FRAME, answered), strict=True))

    def results(stamp: int) -> list[dict[str, Any]]:
        detections: Detections | None = found.get(stamp)
        return [] if detections is None else sample_results(samples[stamp], detections, poses[stamp], settings)

    write_results(options.results, ((token, results(stamp)) for stamp, token in sorted(samples.items())))
    outcome = {"results": {"samples": len(samples), "answered": len(answered)}, **faults_json(faults)}
    if options.json:
        print_json(outcome)
    else:
        print(f"{len(samples)} samples in {options.results}, {len(answered)} of them with detections")
        print("nothing is measured: there is no ground truth")
        print_faults(faults)
    return 0


def _write_results(
    options: argparse.Namespace, pairs: Pairs, detections: Sequence[Detections], settings: EvaluationSettings
) -> dict[str, int]:
    from semlt3d_ros.evaluation.bags import BagPairs
    from semlt3d_ros.evaluation.results_nuscenes import sample_results, write_results

    if not isinstance(pairs, BagPairs):
        raise ConfigurationError(f"--results: '{options.detections}' is a results file already; give a bag")
    stamps = [each.stamp for each in detections]
    poses = ego_poses([options.truth, options.detections], pairs.frame_id, stamps)
    tokens = [pairs.sample_tokens.get(stamp, str(stamp)) for stamp in stamps]
    samples = (
        (token, sample_results(token, each, pose, settings))
        for token, each, pose in zip(tokens, detections, poses, strict=True)
    )
    write_results(options.results, samples)
    return _results_json(pairs, stamps)


def _write_kitti(
    options: argparse.Namespace, pairs: Pairs, detections: Sequence[Detections], settings: EvaluationSettings
) -> int:
    from semlt3d_ros.evaluation.bags import BagPairs

    if not isinstance(pairs, BagPairs):
        raise ConfigurationError(f"--kitti: '{options.detections}' holds results already; give a bag")
    return write_kitti(options.kitti, options.truth, detections, pairs.sample_tokens, settings)


def _results_json(pairs: BagPairs, stamps: Sequence[int]) -> dict[str, int]:
    named = sum(stamp in pairs.sample_tokens for stamp in stamps)
    return {"samples": len(stamps), "named_by_data_set": named, "named_by_stamp": len(stamps) - named}


def _print_outcome(pairs: Pairs, outcome: dict[str, Any]) -> None:
    counts = outcome["pairs"]
    print(
        f"{counts['answered']} frames with detections and ground truth, {counts['unanswered']} without detections, "
        f"{counts['without_truth']} without ground truth"
    )
    if pairs.of_no_class:
        labels = ", ".join(f"{count} {label}" for label, count in pairs.of_no_class.most_common())
        print(f"objects of the ground truth that are of none of the classes: {labels}")
    outside = outcome.get("outside_labelled_region", {})
    if any(outside.values()):
        print(
            f"{outside['detections']} detections and {outside['objects']} objects lie outside the labelled region and "
            "do not count"
        )
    if outcome.get("results", {}).get("named_by_stamp"):
        print(
            f"{outcome['results']['named_by_stamp']} of {outcome['results']['samples']} samples of the results file "
            "are named by their stamps: the ground truth has no keys of a data set for them"
        )
    print_faults(pairs.faults, pairs.incomplete)


def _write(report: Report, folder: Path, outcome: dict[str, Any]) -> None:
    from semlt3d_ros.evaluation.plots import save_plots

    with whole(folder, folder=True) as draft:
        report.save(draft / REPORT, outcome)
        save_plots(report, draft)

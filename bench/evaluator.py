"""CPU seconds to evaluate detections, against the nuScenes development kit, and how far the figures are apart.

Made-up detections of 6,000 samples with 300 predictions each (nuScenes' validation set has 6,019, detectors submit 300
or 500), in nuScenes' 10 classes and their frequencies. Each true box gets a few predictions of mostly the right class
around it, the rest is scattered. The development kit is timed over the loop of its ``DetectionEval.evaluate``, its
boxes made and filtered beforehand; the package from detections and labels to the report, its filters, calibration and
confusion included. Both run in one process with one thread, one after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.evaluation import NUSCENES, EvaluationSettings, Evaluator, FrameAttributes, Protocol, Report
from semlt3d_ros.evaluation.attributes import attributes_from_motion
from semlt3d_ros.evaluation.selection import protocol_confidences

TRUE_BOXES = 31
"""Per sample, on average; as in nuScenes' validation set."""
FREQUENCIES = {
    "car": 0.43, "truck": 0.08, "bus": 0.02, "trailer": 0.02, "construction_vehicle": 0.01, "pedestrian": 0.19,
    "motorcycle": 0.015, "bicycle": 0.015, "traffic_cone": 0.09, "barrier": 0.13,
}  # fmt: skip
TAXONOMY_NAMES = tuple("adult" if name == "pedestrian" else name for name in NUSCENES.class_names)
RANGES = np.array([info.range_m for info in NUSCENES.classes])
DEVKIT_ERRORS = {"ate": "trans_err", "ase": "scale_err", "aoe": "orient_err", "ave": "vel_err", "aae": "attr_err"}


Frame = tuple[Detections, Labels, FrameAttributes]


def in_range(centers: NDArray[np.float64], class_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Centres drawn in where they lie beyond their class's range: the development kit is not to filter here."""
    distance = np.linalg.norm(centers[:, :2], axis=1)
    return centers * np.minimum(1.0, 0.999 * RANGES[class_ids] / np.maximum(distance, 1e-9))[:, None]


def random_boxes(rng: np.random.Generator, centers: NDArray[np.float64]) -> Boxes3D:
    count = len(centers)
    velocity = rng.normal(0.0, 3.0, (count, 2)) * (rng.random((count, 1)) < 0.5)
    velocity[rng.random(count) < 0.05] = np.nan
    return Boxes3D(centers, rng.uniform(0.5, 5.0, (count, 3)), rng.uniform(-np.pi, np.pi, count), velocity)


def make_frame(rng: np.random.Generator, stamp: int, predictions: int) -> Frame:
    count, classes = int(rng.poisson(TRUE_BOXES)), len(RANGES)
    shares = np.array([FREQUENCIES[name] for name in NUSCENES.class_names])
    shares /= shares.sum()
    true_classes = rng.choice(classes, count, p=shares)
    places = np.append(rng.normal(0.0, 20.0, (count, 2)), rng.normal(0.0, 0.5, (count, 1)), axis=1)
    truth = random_boxes(rng, in_range(places, true_classes))
    near = min(predictions, 3 * count)
    source = rng.integers(0, max(1, count), near)
    class_ids = rng.choice(classes, predictions, p=shares)
    class_ids[:near] = np.where(rng.random(near) < 0.85, true_classes[source], class_ids[:near])
    centers = np.append(rng.uniform(-40, 40, (predictions, 2)), np.zeros((predictions, 1)), axis=1)
    centers[:near] = truth.centers[source] + rng.normal(0.0, 1.0, (near, 3))
    found = random_boxes(rng, in_range(centers, class_ids))
    found.yaw[:near] = truth.yaw[source] + rng.normal(0.0, 0.3, near)
    found.velocity[:near] = truth.velocity[source] + rng.normal(0.0, 0.5, (near, 2))
    scores = np.where(np.arange(predictions) < near, rng.beta(2, 3, predictions), rng.beta(1, 12, predictions))
    confidences = np.zeros((predictions, classes), np.float32)
    confidences[np.arange(predictions), class_ids] = np.maximum(np.round(scores, 4), 1e-4)
    names = NUSCENES.class_names
    return (
        Detections(stamp, found, confidences, names),
        Labels(truth, np.array([CLASS_INDEX[TAXONOMY_NAMES[index]] for index in true_classes], np.int64)),
        FrameAttributes(
            attributes_from_motion(tuple(names[index] for index in class_ids), found.velocity),
            attributes_from_motion(tuple(names[index] for index in true_classes), truth.velocity),
        ),
    )


def evaluate_here(frames: Iterable[Frame], settings: EvaluationSettings) -> Report:
    evaluator = Evaluator(settings)
    for detections, labels, attributes in frames:
        evaluator.add(detections, labels, attributes)
    return evaluator.report()


def devkit_boxes(frames: Iterable[Frame], protocol: Protocol):  # type: ignore[no-untyped-def]
    """The development kit's true and predicted boxes, in the ego frame, less those beyond their class's range."""
    from nuscenes.eval.common.data_classes import EvalBoxes

    truth, predicted = EvalBoxes(), EvalBoxes()
    for number, (detections, labels, attributes) in enumerate(frames):
        found = [protocol.class_of(CLASS_NAMES[class_id]) for class_id in labels.class_ids]
        rows = [row for row, class_id in enumerate(found) if class_id is not None]
        boxes = _rows(number, labels.boxes, rows, [found[row] for row in rows], None, attributes.true, protocol)
        truth.add_boxes(str(number), boxes)
        confidences = protocol_confidences(detections, protocol)
        rows, class_ids = np.nonzero(confidences)
        scores = confidences[rows, class_ids]
        boxes = _rows(number, detections.boxes, rows, class_ids, scores, attributes.predicted, protocol)
        predicted.add_boxes(str(number), boxes)
    return truth, predicted


def _rows(number, boxes, rows, class_ids, scores, attributes, protocol):  # type: ignore[no-untyped-def]
    from nuscenes.eval.detection.data_classes import DetectionBox

    quaternions = quaternion_from_yaw(boxes.yaw)[:, [3, 0, 1, 2]]
    made = [
        DetectionBox(
            sample_token=str(number),
            translation=tuple(boxes.centers[row].tolist()),
            ego_translation=tuple(boxes.centers[row].tolist()),
            size=tuple(boxes.sizes[row, [1, 0, 2]].tolist()),
            rotation=tuple(quaternions[row].tolist()),
            velocity=tuple(boxes.velocity[row].tolist()),
            detection_name=protocol.class_names[class_id],
            detection_score=-1.0 if scores is None else float(scores[place]),
            attribute_name=attributes[row],
        )
        for place, (row, class_id) in enumerate(zip(rows, class_ids, strict=True))
    ]
    ranges = {info.name: info.range_m for info in protocol.classes}
    return [box for box in made if box.ego_dist < ranges[box.detection_name]]


def evaluate_there(truth, predicted, protocol: Protocol):  # type: ignore[no-untyped-def]
    """What ``DetectionEval.evaluate`` of the development kit does once it has loaded and filtered its boxes."""
    from nuscenes.eval.common.utils import center_distance
    from nuscenes.eval.detection.algo import accumulate, calc_ap, calc_tp
    from nuscenes.eval.detection.data_classes import DetectionMetrics

    metrics = DetectionMetrics(SimpleNamespace(class_names=protocol.class_names, mean_ap_weight=protocol.ap_weight))
    for name in protocol.class_names:
        for distance in protocol.distances:
            data = accumulate(truth, predicted, name, center_distance, distance)
            metrics.add_label_ap(name, distance, calc_ap(data, protocol.min_recall, protocol.min_precision))
            if distance == protocol.tp_distance:
                for error, theirs in DEVKIT_ERRORS.items():
                    exempt = error in protocol.exempt.get(name, ())
                    metrics.add_label_tp(name, theirs, np.nan if exempt else calc_tp(data, protocol.min_recall, theirs))
    return metrics


def differences(report: Report, metrics) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Every figure's distance from the development kit's; both count classes without true boxes as zero."""
    apart = {"mAP": report.map - metrics.mean_ap, "NDS": report.nds - metrics.nd_score}
    for error, theirs in DEVKIT_ERRORS.items():
        apart[error] = report.errors[error] - metrics.tp_errors[theirs]
    for result in report.classes:
        for distance, ap in result.ap_by_distance.items():
            apart[f"{result.name} AP {distance:g} m"] = ap - metrics.get_label_ap(result.name, distance)
        for error, value in result.errors.items():
            apart[f"{result.name} {error}"] = value - metrics.get_label_tp(result.name, DEVKIT_ERRORS[error])
    return {name: abs(value) for name, value in apart.items()}


def measure(samples: int, predictions: int, repeats: int, seed: int) -> dict[str, float]:
    """All figures."""
    rng = np.random.default_rng(seed)
    made = [make_frame(rng, stamp, predictions) for stamp in range(samples)]
    settings = EvaluationSettings(NUSCENES, absent_classes="zero")
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        report = evaluate_here(made, settings)
        _ = report.to_json()
        seconds.append(time.process_time() - start)
    boxes = devkit_boxes(made, NUSCENES)
    start = time.process_time()
    metrics = evaluate_there(*boxes, NUSCENES)
    devkit_s = time.process_time() - start
    here_s = statistics.median(seconds)
    apart = differences(report, metrics)
    return {
        "samples": samples,
        "predictions": predictions,
        "true_boxes": sum(result.truth for result in report.classes),
        "map": report.map or 0.0,
        "nds": report.nds or 0.0,
        "here_s": here_s,
        "devkit_s": devkit_s,
        "speedup": devkit_s / here_s,
        "figures_compared": len(apart),
        "max_abs_difference": max(apart.values()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.evaluator", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--samples", type=int, default=6000, help="number of samples (default 6000)")
    parser.add_argument("--predictions", type=int, default=300, help="predictions per sample (default 300)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the package, of which the median counts")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        import nuscenes  # noqa: F401
    except ImportError:
        parser.exit(2, "bench.evaluator: the nuScenes development kit is missing; install it with: make setup-test\n")
    result = measure(given.samples, given.predictions, given.repeats, given.seed)
    if given.json:
        print(json.dumps(result))
        return
    table = Table("", "seconds", title=f"{given.samples} samples with {given.predictions} predictions each")
    table.add_row("nuScenes development kit", f"{result['devkit_s']:.1f}")
    table.add_row("semlt3d_ros.evaluation", f"{result['here_s']:.2f}")
    table.caption = (
        f"{result['speedup']:.0f} times faster; {result['figures_compared']} figures, "
        f"at most {result['max_abs_difference']:.1e} apart"
    )
    Console().print(table)


if __name__ == "__main__":
    main()

"""A LiDAR teacher on real recordings: recall and precision of cars near the vehicle.

    python -m bench.teacher_real BAG... [--checkpoint FILE] [--pictures FOLDER]

Counts annotated cars (class ``car`` after the label map that knows the bag's labels) within 30 m on which at least 20
points of the sweep lie, inside the labelled region. One is found by a detection within 2 m, each by another one; vans
and other vehicles are neither missed nor invented where a detection of a car lies on them. Detections of any class of
vehicle are counted apart, since a LiDAR hardly tells a van from a car. Where a bag says what points lie on, as those of
PandaSet do, mIoU is told too; points out of the teacher's range count as missed.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.samples import read_samples
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.checkpoints.shipped import shipped_teacher
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Frame, Labels, PointCloud
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.label_map import columns_for
from semlt3d_ros.core.point_classes import in_terms_of
from semlt3d_ros.core.sweeps import Sweep, accumulated
from semlt3d_ros.core.taxonomy import CLASS_NAMES, CLASSES, LT3D
from semlt3d_ros.evaluation.segmentation import Segmentation, count_points, segmentation_of
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.labelling.consistent import consistent
from semlt3d_ros.messages import topics
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import rig_from_topics
from semlt3d_ros.training.teacher_task import points_in

RANGE_M, FEWEST_POINTS, MATCH_M = 30.0, 20, 2.0
CAR = CLASS_NAMES.index("car")
VEHICLES = np.array([info.superclass == "vehicle" for info in CLASSES])
FLOOR = 0.05


@dataclass
class Judged:
    """What was found of one bag: scores of detections, whether each is right, wrong or neither, and number of cars."""

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    cars: int


def labelled_frames(bag: Path) -> Iterator[tuple[Frame, Labels]]:
    """Frames with points, and their labels as LT3D's classes."""
    faults = FaultLog()
    with BagSource(bag) as source:
        rig = replace(rig_from_topics(source.topics), labels_topic=topics.TRUTH_LONG_TAIL)
        builder = FrameBuilder(rig, ImageSpec(64, 32, 0.0), with_points=True, with_labels=True)
        samples = read_samples(source, faults)
        found: list[Frame] = []
        for entry, message in decoded(source.messages(topics=list(builder.topics)), faults):
            found += builder.add(entry.topic, entry.type_name, message)
        found += builder.flush()
    for frame in found:
        if frame.labels is None or frame.points is None:
            continue
        region = samples[frame.stamp].region if frame.stamp in samples else frame.region
        labels = frame.labels
        if labels.class_names != CLASS_NAMES:
            columns = columns_for(labels.class_names, LT3D, None)
            if frame.points.classes is not None:
                frame.points.classes = in_terms_of(frame.points.classes, columns, len(CLASS_NAMES))
            labels = labels.as_classes(columns, CLASS_NAMES)
        yield replace(frame, region=region), labels


def clouds(bag: Path, sweeps: int) -> Iterator[tuple[Frame, Labels, PointCloud]]:
    """The same with accumulated clouds."""
    past: deque[Sweep] = deque(maxlen=max(1, sweeps - 1))
    for frame, labels in labelled_frames(bag):
        assert frame.points is not None
        now = Sweep(frame.points, frame.T_world_ego, frame.stamp)
        yield frame, labels, accumulated(now, list(past)[::-1] if sweeps > 1 else [])
        past.append(now)


def judge(
    found: Detections, frame: Frame, labels: Labels, columns: NDArray[np.bool_]
) -> tuple[list[float], list[int], int]:
    """Scores of detections, 1 where right, 0 where wrong, -1 where neither; and the number of cars."""
    assert frame.points is not None
    centers = labels.boxes.centers
    inside = frame.region.contains(centers)
    near = np.hypot(*centers[:, :2].T) <= RANGE_M
    counts = points_in(labels.boxes, frame.points, 0.0)
    wanted = (labels.class_ids == CAR) & inside & near & (counts >= FEWEST_POINTS)
    vehicle = np.array([index == ABSENT or VEHICLES[index] for index in labels.class_ids], np.bool_)
    scores = found.confidences[:, columns].max(axis=1, initial=0.0)
    kinds, results, taken = [], [], np.zeros(len(centers), np.bool_)
    judged = frame.region.judges(found.boxes.centers, centers) & (np.hypot(*found.boxes.centers[:, :2].T) <= RANGE_M)
    for place in np.argsort(-scores, kind="stable"):
        if scores[place] < FLOOR:
            break
        away = np.hypot(*(centers - found.boxes.centers[place])[:, :2].T) if len(centers) else np.zeros(0)
        free = wanted & ~taken & (away < MATCH_M)
        if free.any():
            taken[np.argmin(np.where(free, away, np.inf))] = True
            kinds.append(1)
        elif (vehicle & (away < MATCH_M)).any() or not judged[place]:
            kinds.append(-1)
        else:
            kinds.append(0)
        results.append(float(scores[place]))
    return results, kinds, int(wanted.sum())


def run(seen: Sequence[tuple[Detections, Frame, Labels]], columns: NDArray[np.bool_]) -> Judged:
    """All frames of a bag."""
    scores: list[float] = []
    kinds: list[int] = []
    cars = 0
    for found, frame, labels in seen:
        some, right, count = judge(found, frame, labels, columns)
        scores, kinds, cars = scores + some, kinds + right, cars + count
    counted = np.array(kinds) >= 0
    return Judged(np.array(scores)[counted], np.array(kinds, np.bool_)[counted], cars)


def looked_at(
    detector: TeacherDetector, bag: Path, pictures: Path | None
) -> tuple[dict[str, list[tuple[Detections, Frame, Labels]]], Segmentation | None]:
    """What the teacher detects in each frame of a bag, and the same made consistent over the drive.

    And how well it tells what points lie on, where the bag says it.
    """
    frames, found, counts = [], [], []
    for number, (frame, labels, cloud) in enumerate(clouds(bag, detector.config.sweeps)):
        sight = detector.look(cloud, frame.stamp)
        found.append(sight.detections)
        frames.append((frame, labels))
        truth = None if frame.points is None else frame.points.classes
        if truth is not None and sight.point_classes is not None:
            counts.append(count_points(truth, sight.point_classes[: len(truth)], len(detector.config.point_classes)))
        if pictures is not None and number % 10 == 0:
            draw(pictures / f"{bag.stem}_{number:02d}.png", frame, cloud, labels, found[-1])
    families = [info.family for info in detector.classes.classes]
    agreed = consistent(found, [frame.T_world_ego for frame, _ in frames], families).frames
    seen = {
        name: [(said, frame, labels) for said, (frame, labels) in zip(which, frames, strict=True)]
        for name, which in (("detections", found), ("labels", agreed))
    }
    return seen, segmentation_of(counts, detector.config.point_classes)


def curve(judged: Judged) -> dict[str, float]:
    """Recall at some precisions, and both at the score where they are nearest to each other."""
    order = np.argsort(-judged.scores, kind="stable")
    hits = np.cumsum(judged.right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / max(judged.cars, 1)
    result: dict[str, float] = {"cars": judged.cars}
    for wanted in (0.5, 0.7, 0.8, 0.9):
        good = precision >= wanted
        result[f"recall at precision {wanted}"] = round(float(recall[good].max(initial=0.0)), 3)
    for score in (0.1, 0.2, 0.3, 0.4):
        kept = judged.scores >= score
        result[f"recall at score {score}"] = round(float(judged.right[kept].sum() / max(judged.cars, 1)), 3)
        result[f"precision at score {score}"] = round(float(judged.right[kept].mean()) if kept.any() else 0.0, 3)
    return result


def draw(path: Path, frame: Frame, cloud: PointCloud, labels: Labels, found: Detections) -> None:
    """A frame from above: points by height, truth in green, vehicles found in red, people blue, the rest orange."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(12, 12))
    axes.scatter(*cloud.xyz[:, :2].T, c=cloud.xyz[:, 2], s=0.4, cmap="viridis", vmin=-1, vmax=4)
    for boxes, colors, texts in (
        (labels.boxes, ["lime" if index == CAR else "greenyellow" for index in labels.class_ids], None),
        *(
            (
                found.boxes[found.scores >= 0.2],
                [
                    "red" if VEHICLES[index] else "blue" if CLASSES[index].superclass == "pedestrian" else "orange"
                    for index in found.class_ids[found.scores >= 0.2]
                ],
                [
                    f"{CLASS_NAMES[index][:8]} {score:.2f}"
                    for index, score in zip(found.class_ids, found.scores, strict=True)
                    if score >= 0.2
                ],
            ),
        ),
    ):
        for number, corners in enumerate(boxes.corners()[:, [0, 1, 2, 3, 0], :2]):
            axes.plot(*corners.T, color=colors[number], linewidth=1.2)
            if texts:
                axes.text(*corners[0], texts[number], fontsize=6, color=colors[number])
    axes.set_xlim(-45, 45)
    axes.set_ylim(-45, 45)
    axes.set_aspect("equal")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70, bbox_inches="tight")
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m bench.teacher_real``."""
    parser = argparse.ArgumentParser(prog="python -m bench.teacher_real", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a teacher's; default: the one that comes with the package")
    parser.add_argument("bags", type=Path, nargs="*", help="labelled bags, as semlt3d import writes them")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of every tenth frame")
    options = parser.parse_args(arguments)
    if not options.bags:
        print("no labelled bag was named; semlt3d import makes them of data sets")
        return 0
    detector = TeacherDetector.load(options.checkpoint or shipped_teacher())
    for bag in options.bags:
        looked, points = looked_at(detector, bag, options.pictures)
        for what, seen in looked.items():
            for name, columns in (("car", np.arange(len(CLASS_NAMES)) == CAR), ("vehicle", VEHICLES)):
                print(json.dumps({"bag": bag.stem, "what": what, "as": name, **curve(run(seen, columns))}))
        if points is not None:
            print(json.dumps({"bag": bag.stem, "what": "points", **points.to_json()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Equality with a plain implementation of the nuScenes definitions, one loop per sentence."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_NAMES, CLASSES
from semlt3d_ros.evaluation import LT3D, EvaluationSettings, Protocol, evaluate

Pair = tuple[Detections, Labels]


def make_drive(seed: int, frames: int, crowd: int) -> list[Pair]:
    """Frames with a few classes only, so that classes compete; rounded confidences, so that many are equal."""
    rng = np.random.default_rng(seed)
    pairs = []
    for stamp in range(frames):
        count, guesses = int(rng.integers(0, crowd)), int(rng.integers(0, 2 * crowd))
        centers = np.append(rng.uniform(-35, 35, (count, 2)), np.zeros((count, 1)), axis=1)
        velocity = np.where(rng.random((count, 1)) < 0.3, np.nan, rng.normal(size=(count, 2)))
        class_ids = rng.choice([0, 1, 9, 16, 17], count)
        truth = Boxes3D(centers, rng.uniform(0.5, 4.0, (count, 3)), rng.uniform(-3.1, 3.1, count), velocity)
        source = rng.integers(0, count, guesses) if count else np.zeros(0, int)
        guesses = len(source)
        found = Boxes3D(
            centers[source] + rng.normal(size=(guesses, 3)),
            truth.sizes[source] * rng.uniform(0.7, 1.3, (guesses, 3)),
            rng.uniform(-3.1, 3.1, guesses),
            rng.normal(size=(guesses, 2)),
        )
        confidences = np.round(rng.random((guesses, 18)) * (rng.random((guesses, 18)) < 0.2), 1)
        confidences[np.arange(guesses), class_ids[source]] += np.round(rng.random(guesses), 1)
        pairs.append((Detections(stamp, found, np.minimum(confidences, 1.0)), Labels(truth, class_ids)))
    return pairs


def reference_class(pairs: list[Pair], class_id: int, distance: float, options: Protocol, level: int = 0):
    """(AP, errors) of a class at one distance, or None without truth; confusions up to a level are forgiven."""
    limit = CLASSES[class_id].range_m
    truth = [
        [index for index in range(len(labels.boxes)) if labels.class_ids[index] == class_id] for _, labels in pairs
    ]
    truth = [
        [i for i in frame if math.hypot(*labels.boxes.centers[i, :2]) < limit]
        for frame, (_, labels) in zip(truth, pairs, strict=True)
    ]
    total = sum(map(len, truth))
    if total == 0:
        return None
    predictions = [
        (float(detections.confidences[index, class_id]), frame, index)
        for frame, (detections, _) in enumerate(pairs)
        for index in range(len(detections))
        if detections.confidences[index, class_id] > 0 and math.hypot(*detections.boxes.centers[index, :2]) < limit
    ]
    taken: set[tuple[int, int]] = set()
    hits, kept, counted = [], [], []
    for score, frame, index in sorted(predictions, reverse=True):
        detections, labels = pairs[frame]
        best, nearest = math.inf, -1
        for candidate in truth[frame]:
            if (frame, candidate) in taken:
                continue
            gap = math.dist(detections.boxes.centers[index, :2], labels.boxes.centers[candidate, :2])
            if gap < best:
                best, nearest = gap, candidate
        if best >= distance and forgiven(detections.boxes.centers[index], labels, class_id, distance, level):
            continue
        hits.append(best < distance)
        counted.append(score)
        if best < distance:
            taken.add((frame, nearest))
            kept.append((score, *reference_errors(detections.boxes, index, labels.boxes, nearest, class_id)))
    if not kept:
        return 0.0, [1.0] * 4
    recalls, precisions = [], []
    for number in range(1, len(hits) + 1):
        recalls.append(sum(hits[:number]) / total)
        precisions.append(sum(hits[:number]) / number)
    grid = np.linspace(0, 1, 101)
    precision = np.interp(grid, recalls, precisions, right=0)
    confidence = np.interp(grid, recalls, counted, right=0)
    first = round(100 * options.min_recall) + 1
    ap = sum(max(p - options.min_precision, 0) for p in precision[first:]) / (101 - first) / (1 - options.min_precision)
    last = max((index for index in range(101) if confidence[index] > 0), default=0)
    return ap, [reference_mean(kept, column, confidence, first, last) for column in range(1, 5)]


def forgiven(center: np.ndarray, labels: Labels, class_id: int, distance: float, level: int) -> bool:
    """Whether a false positive lies on a true box of another class with a common ancestor at ``level`` or below."""
    for other, place in zip(labels.class_ids, labels.boxes.centers, strict=True):
        if other == class_id or math.hypot(*place[:2]) >= CLASSES[other].range_m:
            continue
        ancestor = 1 if CLASSES[other].superclass == CLASSES[class_id].superclass else 2
        if ancestor <= level and math.dist(center[:2], place[:2]) < distance:
            return True
    return False


def reference_errors(found: Boxes3D, i: int, truth: Boxes3D, j: int, class_id: int) -> tuple[float, ...]:
    overlap = math.prod(min(found.sizes[i, k], truth.sizes[j, k]) for k in range(3))
    union = math.prod(found.sizes[i]) + math.prod(truth.sizes[j]) - overlap
    turn = abs(found.yaw[i] - truth.yaw[j]) % (2 * math.pi)
    turn = min(turn, 2 * math.pi - turn)
    if CLASS_NAMES[class_id] == "barrier":
        turn = min(turn, math.pi - turn)
    return (
        math.dist(found.centers[i, :2], truth.centers[j, :2]),
        1 - overlap / union,
        turn,
        math.dist(found.velocity[i], truth.velocity[j]),
    )


def reference_mean(kept: list[tuple], column: int, confidence: np.ndarray, first: int, last: int) -> float:
    values = [row[column] for row in kept]
    if all(map(math.isnan, values)) or last < first:
        return 1.0
    running = []
    for number in range(1, len(values) + 1):
        known = [value for value in values[:number] if not math.isnan(value)]
        running.append(sum(known) / len(known) if known else 0.0)
    scores = [row[0] for row in kept]
    curve = np.interp(confidence[::-1], scores[::-1], running[::-1])[::-1]
    return float(np.mean(curve[first : last + 1]))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 12), st.sampled_from([(0.0, 0.0), (0.1, 0.1)]))
def test_equals_the_reference(seed, frames, crowd, least):
    protocol = replace(LT3D, max_boxes=10_000, min_recall=least[0], min_precision=least[1])
    pairs = make_drive(seed, frames, crowd)
    report = evaluate(pairs, EvaluationSettings(protocol))
    for class_id, result in enumerate(report.classes):
        for distance, level in itertools.product(protocol.distances, (0, 1, 2)):
            expected = reference_class(pairs, class_id, distance, protocol, level)
            if expected is None:
                assert result.ap is None
                continue
            ap, errors = expected
            assert result.ap_by_level[level][distance] == pytest.approx(ap, abs=1e-12)
            if distance == protocol.tp_distance and level == 0:
                for name, value in zip(("ate", "ase", "aoe", "ave"), errors, strict=True):
                    if name in result.errors:
                        assert result.errors[name] == pytest.approx(value, abs=1e-9), name

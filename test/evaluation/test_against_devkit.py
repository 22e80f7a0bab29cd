"""Equality with the nuScenes development kit, figure by figure, on random and on awkward boxes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nuscenes.eval.detection import data_classes
from nuscenes.eval.detection.constants import ATTRIBUTE_NAMES, DETECTION_NAMES
from nuscenes.eval.detection.utils import category_to_detection_name

from bench.evaluator import DEVKIT_ERRORS, devkit_boxes, differences, evaluate_here, evaluate_there, make_frame
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.label_map import load_label_map
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.evaluation import LT3D, NUSCENES, EvaluationSettings, FrameAttributes

TOLERANCE = 1e-9
PROTOCOLS = {each.name: each for each in (LT3D, NUSCENES, replace(LT3D, name="floors", min_recall=0.1))}


@pytest.fixture(autouse=True, scope="module")
def eighteen_classes():
    """The development kit refuses names that are not its own; LT3D's is the same kit with this list changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_classes, "DETECTION_NAMES", [*dict.fromkeys([*DETECTION_NAMES, *CLASS_NAMES])])
        yield


def awkward_frame(rng: np.random.Generator, stamp: int, boxes: int, guesses: int, names: int):
    """Boxes on a coarse grid (equal distances, distances at a threshold), few different scores, unknown motion."""
    class_ids = rng.integers(0, names, boxes)

    def make(count):
        velocity = rng.integers(-2, 3, (count, 2)).astype(float)
        velocity[rng.random(count) < 0.3] = np.nan
        centers = np.append(rng.integers(-8, 9, (count, 2)) / 2, rng.normal(size=(count, 1)), axis=1)
        return Boxes3D(centers, rng.integers(1, 5, (count, 3)) / 2, rng.integers(-4, 5, count) * np.pi / 4, velocity)

    sparse = rng.random((guesses, len(CLASS_NAMES))) < 0.15
    sparse[:, names:] = False
    confidences = rng.choice([0.25, 0.5, 0.5, 0.75, 1.0], sparse.shape) * sparse
    said, known = (tuple(rng.choice(["", *ATTRIBUTE_NAMES[:2]], count).tolist()) for count in (guesses, boxes))
    return Detections(stamp, make(guesses), confidences), Labels(make(boxes), class_ids), FrameAttributes(said, known)


def assert_equal(frames, protocol):
    """All figures, and the means in both conventions about classes without true boxes."""
    metrics = evaluate_there(*devkit_boxes(frames, protocol), protocol)
    zero = evaluate_here(frames, EvaluationSettings(protocol, absent_classes="zero"))
    apart = differences(zero, metrics)
    assert len(apart) > 9 * len(protocol.classes)
    assert max(apart.values()) <= TOLERANCE, max(apart, key=lambda name: apart[name])
    left_out = evaluate_here(frames, EvaluationSettings(protocol))
    present = [result.name for result in left_out.classes if result.truth > 0]
    assert left_out.ap == {
        name: pytest.approx(metrics.mean_dist_aps[name], abs=TOLERANCE) if name in present else None
        for name in protocol.class_names
    }
    if present:
        assert left_out.map == pytest.approx(np.mean([metrics.mean_dist_aps[name] for name in present]), abs=TOLERANCE)
        for error, theirs in DEVKIT_ERRORS.items():
            values = np.array([metrics.get_label_tp(name, theirs) for name in present])
            if not np.isnan(values).all():
                assert left_out.errors[error] == pytest.approx(np.nanmean(values), abs=TOLERANCE)


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(0, 12), st.integers(0, 25), st.integers(1, 18))
def test_awkward_boxes(name, seed, frames, boxes, guesses, names):
    rng = np.random.default_rng(seed)
    drive = [awkward_frame(rng, stamp, boxes, guesses, names) for stamp in range(frames)]
    assert_equal(drive, PROTOCOLS[name])


def test_realistic_boxes():
    rng = np.random.default_rng(1)
    assert_equal([make_frame(rng, stamp, 60) for stamp in range(25)], NUSCENES)


def frame(true_places, places, scores, true_velocity=(0.0, 0.0), velocity=(0.0, 0.0), names=("", ""), class_name="car"):
    """A frame with objects of one class."""

    def boxes(where, motion):
        count = len(where)
        centers = np.array([(x, y, 0.0) for x, y in where]).reshape(count, 3)
        return Boxes3D(centers, np.tile([4.0, 2.0, 1.5], (count, 1)), np.zeros(count), np.tile(motion, (count, 1)))

    index = CLASS_NAMES.index(class_name)
    confidences = np.zeros((len(places), len(CLASS_NAMES)))
    confidences[:, index] = scores
    return (
        Detections(0, boxes(places, velocity), confidences),
        Labels(boxes(true_places, true_velocity), np.full(len(true_places), index)),
        FrameAttributes((names[0],) * len(places), (names[1],) * len(true_places)),
    )


UNKNOWN = (np.nan, np.nan)
ROW = [(float(x), 0.0) for x in range(8)]
CASES = {
    "nothing at all": [frame([], [], [])],
    "no ground truth": [frame([], ROW, 0.5)],
    "no predictions": [frame(ROW, [], [])],
    "no predictions in one frame of two": [frame(ROW, [], []), frame(ROW, ROW, 0.5)],
    "all scores equal": [frame(ROW, ROW[::-1], 0.5), frame(ROW[:3], ROW, 0.5)],
    "equal distances": [frame([(0.0, 0.0), (2.0, 0.0)], [(1.0, 0.0), (1.0, 0.5), (1.0, -0.5)], [0.3, 0.9, 0.9])],
    "at the thresholds": [frame([(0.0, 0.0)], [(distance, 0.0)], 0.5) for distance in LT3D.distances],
    "every box asks for the same one": [
        frame([(0.0, 0.0)], [(0.1 * n, 0.0) for n in range(20)], np.linspace(0.9, 0.1, 20))
    ],
    "a chain of second choices": [frame(ROW, [(x - 0.4, 0.0) for x, _ in ROW] + ROW, [*np.linspace(0.2, 0.9, 8)] * 2)],
    "two boxes in one place": [frame([(0.0, 0.0)] * 2, [(0.0, 0.0)] * 3, [0.5, 0.5, 0.4])],
    "unknown predicted velocity": [frame(ROW, ROW, 0.5, velocity=UNKNOWN)],
    "unknown true velocity": [frame(ROW, ROW, 0.5, true_velocity=UNKNOWN)],
    "velocity unknown at first": [frame(ROW, ROW, 0.9, velocity=UNKNOWN), frame(ROW, ROW, 0.5, (1.0, 1.0))],
    "attribute right": [frame(ROW, ROW, 0.5, names=("vehicle.moving", "vehicle.moving"))],
    "attribute wrong": [frame(ROW, ROW, 0.5, names=("vehicle.parked", "vehicle.moving"))],
    "attribute not said": [frame(ROW, ROW, 0.5, names=("", "vehicle.moving"))],
    "attribute not known": [frame(ROW, ROW, 0.5, names=("vehicle.moving", ""))],
    "cones and barriers": [frame(ROW, ROW, 0.5, class_name="traffic_cone"), frame(ROW, ROW, 0.5, class_name="barrier")],
    "too little recall": [frame([(float(x), float(y)) for x in range(5) for y in range(5)], ROW[:1], 0.5)],
    "beyond the range": [frame([(49.5, 0.0), (50.0, 0.0), (0.0, 51.0)], [(49.0, 0.0), (50.0, 0.0), (0.0, 51.0)], 0.5)],
}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("case", CASES)
def test_cases(case, protocol):
    assert_equal(CASES[case], protocol)


def test_batches_do_not_matter(monkeypatch):
    """Frames are matched in batches; one frame at a time gives the same figures."""
    from semlt3d_ros.evaluation import evaluator

    rng = np.random.default_rng(3)
    drive = [awkward_frame(rng, stamp, 6, 12, 5) for stamp in range(9)]
    together = evaluate_here(drive, EvaluationSettings()).to_json()
    monkeypatch.setattr(evaluator, "_BATCH_CONFIDENCES", 1)
    assert evaluate_here(drive, EvaluationSettings()).to_json() == together


def test_the_protocol_of_nuscenes_is_the_development_kits():
    file = Path(data_classes.__file__).parent / "configs" / "detection_cvpr_2019.json"
    rules = json.loads(file.read_text())
    assert {info.name: info.range_m for info in NUSCENES.classes} == rules["class_range"]
    assert (list(NUSCENES.distances), NUSCENES.tp_distance) == (rules["dist_ths"], rules["dist_th_tp"])
    assert (NUSCENES.min_recall, NUSCENES.min_precision) == (rules["min_recall"], rules["min_precision"])
    assert (NUSCENES.max_boxes, NUSCENES.ap_weight) == (rules["max_boxes_per_sample"], rules["mean_ap_weight"])


def test_categories_map_as_in_the_development_kit():
    to_lt3d, to_nuscenes = load_label_map("nuscenes_to_lt3d"), load_label_map("nuscenes_to_nuscenes")
    assert to_lt3d.labels == to_nuscenes.labels and len(to_lt3d.labels) == 23
    for category in to_lt3d.labels:
        index = NUSCENES.class_of(to_lt3d.classes.get(category, ""))
        assert (None if index is None else NUSCENES.class_names[index]) == category_to_detection_name(category)
        assert to_nuscenes.classes.get(category) == category_to_detection_name(category)
    assert set(to_lt3d.classes.values()) == set(CLASS_NAMES)

"""Average precision on drives drawn anew, against the evaluator; and that chance alone is seldom taken for a gain."""

import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.evaluation import EvaluationSettings, evaluate
from semlt3d_ros.evaluation.bootstrap import average_precisions, changes, drawn_drives, matched

SETTINGS = EvaluationSettings()
PROTOCOL = SETTINGS.protocol


def boxes_at(places) -> Boxes3D:
    count = len(places)
    centers = np.column_stack([places, np.zeros(count)])
    return Boxes3D(centers, np.tile([4.0, 2.0, 1.5], (count, 1)), np.zeros(count), np.zeros((count, 2)))


def frame(random, sharp: float, objects: int = 6, noise: int = 10) -> tuple[Detections, Labels]:
    """Objects of three classes, found ``sharp``ly or not, and as much noise."""
    places = random.uniform(-18, 18, (objects, 2))
    classes = random.integers(0, 3, objects)
    seen = random.random(objects) < 0.4 + 0.5 * sharp
    near = places[seen] + random.normal(0, 1 - sharp, (seen.sum(), 2))
    found = np.concatenate([near, random.uniform(-18, 18, (noise, 2))])
    confidences = np.zeros((len(found), len(CLASS_NAMES)), np.float32)
    columns = np.concatenate([classes[seen], random.integers(0, 3, noise)])
    confidences[np.arange(len(found)), columns] = random.random(len(found)) * 0.8 + 0.01
    return Detections(0, boxes_at(found), confidences), Labels(boxes_at(places), classes)


def drives(seed: int, count: int, frames: int, sharp: float) -> list[tuple[int, Detections, Labels]]:
    random = np.random.default_rng(seed)
    return [(drive, *frame(random, sharp)) for drive in range(count) for _ in range(frames)]


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_evaluator_on_any_choice_of_drives(seed) -> None:
    answers = drives(seed, 5, 3, 0.6)
    matches = matched(answers, 5, SETTINGS)
    counts = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 1, 0]])
    figures = average_precisions(matches, counts, PROTOCOL)
    for row, taken in zip(figures, counts, strict=True):
        report = evaluate((found, truth) for drive, found, truth in answers if taken[drive])
        wanted = np.array([np.nan if each.ap is None else each.ap for each in report.classes])
        np.testing.assert_allclose(row, wanted, atol=1e-12)


def test_drives_that_all_count_twice_say_the_same() -> None:
    matches = matched(drives(1, 4, 3, 0.7), 4, SETTINGS)
    once, twice = average_precisions(matches, np.array([[1] * 4, [2] * 4]), PROTOCOL)
    np.testing.assert_allclose(once, twice, atol=0.02)
    assert np.nanmax(once) > 0.1


def test_nothing_found_is_nothing_and_no_truth_is_unknown() -> None:
    answers = drives(2, 2, 2, 0.6)
    blind = [(drive, found[np.zeros(len(found), bool)], truth) for drive, found, truth in answers]
    figures = average_precisions(matched(blind, 2, SETTINGS), np.array([[1, 1], [0, 0]]), PROTOCOL)
    there = np.flatnonzero(matched(answers, 2, SETTINGS).truth.sum(axis=0))
    assert (figures[0, there] == 0).all() and np.isnan(np.delete(figures[0], there)).all()
    assert np.isnan(figures[1]).all()


def change_of(running, candidate, count, seed=0, resamples=200):
    both = [matched(each, count, SETTINGS) for each in (running, candidate)]
    groups = {"all": range(len(PROTOCOL.classes)), "bus": [PROTOCOL.class_names.index("bus")]}
    return changes(*both, groups, PROTOCOL, drawn_drives(count, resamples, seed), 0.95)


def same_world(seed: int, count: int, before: float, after: float):
    """What two detectors find in the same drives: the same objects, since each begins a frame with the same numbers."""
    answers = []
    for sharp in (before, after):
        found = []
        for drive in range(count):
            random = np.random.default_rng([seed, drive])
            found.append((drive, *frame(random, sharp)))
        answers.append(found)
    for (_, _, first), (_, _, second) in zip(*answers, strict=True):
        np.testing.assert_array_equal(first.boxes.centers, second.boxes.centers)
    return answers[0], answers[1]


def test_a_better_one_is_better_beyond_chance() -> None:
    everything, _ = change_of(*same_world(3, 20, 0.4, 0.9), 20)
    assert everything.candidate > everything.running and everything.low > 0.02 and everything.by_chance < 0.01
    assert everything.low <= everything.gain <= everything.high
    back, _ = change_of(*same_world(3, 20, 0.9, 0.4), 20)
    assert back.high < 0 and back.by_chance == 1.0 and back.gain == pytest.approx(-everything.gain)


def test_the_same_one_is_no_better() -> None:
    answers = drives(4, 10, 1, 0.7)
    everything, bus = change_of(answers, answers, 10)
    assert everything.gain == everything.low == everything.high == 0 and everything.by_chance == 1.0
    assert bus.objects == 0 or bus.gain == 0


def test_a_class_without_truth_says_nothing() -> None:
    answers = drives(5, 3, 1, 0.7)
    both = [matched(answers, 3, SETTINGS)] * 2
    (change,) = changes(*both, {"few": [15]}, PROTOCOL, drawn_drives(3, 20, 0), 0.95)
    assert (change.name, change.objects, change.gain, change.low) == ("few", 0, None, None)


def test_a_single_drive_bounds_nothing() -> None:
    before, after = same_world(6, 8, 0.2, 0.95)
    elsewhere = [
        (drive, found, truth if drive == 3 else truth[np.zeros(len(truth.boxes), bool)])
        for drive, found, truth in before
    ]
    change, _ = change_of(elsewhere, [(d, f, t if d == 3 else t[np.zeros(len(t.boxes), bool)]) for d, f, t in after], 8)
    assert change.drives == 1 and change.objects and change.gain is not None and change.low is None is change.high


def test_chance_is_seldom_taken_for_a_gain() -> None:
    """Two detectors of the same skill, whose luck differs: the bound of 95 % is crossed about one time in twenty."""
    crossed = 0
    for seed in range(40):
        random = np.random.default_rng([7, seed])
        worlds = [frame(random, 0.6, objects=5)[1] for _ in range(16)]
        sides = []
        for _ in range(2):
            side = []
            for drive, truth in enumerate(worlds):
                seen = random.random(len(truth.boxes)) < 0.7
                places = truth.boxes.centers[:, :2][seen] + random.normal(0, 0.4, (seen.sum(), 2))
                confidences = np.zeros((len(places), len(CLASS_NAMES)), np.float32)
                confidences[np.arange(len(places)), truth.class_ids[seen]] = random.random(len(places)) * 0.8 + 0.1
                side.append((drive, Detections(0, boxes_at(places), confidences), truth))
            sides.append(side)
        crossed += change_of(*sides, 16, seed, 100)[0].low > 0
    assert crossed <= 6

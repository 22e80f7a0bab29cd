"""Confusions: forgiven by hierarchical AP, counted by the confusion matrix."""

from __future__ import annotations

import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_INDEX
from semlt3d_ros.evaluation import NUSCENES, EvaluationSettings, evaluate


def scene(things):
    """Labels of ``[(class name, x), ...]``."""
    return Labels(boxes([x for _, x in things]), np.array([CLASS_INDEX[name] for name, _ in things], np.int64))


def boxes(xs):
    count = len(xs)
    centers = np.stack([np.array(xs, float), np.zeros(count), np.zeros(count)], axis=1)
    return Boxes3D(centers, np.ones((count, 3)), np.zeros(count), np.zeros((count, 2)))


def answer(things):
    """Detections of ``[(class name, x, confidence), ...]``."""
    confidences = np.zeros((len(things), len(CLASS_INDEX)))
    for row, (name, _, confidence) in enumerate(things):
        confidences[row, CLASS_INDEX[name]] = confidence
    return Detections(0, boxes([x for _, x, _ in things]), confidences)


@pytest.mark.parametrize(("other", "forgiven_from"), [("truck", 1), ("adult", 2), (None, 3)])
def test_a_false_positive_is_forgiven_from_the_common_ancestor_on(other, forgiven_from):
    """A car is claimed, most confidently, 20 m off the car: on a truck, on an adult, or on nothing."""
    labels = scene([("car", 10.0)] + ([(other, 30.0)] if other else []))
    report = evaluate([(answer([("car", 30.0, 0.9), ("car", 10.0, 0.5)]), labels)])
    # In front of the one true positive it halves the precision; see the test of false positives worked out on paper.
    for level in (0, 1, 2):
        expected = 1.0 if level >= forgiven_from else 0.5 * 0.505
        (car,) = (result for result in report.classes if result.name == "car")
        assert car.hierarchical_ap(level) == pytest.approx(expected)
        assert report.lca[level]["many"] == pytest.approx(expected if other is None else expected / 2)
    assert report.lca[0]["all"] == report.map


def test_what_is_forgiven_is_no_true_positive():
    """Detectors that call everything by one name of the super-class do not gain."""
    report = evaluate([(answer([("truck", 10.0, 0.9)]), scene([("car", 10.0)]))])
    assert [report.lca[level]["all"] for level in (0, 1, 2)] == [0.0, 0.0, 0.0]


def test_it_does_not_matter_whether_the_other_object_was_found():
    labels = scene([("car", 10.0), ("truck", 30.0)])
    found = answer([("truck", 30.0, 0.95), ("car", 30.0, 0.9), ("car", 10.0, 0.5)])
    assert evaluate([(found, labels)]).lca[1]["all"] == pytest.approx(1.0)


def test_duplicates_and_misses_by_a_hair_are_not_forgiven():
    """What lies on a found, or just beyond the distance from an unfound, object of its own class stays wrong."""
    report = evaluate([(answer([("car", 10.0, 0.9), ("car", 10.0, 0.8), ("car", 14.5, 0.7)]), scene([("car", 10.0)]))])
    assert report.lca[2] == report.lca[0]
    (car,) = (result for result in report.classes if result.name == "car")
    assert car.ap == pytest.approx(0.99 + 0.01 / 3)  # precision 1 below recall 1, 1/3 where the curve ends


def cell(report, true, predicted):
    names = [result.name for result in report.classes]
    row, column = (len(names) if name is None else names.index(name) for name in (true, predicted))
    return report.confusions[row, column]


def test_confusions_are_counted_by_true_and_predicted_class():
    labels = scene([("car", 5.0), ("truck", 15.0), ("child", 25.0)])
    found = [("car", 5.0, 0.9), ("car", 5.1, 0.8), ("bus", 15.5, 0.7), ("adult", 35.0, 0.6), ("child", 25.0, 0.01)]
    report = evaluate([(answer(found), labels)] * 2)
    assert cell(report, "car", "car") == 2
    assert cell(report, "truck", "bus") == 2
    assert cell(report, "child", None) == 2  # 0.01 is not confident enough
    assert cell(report, None, "car") == 2  # the second car on the same one
    assert cell(report, None, "adult") == 2
    assert report.confusions.sum() == 10


def test_a_box_is_confused_as_its_most_confident_class_only():
    found = answer([("car", 10.0, 0.5)])
    found.confidences[0, CLASS_INDEX["truck"]] = 0.6
    report = evaluate([(found, scene([("car", 10.0)]))])
    assert cell(report, "car", "truck") == report.confusions.sum() == 1


def test_confusions_may_start_at_another_confidence():
    labels = scene([("car", 10.0)])
    for least, seen in ((0.3, 1), (0.5, 0)):
        report = evaluate([(answer([("car", 10.0, 0.4)]), labels)], EvaluationSettings(min_confidence=least))
        assert cell(report, "car", "car") == seen
        assert report.reliability.count.sum() == seen


def test_the_nuscenes_protocol_has_one_class_of_people():
    """All standing people are pedestrians, whatever they are called; a stroller is nothing."""
    labels = scene([("child", 10.0), ("police_officer", 20.0), ("stroller", 30.0)])
    found = answer([("adult", 10.0, 0.5), ("construction_worker", 20.0, 0.4), ("stroller", 30.0, 0.9)])
    found.confidences[0, CLASS_INDEX["child"]] = 0.3  # the same box, the same class here: no duplicate
    report = evaluate([(found, labels)], EvaluationSettings(NUSCENES))
    assert report.ap["pedestrian"] == pytest.approx(1.0)
    (people,) = (result for result in report.classes if result.truth)
    assert (people.truth, people.predictions) == (2, 2)
    assert report.unknown_classes == ()
    # A detector of nuScenes' own classes is taken at its word.
    own = Detections(0, found.boxes[:2], np.array([[0.5], [0.4]]), ("pedestrian",))
    assert evaluate([(own, labels)], EvaluationSettings(NUSCENES)).ap["pedestrian"] == pytest.approx(1.0)

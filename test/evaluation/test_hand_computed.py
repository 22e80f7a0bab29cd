"""Figures that can be worked out on paper."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.evaluation import LT3D, EvaluationSettings, Report, evaluate
from semlt3d_ros.evaluation.table import report_table


def of(report: Report, name: str):
    return next(result for result in report.classes if result.name == name)


def test_perfect_detections_have_ap_one_and_no_error(truth, found):
    places = [(5.0, 0.0), (10.0, 3.0)]
    car = of(evaluate([(found(places, [0.9, 0.8]), truth(places))]), "car")
    assert car.ap == pytest.approx(1.0)
    assert car.errors == pytest.approx({"ate": 0.0, "ase": 0.0, "aoe": 0.0, "ave": 0.0, "aae": 1.0})
    assert (car.truth, car.predictions) == (2, 2)


def test_each_distance_threshold_counts_for_itself(truth, found):
    """A car 1.5 m off is found at 2 and 4 m only; a pair at the threshold is no match."""
    car = of(evaluate([(found([(11.5, 0.0)], [0.9]), truth([(10.0, 0.0)]))]), "car")
    assert car.ap_by_distance == pytest.approx({0.5: 0.0, 1.0: 0.0, 2.0: 1.0, 4.0: 1.0})
    assert car.ap == pytest.approx(0.5)
    assert car.errors["ate"] == pytest.approx(1.5)
    exactly = of(evaluate([(found([(12.0, 0.0)], [0.9]), truth([(10.0, 0.0)]))]), "car")
    assert exactly.ap_by_distance[2.0] == 0.0


def test_a_false_positive_in_front_halves_the_precision(truth, found):
    """Best prediction wrong, second right: precision 1/2 at recall 1, linear from 0 at recall 0 as interpolated."""
    car = of(evaluate([(found([(30.0, 0.0), (10.0, 0.0)], [0.9, 0.5]), truth([(10.0, 0.0)]))]), "car")
    # np.interp between (0, 0) and (1, 1/2): mean over recalls 0.01 ... 1 is 0.5 * mean(0.01 ... 1).
    assert car.ap_by_distance[0.5] == pytest.approx(0.5 * 0.505)


def test_half_the_truth_found_gives_half_the_curve(truth, found):
    car = of(evaluate([(found([(10.0, 0.0)], [0.9]), truth([(10.0, 0.0), (30.0, 0.0)]))]), "car")
    assert car.ap_by_distance[0.5] == pytest.approx(0.5)
    stock = EvaluationSettings(replace(LT3D, min_recall=0.1, min_precision=0.1))
    car = of(evaluate([(found([(10.0, 0.0)], [0.9]), truth([(10.0, 0.0), (30.0, 0.0)]))], stock), "car")
    # Recalls 0.11 ... 1: 40 of 90 at precision 1, rescaled by 0.9.
    assert car.ap_by_distance[0.5] == pytest.approx(40 / 90)


def test_one_true_box_is_found_only_once(truth, found):
    """The second prediction of the same car is a false positive, even though it is nearer.

    Recalls 0.01 ... 0.49 have precision 1; at 0.5 the last precision reached at that recall counts, which is 1/2.
    """
    car = of(evaluate([(found([(10.4, 0.0), (10.0, 0.0)], [0.9, 0.8]), truth([(10.0, 0.0), (30.0, 0.0)]))]), "car")
    assert car.ap_by_distance[0.5] == pytest.approx(0.495)
    assert car.errors["ate"] == pytest.approx(0.4)


def test_a_taken_box_leaves_the_next_nearest(truth, found):
    detections = found([(10.0, 0.0), (10.1, 0.0)], [0.9, 0.8])
    car = of(evaluate([(detections, truth([(10.0, 0.0), (11.5, 0.0)]))]), "car")
    assert car.ap_by_distance[2.0] == pytest.approx(1.0)
    assert car.ap_by_distance[1.0] == pytest.approx(0.495)


def test_matches_stay_within_frame_and_class(truth, found):
    report = evaluate(
        [
            (found([(10.0, 0.0)], [0.9]), truth([(20.0, 0.0)])),
            (found([(20.0, 0.0)], [0.9]), truth([(10.0, 0.0)])),
            (found([(20.0, 0.0)], [0.9], "truck"), truth([(20.0, 0.0)])),
        ]
    )
    assert report.ap["car"] == 0.0
    assert report.ap["truck"] is None
    assert of(report, "truck").predictions == 1


def test_of_equal_scores_the_later_prediction_goes_first(truth, found):
    """The development kit's order: the second box takes the car, the first one, right on it, comes too late."""
    car = of(evaluate([(found([(10.0, 0.0), (10.3, 0.0)], [0.5, 0.5]), truth([(10.0, 0.0)]))]), "car")
    assert car.errors["ate"] == pytest.approx(0.3)


def test_true_positive_errors_of_one_box(truth, found):
    sizes = {"sizes": [[2.0, 2.0, 1.5]]}
    detections = found([(10.0, 1.0)], [0.5], yaw=[3.0], velocity=[[3.0, 4.0]], **sizes)
    car = of(evaluate([(detections, truth([(10.0, 0.0)], yaw=[-3.0]))]), "car")
    assert car.errors == pytest.approx({"ate": 1.0, "ase": 0.5, "aoe": 2 * np.pi - 6.0, "ave": 5.0, "aae": 1.0})


def test_a_barrier_may_point_either_way_and_a_cone_anywhere(truth, found):
    pairs = [
        (found([(10.0, 0.0)], [0.5], "barrier", yaw=[np.pi]), truth([(10.0, 0.0)], "barrier", yaw=[0.1])),
        (found([(10.0, 0.0)], [0.5], "traffic_cone", yaw=[2.0]), truth([(10.0, 0.0)], "traffic_cone")),
    ]
    report = evaluate(pairs)
    assert of(report, "barrier").errors == pytest.approx({"ate": 0.0, "ase": 0.0, "aoe": 0.1})
    assert set(of(report, "traffic_cone").errors) == {"ate", "ase"}
    assert report.errors["ave"] is None
    assert report.errors["aoe"] == pytest.approx(0.1)
    assert report.errors["aae"] is None


def test_unknown_velocity_is_left_out_of_the_mean(truth, found):
    places = [(10.0, 0.0), (20.0, 0.0)]
    detections = found(places, [0.9, 0.8], velocity=[[1.0, 0.0], [7.0, 0.0]])
    half = of(evaluate([(detections, truth(places, velocity=[[0.0, 0.0], [np.nan, np.nan]]))]), "car")
    assert half.errors["ave"] == pytest.approx(1.0)
    # Nothing known counts as 1, like an error that was never measured, in nuScenes.
    none = of(evaluate([(detections, truth(places, velocity=[[np.nan, np.nan]] * 2))]), "car")
    assert none.errors["ave"] == 1.0


def test_boxes_without_extent_do_not_divide_by_zero(truth, found):
    flat = {"sizes": [[0.0, 0.0, 0.0]]}
    one = of(evaluate([(found([(10.0, 0.0)], [0.5], **flat), truth([(10.0, 0.0)], **flat))]), "car")
    assert one.ap == pytest.approx(1.0)
    assert one.errors["ase"] == 1.0


def test_classes_without_truth_take_no_part_in_means(truth, found):
    places = [(10.0, 0.0)]
    report = evaluate([(found(places, [0.5]), truth(places)), (found([]), truth(places, "child"))])
    assert report.map == pytest.approx(0.5)
    assert report.groups == {"many": pytest.approx(1.0), "medium": None, "few": 0.0}
    assert len(report.classes_without_truth) == 16
    assert of(report, "child").errors["ate"] == 1.0


def test_nothing_at_all():
    report = evaluate([])
    assert report.map is None
    assert report.frames == 0
    json.dumps(report.to_json())


def test_range_of_the_class_and_of_the_settings(truth, found):
    """Cars count to 50 m, cones to 30 m, both sides alike."""
    for name, beyond in (("car", 50.0), ("traffic_cone", 30.0)):
        report = evaluate([(found([(beyond, 0.0)], [0.9], name), truth([(0.0, beyond - 0.01), (0.0, beyond)], name))])
        assert (of(report, name).truth, of(report, name).predictions) == (1, 0)
    limited = EvaluationSettings(range_limit_m=40.0)
    report = evaluate([(found([(45.0, 0.0)], [0.9]), truth([(45.0, 0.0), (39.0, 0.0)]))], limited)
    assert (of(report, "car").truth, of(report, "car").predictions) == (1, 0)


def test_truth_that_no_sensor_saw_is_left_out_where_known(truth, found):
    labels = truth([(5.0, 0.0), (10.0, 0.0), (15.0, 0.0), (20.0, 0.0)])
    labels = Labels(
        labels.boxes,
        labels.class_ids,
        visible_pixels=np.array([-1, 19, 20, 50]),
        lidar_points=np.array([-1, 5, 5, 0]),
    )
    for settings, count in (
        (EvaluationSettings(min_lidar_points=0), 4),
        (EvaluationSettings(min_visible_pixels=20, min_lidar_points=0), 3),
        (EvaluationSettings(), 3),
        (EvaluationSettings(min_visible_pixels=20), 2),
    ):
        assert of(evaluate([(found([]), labels)], settings), "car").truth == count


def test_each_box_predicts_every_class_or_its_best(truth, found):
    detections = found([(10.0, 0.0)], [0.5])
    detections.confidences[0, 1] = 0.6
    labels = truth([(10.0, 0.0)])
    assert evaluate([(detections, labels)]).ap["car"] == pytest.approx(1.0)
    best = evaluate([(detections, labels)], EvaluationSettings(predictions="best"))
    assert best.ap["car"] == 0.0
    assert (of(best, "car").predictions, of(best, "truck").predictions) == (0, 1)


def test_only_the_most_confident_predictions_of_a_frame_count(truth, found):
    places = [(float(x), 0.0) for x in range(1, 11)]
    detections = found(places, np.linspace(0.1, 0.9, 10))
    report = evaluate([(detections, truth(places))] * 2, EvaluationSettings(replace(LT3D, max_boxes=4)))
    assert of(report, "car").predictions == 8
    assert of(report, "car").ap_by_distance[0.5] == pytest.approx(0.4)


@pytest.mark.filterwarnings("error")
def test_boxes_that_are_not_finite_are_no_predictions(truth, found):
    places = [(10.0, 0.0), (np.nan, 0.0), (12.0, 0.0), (np.inf, -np.inf), (1e200, 1e308)]
    detections = found(places, [0.5, 0.9, np.nan, 0.8, 0.8], velocity=np.full((5, 2), np.inf))
    car = of(evaluate([(detections, truth([(10.0, 0.0)], velocity=[[np.inf, 0.0]]))]), "car")
    assert car.predictions == 1
    assert car.errors["ave"] == 1.0


@pytest.mark.filterwarnings("error")
def test_boxes_larger_than_the_world_count_on_neither_side(truth, found):
    place, huge = (10.0, 0.0), [[1e308, 2.0, 1.5], [4.0, 2.0, 1.5]]
    for predicted, true, expected in (({"sizes": huge}, {}, (1, 2)), ({}, {"sizes": huge}, (2, 1))):
        detections = found([place] * 2, [0.9, 0.8], velocity=[[0.0, 0.0], [1e308, -1e308]], **predicted)
        car = of(evaluate([(detections, truth([place] * 2, **true))]), "car")
        assert (car.predictions, car.truth) == expected
        assert car.errors["ase"] == pytest.approx(0.0)


def test_detections_may_name_fewer_classes_in_another_order(truth, found):
    few = Detections(0, found([(10.0, 0.0)], [0.1]).boxes, np.array([[0.1, 0.9]]), ("child", "car"))
    assert evaluate([(few, truth([(10.0, 0.0)]))]).ap["car"] == pytest.approx(1.0)


def test_classes_that_nobody_evaluates_are_named(truth, found):
    boxes = found([(10.0, 0.0)], [0.1]).boxes
    report = evaluate([(Detections(0, boxes, np.array([[0.9, 0.5]]), ("tram", "car")), truth([(10.0, 0.0)]))])
    assert report.ap["car"] == pytest.approx(1.0)
    assert of(report, "car").predictions == 1
    assert report.unknown_classes == ("tram",)
    assert "tram" in str(report_table(report).caption)


@pytest.mark.parametrize(
    "wrong",
    [{"range_limit_m": 0.0}, {"predictions": "some"}, {"absent_classes": "half"}, {"min_confidence": 1.0}],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        EvaluationSettings(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"distances": ()},
        {"distances": (0.5, -1.0)},
        {"tp_distance": 3.0},
        {"min_recall": 1.0},
        {"min_precision": 1.0},
        {"max_boxes": 0},
    ],
)
def test_rules_out_of_range_are_named(wrong):
    with pytest.raises(ConfigurationError, match=f"'lt3d': '{next(iter(wrong))}'"):
        replace(LT3D, **wrong)


def test_report_as_json_and_as_table(truth, found, tmp_path):
    places = [(10.0, 0.0), (20.0, 0.0)]
    report = evaluate([(found(places, [0.9, 0.8]), truth(places))])
    report.save(tmp_path / "made" / "report.json")
    saved = json.loads((tmp_path / "made" / "report.json").read_text())
    assert saved["map"] == pytest.approx({"all": 1.0, "many": 1.0, "medium": None, "few": None})
    assert saved["classes"]["car"]["ap_by_distance"]["0.5"] == pytest.approx(1.0)
    assert saved["classes"]["child"]["ap"] is None
    assert saved["settings"]["protocol"]["distances"] == [0.5, 1.0, 2.0, 4.0]
    console = Console(width=200, record=True, file=(tmp_path / "table.txt").open("w"))
    console.print(report_table(report))
    text = console.export_text()
    assert "1.000" in next(line for line in text.splitlines() if " car " in line)
    assert "mean few" in text

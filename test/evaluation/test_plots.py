"""Pictures of an evaluation."""

from __future__ import annotations

import warnings
from dataclasses import replace

import cv2
import numpy as np

from semlt3d_ros.core.classes import ClassInfo, ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.evaluation import EvaluationSettings, evaluate, protocol_of
from semlt3d_ros.evaluation.plots import save_plots


def pixels(path, color):
    """How many pixels of a picture have about this colour, RGB."""
    picture = cv2.imread(str(path))[..., ::-1].astype(int)
    return int((np.abs(picture - color).max(axis=2) < 30).sum())


def test_pictures_show_what_was_measured(truth, found, tmp_path):
    places = [(10.0, 0.0), (20.0, 0.0)]
    report = evaluate(
        [
            (found([*places, (30.0, 0.0)], [0.9, 0.5, 0.7]), truth(places)),
            (found([]), truth(places, "child")),
        ]
    )
    written = save_plots(report, tmp_path / "plots")
    names = ["precision_recall_many.png", "precision_recall_few.png", "confusion.png", "calibration.png"]
    assert [path.name for path in written] == names
    many, few, confusion, calibration = written
    # The line of the largest distance lies on top, in matplotlib's red. Without a curve it is only in the legend.
    assert pixels(many, (214, 39, 40)) > pixels(few, (214, 39, 40)) + 100
    # Both cars are found and both children missed: two cells of the darkest blue.
    assert pixels(confusion, (8, 48, 107)) > 2000
    # The measured curve and the bar of the one class.
    assert pixels(calibration, (31, 119, 180)) > 1000


def test_names_in_any_script_are_no_warning(truth, found, tmp_path):
    places = [(10.0, 0.0)]
    class_list = ClassList("street", (ClassInfo("自行车"),))
    labels = replace(truth(places), class_ids=np.zeros(1, np.int64), class_names=class_list.names)
    answer = found(places, [0.9])
    answer = Detections(answer.stamp, answer.boxes, np.full((1, 1), 0.9, np.float32), class_list.names)
    report = evaluate([(answer, labels)], EvaluationSettings(protocol_of(class_list)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(save_plots(report, tmp_path / "plots")) == 3


def test_nothing_to_show_is_no_picture(tmp_path):
    assert save_plots(evaluate([]), tmp_path) == []

"""Average precision among objects that have a box: values by hand, chance, and how frequent classes are."""

import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.evaluation import EvaluationSettings
from semlt3d_ros.evaluation.given_box import Named, named, naming_precisions

SETTINGS = EvaluationSettings()
NAMES = SETTINGS.protocol.class_names
CAR, BUS = NAMES.index("car"), NAMES.index("bus")
ONCE = np.ones((1, 1), np.int64)


def boxes_at(*places: tuple[float, float]) -> Boxes3D:
    count = len(places)
    centers = np.column_stack([np.array(places, float).reshape(-1, 2), np.zeros(count)])
    return Boxes3D(centers, np.tile([4.0, 2.0, 1.5], (count, 1)), np.zeros(count), np.zeros((count, 2)))


def said(*rows: dict[int, float]) -> np.ndarray:
    confidences = np.zeros((len(rows), len(NAMES)), np.float32)
    for row, each in enumerate(rows):
        for column, value in each.items():
            confidences[row, column] = value
    return confidences


def test_a_box_speaks_of_the_object_nearest_to_it_and_the_highest_of_several_counts() -> None:
    labels = Labels(boxes_at((5.0, 0.0), (6.5, 0.0), (-20.0, 0.0)), np.array([CAR, BUS, BUS]))
    found = Detections(
        0,
        boxes_at((5.2, 0.0), (6.4, 0.0), (6.9, 0.0), (-20.0, 2.5)),
        said({CAR: 0.4, BUS: 0.1}, {CAR: 0.3}, {CAR: 0.2, BUS: 0.6}, {BUS: 0.9}),
    )
    objects = named([(3, found, labels)], SETTINGS)
    np.testing.assert_array_equal(objects.class_ids, [CAR, BUS])
    np.testing.assert_allclose(objects.scores[:, [CAR, BUS]], [[0.4, 0.1], [0.3, 0.6]])
    np.testing.assert_array_equal(objects.drives, [3, 3])


def ranked(class_ids: list[int], *scores: list[float], drives: list[int] | None = None) -> Named:
    return Named(
        np.array(class_ids), np.array(scores, np.float32).T, np.array(drives or [0] * len(class_ids), np.int64)
    )


def test_precision_by_hand_with_classes_that_weigh_alike() -> None:
    # Ranked by class 0: a 1, then a 0, then both others. The two 1s weigh a half each, as the two 0s do.
    objects = ranked([1, 0, 0, 1], [0.9, 0.8, 0.3, 0.3], [0.5, 0.0, 0.0, 0.5])
    zero, one = naming_precisions(objects, ONCE)[0]
    assert zero == pytest.approx((0.5 / 1.0 + 1.0 / 2.0) / 2) and one == pytest.approx(1.0)
    # What was never said of an object does not find it, however few there are.
    assert naming_precisions(ranked([0, 0, 1], [0.2, 0.0, 0.0], [0.1, 0.1, 0.1]), ONCE)[0, 0] == pytest.approx(0.5)


def test_how_frequent_classes_are_changes_nothing() -> None:
    random = np.random.default_rng(1)
    class_ids, scores = np.repeat([0, 1, 2], 40), random.random((120, 3)).astype(np.float32)
    objects = Named(class_ids, scores, np.zeros(120, np.int64))
    more = np.concatenate([np.arange(120), np.repeat(np.arange(40), 9)])  # class 0 ten times as often
    often = Named(class_ids[more], scores[more], np.zeros(len(more), np.int64))
    np.testing.assert_allclose(naming_precisions(often, ONCE), naming_precisions(objects, ONCE), atol=1e-5)
    same = Named(class_ids, np.full((120, 3), 0.5, np.float32), np.zeros(120, np.int64))
    np.testing.assert_allclose(naming_precisions(same, ONCE), 1 / 3)


def test_drives_count_as_often_as_they_are_drawn() -> None:
    random = np.random.default_rng(2)
    class_ids, drives = random.integers(0, 3, 60), np.repeat(np.arange(4), 15)
    objects = Named(class_ids, random.random((60, 3)).astype(np.float32), drives)
    counts = np.array([[1, 0, 2, 0], [0, 0, 0, 1]])
    for row, times in zip(naming_precisions(objects, counts), counts, strict=True):
        taken = np.repeat(np.arange(60), times[drives])
        drawn = Named(class_ids[taken], objects.scores[taken], np.zeros(len(taken), np.int64))
        np.testing.assert_allclose(row, naming_precisions(drawn, ONCE)[0])
    nobody = Named(np.zeros(0, np.int64), np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    assert np.isnan(naming_precisions(nobody, ONCE)).all()

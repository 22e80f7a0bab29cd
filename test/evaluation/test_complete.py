"""What lies where ground truth is not complete takes no part in an evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.labelled_region import NEAR_M, LabelledRegion, ViewWindow
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.evaluation import evaluate
from semlt3d_ros.evaluation.complete import LeftOut, where_labelled

AHEAD = rigid.transform((1.0, 0.0, 1.5), np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
REGION = LabelledRegion((ViewWindow(AHEAD, -0.5, -0.3, 0.5, 0.3),), (ViewWindow(AHEAD, 0.2, -0.3, 0.4, 0.3),))
PLACES = st.lists(st.tuples(st.floats(-45, 45), st.floats(-45, 45)), max_size=12)


def boxes_at(places: list[tuple[float, float]]) -> Boxes3D:
    count = len(places)
    centers = np.array([(x, y, 1.0) for x, y in places], np.float64).reshape(count, 3)
    return Boxes3D(centers, np.ones((count, 3)), np.zeros(count), np.zeros((count, 2)))


def frame(found: list[tuple[float, float]], true: list[tuple[float, float]]) -> tuple[Detections, Labels]:
    confidences = np.zeros((len(found), len(CLASS_NAMES)), np.float32)
    confidences[:, 0] = np.linspace(0.9, 0.3, len(found))
    labels = Labels(boxes_at(true), np.zeros(len(true), np.int64), lidar_points=np.full(len(true), 9))
    return Detections(7, boxes_at(found), confidences), labels


@given(PLACES, PLACES)
def test_only_what_is_labelled_counts(found: list[tuple[float, float]], true: list[tuple[float, float]]) -> None:
    left_out = LeftOut()
    detections, labels = frame(found, true)
    [(kept, objects)] = where_labelled([(detections, labels, REGION)], left_out)
    assert left_out.detections == len(found) - len(kept) and left_out.objects == len(true) - len(objects.boxes)
    assert REGION.contains(objects.boxes.centers).all()
    assert len(objects.boxes) == REGION.contains(labels.boxes.centers).sum()
    means_one = [
        bool(inside) or any(np.hypot(*(center[:2] - each[:2])) < NEAR_M for each in objects.boxes.centers)
        for center, inside in zip(detections.boxes.centers, REGION.contains(detections.boxes.centers), strict=True)
    ]
    np.testing.assert_array_equal(kept.boxes.centers, detections.boxes.centers[np.array(means_one, bool)])


def test_a_false_positive_is_one_only_where_it_would_have_been_labelled() -> None:
    seen, behind, left_out_place = (20.0, 1.0), (-20.0, 0.0), (21.0, -6.0)
    assert REGION.contains(boxes_at([seen, behind, left_out_place]).centers).tolist() == [True, False, False]
    frames = [frame([behind, left_out_place, seen], [seen, behind])]
    counted = where_labelled([(*each, REGION) for each in frames], LeftOut())
    assert evaluate(frames).ap["car"] < 0.9
    assert evaluate(counted).ap["car"] == pytest.approx(1.0)


def test_an_object_at_the_edge_may_be_found_on_the_other_side() -> None:
    edge, beside = (21.0, 9.9), (21.0, 10.3)
    [(kept, labels)] = where_labelled([(*frame([beside], [edge]), REGION)], LeftOut())
    assert len(kept) == len(labels.boxes) == 1


@given(PLACES, PLACES)
def test_without_a_region_everything_counts(found: list[tuple[float, float]], true: list[tuple[float, float]]) -> None:
    left_out = LeftOut()
    given_frame = frame(found, true)
    [(kept, objects)] = where_labelled([(*given_frame, LabelledRegion())], left_out)
    assert kept is given_frame[0] and objects is given_frame[1] and left_out == LeftOut()

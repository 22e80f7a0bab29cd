"""mIoU: by hand, against scikit-learn, and what is not judged."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score

from semlt3d_ros.evaluation.segmentation import count_points, segmentation_of

NAMES = ("car", "adult", "ground", "other")


def figures(truth, predicted):
    return segmentation_of([count_points(np.array(truth), np.array(predicted), len(NAMES))], NAMES)


def test_by_hand() -> None:
    # car: 2 right, 1 missed, 1 invented; adult: 0 right, 1 missed; ground: 1 right, 1 invented; nobody is other
    found = figures([0, 0, 0, 1, 2], [0, 0, 2, 0, 2])
    assert found.iou == {"car": 0.5, "adult": 0.0, "ground": 0.5, "other": None}
    assert found.miou == pytest.approx(1 / 3) and found.accuracy == pytest.approx(0.6)
    told = json.loads(json.dumps(found.to_json()))
    assert told["points"] == {"car": 3, "adult": 1, "ground": 1, "other": 0} and told["iou"]["other"] is None


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_as_scikit_learn_has_it(pairs) -> None:
    truth, predicted = np.array(pairs).T
    known = truth >= 0
    found = figures(truth, predicted)
    if not known.any():
        assert found is None
        return
    there = sorted(set(truth[known].tolist()))
    theirs = jaccard_score(truth[known], predicted[known], labels=there, average=None)
    assert [found.iou[NAMES[each]] for each in there] == pytest.approx(theirs.tolist())
    assert found.miou == pytest.approx(theirs.mean())
    assert found.accuracy == pytest.approx(accuracy_score(truth[known], predicted[known]))


def test_a_point_of_which_nothing_is_said_is_missed() -> None:
    assert figures([0, 0, 2], [0, -1, 2]).iou["car"] == 0.5


def test_points_of_which_nobody_knows_are_not_judged() -> None:
    assert figures([-1, -1, 2], [0, 3, 2]).miou == 1.0
    assert segmentation_of([], NAMES) is None


def test_clouds_add_up_before_they_are_divided() -> None:
    counts = [count_points(np.array(t), np.array(p), 4) for t, p in (([0], [0]), ([0, 0, 0], [2, 2, 2]))]
    assert segmentation_of(counts, NAMES).iou["car"] == 0.25


@pytest.mark.parametrize(("truth", "predicted"), [([0, 1], [0]), ([4], [0]), ([0], [5]), ([-2], [0])])
def test_what_is_no_class_is_refused(truth, predicted) -> None:
    with pytest.raises(ValueError, match=r"predictions for|must be 0 to 3"):
        count_points(np.array(truth), np.array(predicted), 4)

"""Expected calibration error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semlt3d_ros.evaluation import evaluate, expected_calibration_error, reliability


def test_the_error_worked_out_on_paper():
    """Two bins: 0.2 and 0.4 (mean 0.3) with none right, 0.9 with one of one right; weights 2/3 and 1/3."""
    scores, hits = [0.2, 0.4, 0.9], [False, False, True]
    assert expected_calibration_error(scores, hits, bins=2) == pytest.approx((2 * 0.3 + 0.1) / 3)
    shown = reliability(scores, hits, bins=2)
    assert shown.confidence == pytest.approx([0.3, 0.9])
    assert shown.precision.tolist() == [0.0, 1.0]
    assert shown.count.tolist() == [2, 1]


def test_bins_of_equal_mass():
    scores, hits = [0.1, 0.2, 0.3, 0.35], [False, False, True, True]
    shown = reliability(scores, hits, bins=2, equal_mass=True)
    assert shown.count.tolist() == [2, 2]
    assert shown.confidence == pytest.approx([0.15, 0.325])
    assert shown.precision.tolist() == [0.0, 1.0]


def test_predictions_that_keep_their_word_are_calibrated():
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    assert expected_calibration_error(scores, rng.random(len(scores)) < scores) < 0.01
    assert expected_calibration_error(scores**3, rng.random(len(scores)) < scores) > 0.15


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    arrays(np.float32, st.integers(0, 40), elements=st.floats(0, 1, width=32)),
    st.integers(1, 20),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_bins_hold_everything_once_and_the_error_is_a_share(scores, bins, equal_mass, random):
    hits = np.array([random.random() < 0.5 for _ in scores], bool)
    shown = reliability(scores, hits, bins, equal_mass)
    assert shown.count.sum() == len(scores)
    assert (shown.confidence @ shown.count, shown.precision @ shown.count) == pytest.approx(
        (scores.sum(dtype=float), hits.sum()), abs=1e-6
    )
    assert (shown.error is None) == (len(scores) == 0)
    # No binning can tell more than the gap of all predictions taken together.
    if len(scores):
        assert abs(scores.mean(dtype=float) - hits.mean()) - 1e-6 <= shown.error <= 1


@pytest.mark.parametrize(
    ("scores", "hits", "bins", "message"),
    [
        ([0.5], [True, False], 10, "hits"),
        ([1.5], [True], 10, "sigmoid"),
        ([np.nan], [True], 10, "sigmoid"),
        ([0.5], [True], 0, "bins"),
    ],
)
def test_what_is_no_confidence_is_refused(scores, hits, bins, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(scores, hits, bins)


def test_reports_have_the_error_of_each_class_and_of_all(truth, found):
    """Cars: 0.9 right and 0.7 wrong. Adults: 0.3 wrong."""
    report = evaluate(
        [
            (found([(10.0, 0.0), (40.0, 0.0)], [0.9, 0.7]), truth([(10.0, 0.0)])),
            (found([(10.0, 0.0)], [0.3], "adult"), truth([])),
        ]
    )
    errors = {result.name: result.reliability.error for result in report.classes if result.predictions}
    assert errors == {"car": pytest.approx((0.1 + 0.7) / 2), "adult": pytest.approx(0.3)}
    assert report.calibration_error == pytest.approx((0.1 + 0.7 + 0.3) / 3)
    assert report.mean_calibration_error == pytest.approx((0.4 + 0.3) / 2)
    figures = report.to_json()
    assert figures["calibration"]["expected_calibration_error"] == pytest.approx(1.1 / 3)
    assert figures["classes"]["car"]["calibration"]["count"] == [1, 1]
    assert figures["classes"]["bus"]["calibration"]["expected_calibration_error"] is None


def test_confidences_beyond_one_do_not_end_an_evaluation(truth, found):
    report = evaluate([(found([(10.0, 0.0)], [1.5]), truth([(10.0, 0.0)]))])
    assert report.ap["car"] == pytest.approx(1.0)
    assert report.calibration_error == pytest.approx(0.0)

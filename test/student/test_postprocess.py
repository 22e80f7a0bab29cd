"""From network output to detections."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.inference.postprocess import localisation_confidence, postprocess, suppressed
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput


def layer(centers, logits, log_scale=-4.0) -> LayerOutput:
    count = len(centers)
    codes = torch.zeros(1, count, 10)
    codes[..., 7] = 1.0
    values = torch.full((1, count, 18), -12.0)
    for row, (column, value) in enumerate(logits):
        values[0, row, column] = value
    references = torch.tensor([centers], dtype=torch.float32)
    return LayerOutput(values, codes, torch.full((1, count), log_scale), references, torch.zeros(1, count, 4))


def test_the_lesser_of_two_close_boxes_of_a_class_is_dropped_but_not_of_another(config) -> None:
    centers = [[10.0, 0, 1], [10.5, 0, 1], [10.2, 0, 1], [13.0, 0, 1]]
    (found,) = postprocess(layer(centers, [(0, 1.0), (0, 2.0), (8, 0.5), (0, 0.0)]), [7], config)
    assert found.stamp == 7 and sorted(found.boxes.centers[:, 0].round(1)) == [10.2, 10.5, 13.0]
    assert list(found.class_ids) == [0, 8, 0] and (np.diff(found.scores) <= 0).all()


def test_every_pair_of_close_boxes_loses_its_lesser(config) -> None:
    """Two pairs far apart: the loser of the first must not end the search."""
    centers = [[10.0, 0, 1], [10.5, 0, 1], [30.0, 0, 1], [30.5, 0, 1]]
    (found,) = postprocess(layer(centers, [(0, 4.0), (0, 3.0), (0, 2.0), (0, 1.0)]), [0], config)
    assert sorted(found.boxes.centers[:, 0].round(1)) == [10.0, 30.0]


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_suppression_goes_from_the_best_box_down(seed: int, count: int, classes: int) -> None:
    config = StudentConfig()
    random = np.random.default_rng(seed)
    centers = random.uniform(0, 4, (count, 2)).astype(np.float32)
    # Few different scores, so that many are equal, and some below the floor.
    scores = random.integers(0, 6, (count, classes)).astype(np.float32) / 6
    expected = np.zeros_like(scores)
    for column in range(classes):
        kept: list[int] = []
        for index in np.argsort(-scores[:, column], kind="stable"):
            gaps = np.sqrt(((centers[kept] - centers[index]) ** 2).sum(axis=1))
            if scores[index, column] >= config.score_floor and (gaps >= config.suppression_radius_m).all():
                kept.append(index)
        expected[kept, column] = scores[kept, column]
    np.testing.assert_array_equal(suppressed(centers, scores, config), expected)


def test_equal_boxes_leave_one(config) -> None:
    (found,) = postprocess(layer([[10.0, 0, 1]] * 3, [(0, 1.0)] * 3), [0], config)
    assert len(found) == 1


def test_uncertain_range_lowers_the_confidence(config) -> None:
    sure = postprocess(layer([[10.0, 0, 1]], [(0, 2.0)], -3.0), [0], config)[0]
    unsure = postprocess(layer([[10.0, 0, 1]], [(0, 2.0)], 1.0), [0], config)[0]
    assert sure.scores[0] > 1.5 * unsure.scores[0] and sure.depth_uncertainty[0] < unsure.depth_uncertainty[0]
    assert torch.allclose(localisation_confidence(torch.tensor(1e-6)), torch.tensor(1.0))
    assert localisation_confidence(torch.tensor(1e6)) < 1e-4


def test_boxes_that_are_not_finite_or_too_weak_never_leave(config) -> None:
    output = layer([[10.0, 0, 1], [20.0, 0, 1], [30.0, 0, 1]], [(0, 2.0), (1, 2.0), (2, -11.0)])
    output.codes[0, 0, 0] = torch.nan
    (found,) = postprocess(output, [0], config)
    assert len(found) == 1 and found.class_ids[0] == 1


def test_only_the_best_boxes_are_given_out(config) -> None:
    output = layer([[10.0, 0, 1], [20.0, 0, 1], [30.0, 0, 1]], [(0, 1.0), (1, 3.0), (2, 2.0)])
    (found,) = postprocess(output, [0], replace(config, max_boxes=2))
    assert list(found.class_ids) == [1, 2]

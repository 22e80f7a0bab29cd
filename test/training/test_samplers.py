"""Weights of clips by what is in them: rare classes more often, nothing never."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.training.samplers import (
    LEAST_WEIGHT,
    Sampling,
    class_balanced,
    classes_in,
    clip_weights,
    repeat_factors,
)


@st.composite
def counted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Clips of 1 to 6 frames, and in how many of them each class is."""
    clips, classes = draw(st.integers(1, 30)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    frames = rng.integers(1, 7, clips)
    chance = rng.random(classes) ** 3
    return rng.binomial(frames[:, None], chance[None]), frames


drawn = settings(max_examples=60, deadline=None)


@drawn
@given(counts=counted(), rare_below=st.floats(0.001, 1.0))
def test_a_repeat_factor_is_that_of_the_rarest_class_in_the_clip(counts, rare_below) -> None:
    holding, frames = counts
    factors = repeat_factors(holding, frames, rare_below)
    share = holding.sum(0) / frames.sum()
    assert (factors >= 1).all()
    for row, factor in zip(holding, factors, strict=True):
        rarest = min([share[c] for c in np.flatnonzero(row)], default=1.0)
        assert factor == pytest.approx(max(1.0, (rare_below / rarest) ** 0.5))


@drawn
@given(counts=counted())
def test_clips_of_frequent_classes_alone_are_played_once(counts) -> None:
    holding, frames = counts
    rare = holding.sum(0) / frames.sum() < 0.3
    factors = repeat_factors(holding, frames, 0.3)
    only_frequent = ~(holding[:, rare] > 0).any(1)
    assert (factors[only_frequent] == 1).all() and (factors[~only_frequent] > 1).all()
    assert (repeat_factors(holding, frames, 0.0) == 1).all()


@drawn
@given(counts=counted())
def test_balanced_weights_give_every_class_its_share(counts) -> None:
    """What a class draws for itself is equal; the clips that no class draws are lifted to the least weight."""
    holding, frames = counts
    assume(holding.any())
    weights = class_balanced(holding, frames)
    assert (weights >= LEAST_WEIGHT).all()
    drawing = holding.sum(0) > 0
    own = holding[:, drawing] / holding[:, drawing].sum(0)
    expected = own.sum(1) / frames / drawing.sum() * frames.sum()
    assert weights == pytest.approx(np.maximum(expected, LEAST_WEIGHT))
    lifted = expected < LEAST_WEIGHT
    assert (weights * frames)[~lifted].sum() <= frames.sum() + 1e-6


def test_classes_in_clips_of_their_own_are_played_equally_often() -> None:
    holding = np.array([[4, 0, 0]] * 90 + [[0, 4, 0]] * 9 + [[0, 0, 4]])
    frames = np.full(100, 4)
    played = (class_balanced(holding, frames)[:, None] * holding).sum(0)
    assert played / played.sum() == pytest.approx([1 / 3] * 3) and played.sum() == pytest.approx(400)
    # A repeat factor goes half of the way, in logarithms: 90, 9 and 1 parts become 90, 27 and 9.
    repeated = (repeat_factors(holding, frames, 0.81)[:, None] * holding).sum(0)
    assert repeated / repeated[0] == pytest.approx([1, 0.3, 0.1])


@pytest.mark.parametrize("kind", ["alike", "repeat_factor", "class_balanced"])
def test_clips_without_objects_are_played_too(kind: str) -> None:
    holding, frames = np.array([[3, 0], [0, 1], [0, 0]]), np.array([3, 3, 3])
    weights = clip_weights(Sampling(kind), holding, frames)
    assert weights[2] == (LEAST_WEIGHT if kind == "class_balanced" else 1)
    assert (clip_weights(Sampling(kind), np.zeros((2, 3), np.int64), frames[:2]) == 1).all()


def test_what_training_does_not_learn_does_not_count() -> None:
    centers = np.array([[5.0, 0, 0], [60, 0, 0], [0, 6, 0], [0, -7, 0], [8, 0, 0]])
    boxes = Boxes3D(centers, np.ones((5, 3)), np.zeros(5), np.zeros((5, 2)))
    labels = Labels(boxes, np.array([0, 1, 2, 3, -1]), visible_pixels=np.array([9, 900, 3, -1, 9]))
    assert np.flatnonzero(classes_in(labels, 18, 45.0, 6)).tolist() == [0, 3]
    assert not classes_in(None, 18, 45.0, 6).any()


def test_a_share_is_a_share() -> None:
    with pytest.raises(ConfigurationError, match="rare_below"):
        Sampling("repeat_factor", 1.5)

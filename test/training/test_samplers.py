"""Weights of clips by what is in them: rare classes more often, nothing never."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.source import Part
from semlt3d_ros.training.samplers import (
    LEAST_WEIGHT,
    Sampling,
    class_balanced,
    clip_weights,
    repeat_factors,
    weighted,
)
from semlt3d_ros.training.streams import play


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


def test_a_share_is_a_share() -> None:
    with pytest.raises(ConfigurationError, match="rare_below"):
        Sampling("repeat_factor", 1.5)


@st.composite
def clips_of_parts(draw: st.DrawFn) -> tuple[list[Part], np.ndarray]:
    """Parts of clips in blocks, and which of three classes each frame has; the first is in every frame."""
    parts, start = [], 0
    for _ in range(draw(st.integers(1, 3))):
        blocks = []
        for _ in range(draw(st.integers(1, 3))):
            lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
            ends = start + np.cumsum(lengths)
            blocks.append([range(int(end) - length, int(end)) for end, length in zip(ends, lengths, strict=True)])
            start = int(ends[-1])
        parts.append(Part(blocks))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    return parts, np.stack([np.ones(start, bool), rng.random(start) < 0.3, rng.random(start) < 0.1], axis=1)


@settings(max_examples=30, deadline=None)
@given(drives=clips_of_parts(), kind=st.sampled_from(["repeat_factor", "class_balanced"]), seed=st.integers(0, 99))
def test_clips_are_played_as_often_as_they_weigh_and_the_same_after_a_resume(drives, kind, seed) -> None:
    parts, there = drives
    heavier = weighted(parts, Sampling(kind, 0.5), lambda index: there[index])
    assert [part.blocks for part in heavier] == [part.blocks for part in parts]
    clips = [clip for part in parts for block in part.blocks for clip in block]
    weights = np.concatenate([part.weights for part in heavier])
    frames = np.array([len(clip) for clip in clips])
    passes = 60
    steps = round(passes * float(weights @ frames))
    played = [step[0] for step in play(heavier, 1, steps, seed)]
    started = [frame.index for frame in played if frame.first]
    counts = np.array([started.count(clip.start) for clip in clips])
    # Each pass rounds by chance, by which clips are played more or less often and passes are longer or shorter; the
    # last one may not be whole. Five standard deviations of both.
    rounding = weights % 1 * (1 - weights % 1)
    longer = np.sqrt(passes * (frames**2 @ rounding)) / (weights @ frames)
    apart = 5 * (np.sqrt(passes * rounding) + weights * longer) + weights + 1
    assert (np.abs(counts - passes * weights) <= apart).all() and (counts > 0).all()
    again = list(play(heavier, 1, steps, seed, first_step=steps // 3))
    assert [step[0] for step in again] == played[steps // 3 :]


def test_without_a_sampler_no_labels_are_asked_for() -> None:
    def never(index: int) -> np.ndarray:
        raise AssertionError

    parts = [Part([[range(0, 2)]], share=0.5)]
    assert weighted(parts, Sampling(), never) == parts


def test_parts_keep_their_shares() -> None:
    there = np.array([[True, False]] * 9 + [[True, True]])
    parts = [Part([[range(0, 5)]], share=0.7), Part([[range(5, 9), range(9, 10)]])]
    heavier = weighted(parts, Sampling("repeat_factor", 0.4), lambda index: there[index])
    assert [part.share for part in heavier] == [0.7, None]
    assert heavier[0].weights == [1.0] and heavier[1].weights == pytest.approx([1.0, 2.0])

"""What a classifier and a CLIP say, in one: properties, and the fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.semantics.fusion import Fusion, ambiguity, logit, sureness
from semlt3d_ros.semantics.fusion_fit import Looked, fit_fusion, fit_least_ambiguity, fit_values

NAMES = ("car", "child", "stroller", "debris", "barrier")


@st.composite
def opinions(draw, names=NAMES):
    """Confidences, cosines and a fusion; the latter with weights for none, or for all of the names."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, 5))
    confidences = rng.random((count, len(names))).astype(np.float32)
    confidences[rng.random(confidences.shape) < 0.2] = 0.0
    cosines = rng.uniform(-1, 1, confidences.shape)
    single = dict(zip(names, rng.uniform(0, 2, len(names)), strict=True)) if draw(st.booleans()) else {}
    fusion = Fusion(*rng.uniform(0.3, 2, 3), rng.normal(), single, {name: float(rng.normal()) for name in single})
    return confidences, cosines, fusion


@given(opinions(), st.floats(1, 100))
@settings(max_examples=60, deadline=None)
def test_confidences_stay_confidences_and_what_was_suppressed_stays_so(given_, scale):
    confidences, cosines, fusion = given_
    shares = fusion.shares(cosines, scale)
    np.testing.assert_allclose(np.exp(shares).sum(axis=1), 1.0)
    fused = fusion(confidences, shares, NAMES)
    assert fused.dtype == np.float32 and fused.shape == confidences.shape
    assert np.isfinite(fused).all() and (fused >= 0).all() and (fused <= 1).all()
    assert ((fused == 0) >= (confidences == 0)).all()


@given(opinions(), st.permutations(range(len(NAMES))))
@settings(max_examples=40, deadline=None)
def test_the_order_of_names_does_not_matter(given_, order):
    confidences, cosines, fusion = given_
    order, names = list(order), [NAMES[k] for k in order]
    fused = fusion(confidences, fusion.shares(cosines, 15.0), NAMES)
    turned = fusion(confidences[:, order], fusion.shares(cosines[:, order], 15.0), names)
    np.testing.assert_allclose(turned, fused[:, order], rtol=1e-5)


@given(opinions())
@settings(max_examples=40, deadline=None)
def test_a_clip_that_finds_all_names_equally_fitting_changes_nothing(given_):
    confidences, cosines, fusion = given_
    same = np.tile(cosines[:, :1], (1, len(NAMES)))
    fused = fusion(confidences, fusion.shares(same, 100.0), NAMES)
    np.testing.assert_allclose(fused, confidences, atol=1e-6)


@given(opinions(), st.floats(2, 200))
@settings(max_examples=30, deadline=None)
def test_temperature_goes_with_the_scale_of_the_clip(given_, scale):
    """A real CLIP's cosines lie close together, and its scale makes up for it: the same temperature means the same."""
    _, cosines, fusion = given_
    np.testing.assert_allclose(fusion.shares(cosines, 15.0), fusion.shares(cosines * 15.0 / scale, scale), atol=1e-6)


@given(opinions(), st.integers(0, len(NAMES) - 1), st.floats(0.3, 1))
@settings(max_examples=40, deadline=None)
def test_a_sure_clip_lifts_the_name_it_gives_and_lowers_the_others(given_, column, margin):
    confidences = np.clip(given_[0], 0.1, 0.9)
    fusion = Fusion()
    cosines = np.zeros_like(confidences, np.float64)
    cosines[:, column] = margin
    fused = fusion(confidences, fusion.shares(cosines, 30.0), NAMES)
    others = np.arange(len(NAMES)) != column
    assert (fused[:, column] > confidences[:, column]).all() and (fused < confidences)[:, others].all()


def test_a_single_name_and_no_boxes_are_no_trouble():
    fusion = Fusion()
    one = np.array([[0.4], [0.9]], np.float32)
    np.testing.assert_allclose(fusion(one, fusion.shares(np.zeros((2, 1)), 10.0), ["car"]), one, rtol=1e-5)
    nothing = np.zeros((0, len(NAMES)), np.float32)
    assert fusion(nothing, fusion.shares(nothing, 10.0), NAMES).shape == (0, len(NAMES))
    assert sureness(np.log(np.array([[0.2] * 5, [1, 0, 0, 0, 0]]) + 1e-300)).ravel() == pytest.approx([0.0, 1.0])


def test_the_ambiguous_are_those_that_are_neither_sure_nor_hardly_anything():
    confidences = np.array([[0.99, 0, 0], [0.5, 0.4, 0], [0.01, 0.01, 0.01], [0, 0, 0]])
    doubt = ambiguity(confidences, np.ones(3))
    assert doubt.argmax() == 1 and doubt[3] == 0.0
    rare = ambiguity(np.array([[0.3, 0.0, 0.0], [0.0, 0.3, 0.0]]), np.array([0.5, 2.0, 1.0]))
    assert rare[1] == pytest.approx(4 * rare[0])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"own": -1.0}, "own must be positive"),
        ({"weights": {"car": 1.0}}, "of the same classes"),
        ({"weights": {"car": -1.0}, "offsets": {"car": 0.0}}, "weights must not be negative"),
    ],
)
def test_a_fusion_that_means_nothing_is_refused(values, words):
    with pytest.raises(ConfigurationError, match=words):
        Fusion(**values)


def a_world(boxes=1500, knowing=1.0, seed=0):
    """Boxes of classes of very different frequency, a classifier that mixes them up, a CLIP that sees some of it."""
    rng = np.random.default_rng(seed)
    classes = len(NAMES)
    truth = rng.choice(classes, boxes, p=[0.6, 0.2, 0.05, 0.05, 0.1])
    signal = rng.normal(size=(boxes, classes)) - 2.0
    signal[np.arange(boxes), truth] += 1.5
    confidences = 1 / (1 + np.exp(-signal))
    cosines = 0.1 * rng.normal(size=(boxes, classes))
    cosines[np.arange(boxes), truth] += 0.2 * knowing
    hits = np.eye(classes, dtype=bool)[truth]
    return Looked(confidences.astype(np.float32), cosines.astype(np.float32), hits, np.ones_like(hits))


def surprise(looked, fusion):
    said = logit(fusion(looked.confidences, fusion.shares(looked.cosines, 15.0), NAMES))
    return (np.logaddexp(0, said) - looked.hits * said).mean()


def own_surprise(looked):
    said = logit(looked.confidences)
    return (np.logaddexp(0, said) - looked.hits * said).mean()


def test_the_fit_takes_what_a_clip_knows_and_not_what_it_does_not():
    other = a_world(seed=1)
    fitted = fit_fusion(a_world(), NAMES, 15.0)
    assert set(fitted.weights) == set(NAMES)
    assert surprise(other, fitted) < 0.85 * own_surprise(other)
    blind = fit_fusion(a_world(knowing=0.0), NAMES, 15.0)
    assert surprise(a_world(knowing=0.0, seed=1), blind) < 1.02 * own_surprise(a_world(knowing=0.0, seed=1))
    moved = [np.ptp(np.log(np.array([f.weight, *f.weights.values()]))) for f in (fitted, blind)]
    assert fitted.weight > blind.weight and max(moved) < 1.5


def test_rare_classes_are_worth_more_and_nothing_to_fit_on_leaves_the_start():
    looked = a_world()
    values = fit_values(looked)
    assert values.mean() == pytest.approx(1.0) and values[2] > values[1] > values[0]
    nothing = Looked(*(np.zeros((0, len(NAMES)), kind) for kind in (np.float32, np.float32, bool, bool)))
    assert fit_fusion(nothing, NAMES, 15.0) == Fusion()
    assert fit_least_ambiguity(nothing, NAMES, 15.0, Fusion()) == 0.0


def test_boxes_below_the_least_ambiguity_hold_little_of_the_gain():
    looked = a_world(3000)
    fusion = fit_fusion(looked, NAMES, 15.0)
    least = fit_least_ambiguity(looked, NAMES, 15.0, fusion)
    doubt = ambiguity(looked.confidences, fit_values(looked))
    assert 0 < least < np.median(doubt)
    kept = doubt >= least
    some = Looked(looked.confidences[kept], looked.cosines[kept], looked.hits[kept], looked.counted[kept])
    gained = [len(part) * (own_surprise(part) - surprise(part, fusion)) for part in (some, looked)]
    assert gained[0] > 0.9 * gained[1]

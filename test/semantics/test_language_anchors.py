import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.language import LanguageAnchors


def anchors(count=3, dimension=5, **more):
    rows = np.random.default_rng(0).normal(size=(count, dimension)) * 7
    return LanguageAnchors(tuple(f"class {k}" for k in range(count)), rows, **more)


def test_rows_come_out_with_unit_length_and_keep_their_direction():
    rows = np.array([[3.0, 4.0], [0.0, -2.0]], np.float16)
    made = LanguageAnchors(("a", "b"), rows)
    assert made.embeddings.dtype == np.float32
    np.testing.assert_allclose(made.embeddings, [[0.6, 0.8], [0.0, -1.0]], atol=1e-6)
    assert made.dimension == 2 and len(made) == 2


@pytest.mark.parametrize(
    ("names", "rows", "prompts", "says"),
    [
        ((), np.zeros((0, 3)), (), "no class names"),
        (("car", "Car "), np.ones((2, 3)), (), "'car' is given more than once"),
        (("car", " "), np.ones((2, 3)), (), "a class name is empty"),
        (("car", "bus"), np.ones((2, 3)), ("a car", ""), "a prompt is empty"),
        (("car", "bus"), np.ones((2, 3)), ("a car", "a bus", "the bus"), "3 prompts do not come out even"),
        (("car", "bus"), np.ones((3, 3)), (), "do not fit 2 names"),
        (("car", "bus"), np.ones(6), (), "do not fit 2 names"),
        (("car", "bus"), np.ones((2, 0)), (), "do not fit 2 names"),
        (("car", "bus"), np.array([[1.0, 0.0], [0.0, 0.0]]), (), "'bus' is zero or not finite"),
        (("car", "bus"), np.array([[np.nan, 0.0], [0.0, 1.0]]), (), "'car' is zero or not finite"),
        (("car", "bus"), np.array([[1.0, 0.0], [0.0, np.inf]]), (), "'bus' is zero or not finite"),
    ],
)
def test_what_cannot_be_anchors_is_refused_by_name(names, rows, prompts, says):
    with pytest.raises(ConfigurationError, match=says):
        LanguageAnchors(names, rows, prompts)


def test_a_subset_keeps_order_prompts_and_source():
    made = anchors(3, prompts=("a0", "b0", "a1", "b1", "a2", "b2"), source="clip@1")
    some = made.subset(["class 2", "class 0"])
    assert some.names == ("class 2", "class 0")
    assert some.prompts == ("a2", "b2", "a0", "b0") and some.source == "clip@1"
    np.testing.assert_array_equal(some.embeddings, made.embeddings[[2, 0]])
    with pytest.raises(ConfigurationError, match="no anchor for 'tram'; there are: class 0"):
        made.subset(["tram"])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(1e-3, 1e3))
def test_cosines_do_not_depend_on_length(seed, count, length):
    made = anchors(count)
    vectors = np.random.default_rng(seed).normal(size=(2, 4, 5))
    cosines = made.similarity(vectors)
    assert cosines.shape == (2, 4, count)
    assert np.abs(cosines).max() <= 1 + 1e-5
    np.testing.assert_allclose(made.similarity(vectors * length), cosines, atol=1e-5)
    np.testing.assert_allclose(made.distribution(vectors, 20.0).sum(axis=-1), 1.0, atol=1e-5)


def test_vectors_that_point_nowhere_have_no_similarity():
    vectors = np.array([[0, 0, 0, 0, 0], [np.nan, 1, 1, 1, 1], [np.inf, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    cosines = anchors().similarity(vectors)
    assert np.isnan(cosines[:3]).all() and np.isfinite(cosines[3]).all()
    assert np.isfinite(anchors().distribution(vectors, 10.0)[3]).all()


def test_vectors_of_another_dimension_are_refused():
    with pytest.raises(ConfigurationError, match=r"dimension 5 cannot be compared with vectors of shape \(2, 4\)"):
        anchors().similarity(np.ones((2, 4)))


def test_a_sharper_temperature_is_surer():
    made = anchors()
    soft, hard = (made.distribution(made.embeddings, scale) for scale in (1.0, 50.0))
    assert (np.diag(hard) > np.diag(soft)).all()
    np.testing.assert_array_equal(hard.argmax(axis=1), [0, 1, 2])


def test_nearest_and_indistinct_names():
    rows = np.array([[1.0, 0.0, 0.0], [1.0, 0.05, 0.0], [0.0, 1.0, 0.1], [0.0, 0.0, 1.0]])
    made = LanguageAnchors(("car", "automobile", "bus", "cone"), rows)
    assert [(name, other) for name, other, _ in made.nearest()] == [
        ("car", "automobile"),
        ("automobile", "car"),
        ("bus", "cone"),
        ("cone", "bus"),
    ]
    assert [(a, b) for a, b, _ in made.indistinct(50.0)] == [("car", "automobile")]
    assert made.indistinct(1e6) == []
    assert anchors(1).nearest() == []


def test_another_language_space_is_refused():
    made = anchors(source="tiny@1")
    made.require(5)
    made.require(5, "tiny@1")
    with pytest.raises(ConfigurationError, match="have dimension 5, the model needs 64"):
        made.require(64, "tiny@1")
    with pytest.raises(ConfigurationError, match="from 'tiny@1', the model was trained with 'tiny@2'"):
        made.require(5, "tiny@2")

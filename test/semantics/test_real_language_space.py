"""Anchors in CLIP's own space: everything is alike there, and what is related is more so."""

import numpy as np
import pytest

from semlt3d_ros.core.language import LanguageAnchors

DRIVING = {
    "o365": (
        "Car",
        "Truck",
        "Heavy Truck",
        "Pickup Truck",
        "Van",
        "Bus",
        "Bicycle",
        "Motorcycle",
        "Person",
        "Stroller",
        "Wheelchair",
        "Traffic cone",
        "Ambulance",
        "Fire Truck",
        "Trash bin Can",
    ),
    "lvis": (
        "car_(automobile)",
        "truck",
        "trailer_truck",
        "school_bus",
        "bus_(vehicle)",
        "bicycle",
        "motorcycle",
        "person",
        "baby_buggy",
        "handcart",
        "police_cruiser",
        "ambulance",
        "wheelchair",
    ),
}
LOGIT_SCALE = 100.0
"""CLIP's own inverse temperature."""


@pytest.fixture(params=sorted(DRIVING))
def anchors(request, language_space):
    names = DRIVING[request.param]
    return LanguageAnchors(names, np.stack([language_space[request.param][name] for name in names]))


def test_rows_are_brought_to_unit_length(anchors, language_space):
    raw = language_space["o365"]["Car"]
    assert raw.dtype == np.float16 and np.linalg.norm(raw.astype(np.float32)) > 5
    assert anchors.dimension == 512
    np.testing.assert_allclose(np.linalg.norm(anchors.embeddings, axis=1), 1.0, atol=1e-5)


def test_all_cosines_are_high_and_no_two_names_coincide(anchors):
    cosines = anchors.similarity()[np.triu_indices(len(anchors), 1)]
    assert cosines.min() > 0.6
    assert 0.78 < np.median(cosines) < 0.92
    assert cosines.max() < 0.96


def test_the_nearest_names_are_related(anchors):
    nearest = {name: other for name, other, _ in anchors.nearest()}
    related = {
        "Bicycle": {"Motorcycle"},
        "Motorcycle": {"Bicycle"},
        "Heavy Truck": {"Truck"},
        "Pickup Truck": {"Truck"},
        "Stroller": {"Wheelchair"},
        "Fire Truck": {"Ambulance"},
        "Bus": {"Truck", "Car", "Van"},
        "bicycle": {"motorcycle"},
        "motorcycle": {"bicycle"},
        "trailer_truck": {"truck"},
        "school_bus": {"bus_(vehicle)"},
        "baby_buggy": {"handcart"},
        "police_cruiser": {"ambulance"},
    }
    for name, others in related.items():
        if name in nearest:
            assert nearest[name] in others, name


def test_one_name_finds_itself_in_another_vocabulary(language_space):
    vocabulary = LanguageAnchors(tuple(language_space["lvis"]), np.stack(list(language_space["lvis"].values())))
    for asked, found in (
        ("Car", "car_(automobile)"),
        ("Truck", "truck"),
        ("Bicycle", "bicycle"),
        ("Bus", "bus_(vehicle)"),
    ):
        cosines = vocabulary.similarity(language_space["o365"][asked])
        assert vocabulary.names[int(cosines.argmax())] == found
    stroller = vocabulary.similarity(language_space["o365"]["Stroller"])
    assert {vocabulary.names[k] for k in np.argsort(-stroller)[:3]} & {"baby_buggy", "cart"}


def test_the_models_own_temperature_tells_names_apart_that_look_alike_to_the_cosine(anchors):
    assert anchors.indistinct(LOGIT_SCALE) == []
    sure = np.diag(anchors.distribution(anchors.embeddings, LOGIT_SCALE))
    assert sure.min() > 0.95
    # Without it, eighteen names at cosines of 0.8 are a nearly flat distribution: why routing needs a temperature.
    assert np.diag(anchors.distribution(anchors.embeddings, 1.0)).max() < 0.15


def test_a_misspelt_temperature_makes_relatives_indistinct(anchors):
    names = {frozenset(pair[:2]) for pair in anchors.indistinct(8.0)}
    assert frozenset(("Bicycle", "Motorcycle")) in names or frozenset(("bicycle", "motorcycle")) in names

import numpy as np
import pytest

from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.semantics.captions import SYNONYMS, caption, colour_of, words_for
from semlt3d_ros.semantics.prompts import words_of


def test_every_class_has_words_and_they_begin_with_the_one_it_is_asked_by():
    assert tuple(SYNONYMS) == CLASS_NAMES
    assert all(words[0] == words_of(name) for name, words in SYNONYMS.items())


def test_no_word_stands_for_two_classes():
    words = [word for each in SYNONYMS.values() for word in each]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("name", "size", "paint", "word"),
    [
        ("emergency_vehicle", (4.8, 2.0, 1.7), (240, 240, 238), "police car"),
        ("emergency_vehicle", (6.3, 2.3, 2.8), (240, 220, 40), "ambulance"),
        ("emergency_vehicle", (8.0, 2.5, 3.2), (205, 18, 20), "fire engine"),
        ("truck", (5.7, 2.0, 1.9), (25, 50, 110), "pickup"),
        ("truck", (7.0, 2.5, 3.0), (25, 50, 110), "lorry"),
        ("personal_mobility", (1.1, 0.67, 1.4), (200, 30, 40), "wheelchair"),
        ("personal_mobility", (1.25, 0.52, 1.17), (40, 220, 120), "kick scooter"),
        ("personal_mobility", (1.25, 0.6, 1.9), (90, 140, 190), "person on an electric scooter"),
        ("personal_mobility", (1.19, 0.65, 1.45), (170, 20, 40), "mobility scooter"),
        ("bicycle", (1.67, 0.6, 1.8), (200, 30, 30), "cyclist"),
        ("debris", (0.7, 0.7, 0.4), (24, 24, 26), "old tyre"),
        ("debris", (1.8, 0.9, 0.5), (74, 117, 58), "fallen tree"),
        ("barrier", (0.5, 2.5, 1.0), (172, 170, 162), "concrete barrier"),
    ],
)
def test_size_and_colour_tell_the_kind(name, size, paint, word):
    assert word in words_for(name, size, paint)


def test_what_size_and_colour_do_not_tell_is_not_claimed():
    assert words_for("car", (4.6, 1.9, 1.7), (200, 20, 20)) == ()
    assert words_for("bicycle", (1.67, 0.6, 1.0), (200, 30, 30)) == ()


@pytest.mark.parametrize(
    ("paint", "name"),
    [
        ((10, 12, 14), "black"),
        ((240, 240, 238), "white"),
        ((120, 123, 126), "gray"),
        ((180, 24, 28), "red"),
        ((240, 140, 20), "orange"),
        ((250, 210, 30), "yellow"),
        ((30, 110, 70), "green"),
        ((30, 70, 150), "blue"),
        ((150, 90, 220), "purple"),
        ((110, 80, 50), "brown"),
    ],
)
def test_colours_have_their_names(paint, name):
    assert colour_of(paint) == name


def test_captions_vary_and_repeat_by_seed():
    def some(seed):
        rng = np.random.default_rng(seed)
        return [caption(rng, "truck", (7.0, 2.5, 3.0), (30, 70, 150)) for _ in range(60)]

    assert some(1) == some(1) != some(2)
    texts = set(some(1))
    assert len(texts) > 30
    assert any("blue" in text for text in texts) and any("lorry" in text for text in texts)
    assert any(text == "a photo of a truck." for text in some(1) + some(2) + some(3))

"""Captions of simulated objects, from their class, size and colour: what the tiny CLIP learns language from.

A class has plain words for it, and words for kinds of it that its size or colour tells. A text tower trained from
nothing knows these words and the grammar they stand in; of any other word it knows nothing at all.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SYNONYMS: dict[str, tuple[str, ...]] = {
    "car": ("car", "passenger car", "automobile", "parked car", "sedan", "hatchback", "private car"),
    "truck": ("truck", "heavy vehicle", "cargo truck", "goods vehicle"),
    "trailer": ("trailer", "semi-trailer", "articulated trailer", "trailer without its tractor"),
    "bus": ("bus", "city bus", "coach", "public transport bus"),
    "construction_vehicle": (
        "construction vehicle",
        "excavator",
        "wheel loader",
        "digger",
        "bulldozer",
        "construction machine",
        "building machine",
    ),
    "bicycle": ("bicycle", "bike", "cycle", "pedal bike"),
    "motorcycle": ("motorcycle", "motorbike"),
    "emergency_vehicle": ("emergency vehicle", "rescue vehicle", "vehicle with blue lights", "emergency response car"),
    "adult": ("adult", "pedestrian", "person", "man", "woman", "grown-up", "walking person", "adult pedestrian"),
    "child": ("child", "kid", "boy", "girl", "schoolchild", "little child", "child pedestrian"),
    "police_officer": (
        "police officer",
        "policeman",
        "policewoman",
        "cop",
        "traffic officer",
        "person in police uniform",
    ),
    "construction_worker": (
        "construction worker",
        "road worker",
        "builder",
        "worker with a helmet",
        "person in a high visibility vest",
        "workman",
        "person in a safety vest",
    ),
    "stroller": ("stroller", "pram", "baby carriage", "pushchair", "buggy", "baby stroller"),
    "personal_mobility": ("personal mobility device", "personal mobility", "small personal vehicle"),
    "pushable_pullable": (
        "pushable or pullable object",
        "pushable pullable",
        "trolley",
        "cart",
        "wheelie bin",
        "hand truck",
        "garbage bin",
        "dolly with boxes",
    ),
    "debris": (
        "debris",
        "rubbish on the road",
        "garbage on the road",
        "obstacle on the road",
        "litter",
        "lost cargo",
        "trash",
        "junk",
    ),
    "traffic_cone": ("traffic cone", "cone", "orange cone", "pylon", "road cone", "striped cone"),
    "barrier": ("barrier", "road barrier", "roadblock", "traffic barrier", "crash barrier", "barricade", "road fence"),
}
"""Words for every object of a class."""

TEMPLATES: tuple[str, ...] = (
    "a photo of a {}.",
    "a {} on the road.",
    "a {} seen from a car.",
    "a small photo of a {}.",
    "{}",
    "a {}",
    "the {}",
    "a picture of a {}",
    "a {} in the street",
    "there is a {} ahead",
    "a blurry photo of a {}.",
)
_PEOPLE = ("adult", "child", "police_officer", "construction_worker")
_COLOURED = ("car", "truck", "trailer", "bus", "construction_vehicle", "bicycle", "motorcycle", "stroller")
"""Classes whose colour says nothing about the class, and is therefore worth telling."""
_KIND_SHARE, _COLOUR_SHARE = 0.45, 0.35


def words_for(class_name: str, size: Sequence[float], paint: Sequence[int]) -> tuple[str, ...]:
    """Words for what kind of a class an object is, as its size (l, w, h in metres) and colour tell; may be empty."""
    length, width, height = (float(value) for value in size)
    red, green, blue = (int(value) for value in paint)
    if class_name == "emergency_vehicle":
        if height < 2.2:
            return ("police car", "police cruiser", "patrol car")
        if red > 2 * green and length > 7.0:
            return ("fire engine", "fire truck", "red fire engine")
        return ("ambulance", "paramedic vehicle")
    if class_name == "truck":
        return ("pickup", "pickup truck") if height < 2.3 else ("lorry", "big truck", "large lorry")
    if class_name == "trailer" and max(red, green, blue) < 60:
        return ("tank trailer", "tanker trailer")
    if class_name == "construction_vehicle" and length < 5.5 and width < 2.4:
        return ("road roller", "steamroller")
    if class_name == "bicycle" and height > 1.4:
        return ("cyclist", "person riding a bicycle", "bicycle with a rider")
    if class_name == "motorcycle":
        ridden = ("motorcyclist", "person riding a motorcycle") if height > 1.6 else ()
        return (*ridden, "moped", "motor scooter", "vespa") if length < 1.95 else ridden
    if class_name == "personal_mobility":
        return _mobility(length, height)
    if class_name == "pushable_pullable" and length > 0.82:
        plain = max(red, green, blue) - min(red, green, blue) < 15 and red > 170
        return ("shopping cart", "shopping trolley", "supermarket trolley") if plain else ("platform trolley",)
    if class_name == "debris":
        return _debris(length, width, height, (red, green, blue))
    if class_name == "barrier" and max(red, green, blue) - min(red, green, blue) < 40:
        return ("concrete barrier", "concrete wall")
    return ()


def colour_of(paint: Sequence[int]) -> str:
    """The name of an sRGB colour, 0..255."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(float(value) / 255.0 for value in paint))
    if lightness < 0.16:
        return "black"
    if lightness > 0.85 or (saturation < 0.15 and lightness > 0.75):
        return "white"
    if saturation < 0.15:
        return "gray"
    for limit, name in ((0.035, "red"), (0.11, "orange"), (0.19, "yellow"), (0.45, "green"), (0.70, "blue")):
        if hue < limit:
            return "brown" if name == "orange" and lightness < 0.45 and saturation < 0.75 else name
    return "purple" if hue < 0.87 else ("pink" if hue < 0.94 and lightness > 0.5 else "red")


def caption(
    rng: np.random.Generator, class_name: str, size: Sequence[float] | NDArray, paint: Sequence[int] | NDArray
) -> str:
    """One of the many captions of an object: a word for it or its kind, sometimes its colour, in some sentence.

    Args:
        rng: draws it.
        class_name: one of LT3D's.
        size: length, width, height in metres.
        paint: its main colour, sRGB 0..255.
    """
    kinds, words = words_for(class_name, [*size], [*paint]), SYNONYMS[class_name]
    if kinds and rng.random() < _KIND_SHARE:
        word = kinds[int(rng.integers(len(kinds)))]
    else:  # the class's first word is the one it is asked by
        word = words[0] if rng.random() < 0.4 else words[int(rng.integers(len(words)))]
    if class_name in _COLOURED and rng.random() < _COLOUR_SHARE:
        word = f"{colour_of([*paint])} {word}"
    elif class_name in _PEOPLE and rng.random() < 0.15:
        word = f"{word} {('walking', 'standing', 'on the sidewalk', 'crossing the road')[int(rng.integers(4))]}"
    return TEMPLATES[int(rng.integers(len(TEMPLATES)))].replace("{}", word)


def _mobility(length: float, height: float) -> tuple[str, ...]:
    if length > 1.22:
        ridden = ("person on an electric scooter", "person on a kick scooter", "scooter rider")
        return ridden if height > 1.5 else ("kick scooter", "electric scooter", "e-scooter")
    if length < 1.165:
        return ("wheelchair", "wheelchair user", "person in a wheelchair")
    return ("mobility scooter", "seated mobility scooter")


def _debris(length: float, width: float, height: float, paint: tuple[int, int, int]) -> tuple[str, ...]:
    red, green, blue = paint
    if abs(length - width) < 0.05 and max(paint) < 40:
        return ("tyre on the road", "old tyre", "tire", "lost wheel")
    if length > 1.0 and green >= red:
        return ("branch", "fallen branch", "fallen tree", "tree branch on the road")
    if length > 1.0 and red - blue > 30 and height < 0.4:
        return ("wooden planks", "planks on the road", "wood on the road")
    if max(length, width) < 1.0 and height > 0.35:
        return ("garbage bag", "bag on the road", "plastic bags")
    return ("rubble", "heap of rubble", "stones on the road")

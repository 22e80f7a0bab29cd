"""Corrupted images in training: by clip, by chance, the same each time; and figures under them."""

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.checkpoints.shipped import default_checkpoint
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.specs import DataSpec, GenerationRecipe
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.training.augmentation_settings import Augmentation
from semlt3d_ros.training.corrupting import corrupted, robustness_of
from semlt3d_ros.training.recipe import Recipe, load_recipe, settings_of
from semlt3d_ros.training.validation import detected


@pytest.fixture(scope="module")
def spec():
    return DataSpec(simulate=GenerationRecipe(60, drives=2, frames=2, image_size=(224, 128), top_crop=0.25))


@pytest.fixture(scope="module")
def frames(spec, tmp_path_factory):
    with Frames([spec], tmp_path_factory.mktemp("data"), ImageSpec(224, 96, 0.25), LT3D) as opened:
        opened.wait(3)
        yield opened


@pytest.fixture
def recipe(recipe_path) -> Recipe:
    return load_recipe(recipe_path)


def with_chance(recipe: Recipe, chance: float, *names: str) -> Recipe:
    return replace(recipe, augmentation=Augmentation(corrupt=chance, corruptions=names or ("robobev",)))


def test_clips_are_corrupted_by_chance_and_each_in_one_way(recipe, frames) -> None:
    frame, other = frames.frame(0), frames.frame(1)
    assert corrupted(frame, 0, with_chance(recipe, 0.0)) is frame
    half = with_chance(recipe, 0.5)
    changed = [corrupted(frame, clip, half) is not frame for clip in range(60)]
    assert 15 < sum(changed) < 45
    assert changed == [corrupted(other, clip, half) is not other for clip in range(60)], "a clip is all or nothing"
    crash = with_chance(recipe, 1.0, "camera_crash")
    for clip in range(5):
        black = [
            {view.name for view in corrupted(each, clip, crash).views if not view.image.any()}
            for each in (frame, other)
        ]
        assert black[0] == black[1] and black[0]
        assert all(
            np.array_equal(one.image, two.image)
            for one, two in zip(corrupted(frame, clip, crash).views, corrupted(frame, clip, crash).views, strict=True)
        )
    assert frame.labels is not None and corrupted(frame, 0, crash).labels is frame.labels


def test_robustness_is_that_of_every_severity_on_the_same_frames(recipe, frames) -> None:
    detector = Detector.load(default_checkpoint())
    settings = settings_of(recipe)
    clean = evaluate(detected(detector, frames, frames.drives()), settings)
    held = robustness_of(detector, frames, settings, ["brightness", "camera_crash", "impulse_noise"], clean)
    assert held.clean == {"nds": clean.nds, "map": clean.map}
    assert {name: len(told) for name, told in held.corrupted.items()} == {
        "brightness": 3, "camera_crash": 3, "impulse_noise": 5,
    }  # fmt: skip
    again = robustness_of(detector, frames, settings, ["camera_crash"], clean)
    assert again.corrupted["camera_crash"] == held.corrupted["camera_crash"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"corrupt": 0.5, "corruptions": ("hail",)}, "corruption 'hail' is not known"),
        ({"corrupt": 0.5, "corruptions": ()}, "must name some of which corrupt draws"),
        ({"corrupt": 1.5}, "corrupt"),
    ],
)
def test_settings_name_what_is_wrong(values, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Augmentation(**values)


def test_stored_features_and_corrupted_images_do_not_go_together(recipe) -> None:
    with pytest.raises(ConfigurationError, match=r"augmentation\.corrupt changes images"):
        replace(with_chance(recipe, 0.5), initial="shipped", frozen_images=True)

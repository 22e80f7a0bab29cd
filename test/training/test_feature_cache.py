"""Frozen features from disk: the same as computed, found again, never of another encoder or view."""

import numpy as np
import pytest
import torch

from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.features import ImageFeatures
from semlt3d_ros.training.feature_cache import FeatureCache
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.recipe import load_recipe


@pytest.fixture
def batch(recipe_path):
    recipe = load_recipe(recipe_path)
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        return collate([frames.frame(0), frames.frame(1)], recipe.student.image_width, recipe.student.image_height)


@pytest.fixture
def encoder(recipe_path):
    torch.manual_seed(0)
    return ImageFeatures(load_recipe(recipe_path).student).eval()


def refuse(batch):
    raise AssertionError("computed what is stored")


def test_stored_features_equal_computed_ones(batch, encoder, tmp_path) -> None:
    cache = FeatureCache(tmp_path, encoder)
    first = cache(batch, encoder._compute)
    again = FeatureCache(tmp_path, encoder)(batch, refuse)
    with torch.no_grad():
        expected = encoder(batch)
    for a, b, c in zip(first, again, expected, strict=True):
        assert a.shape == c.shape and torch.equal(a, b) and torch.allclose(a, c, atol=2e-2, rtol=2e-3)


def test_turned_ego_axes_find_the_same_features_other_views_do_not(batch, encoder, tmp_path) -> None:
    cache = FeatureCache(tmp_path, encoder)
    cache(batch, encoder._compute)
    turn = torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = batch.part(slice(None))
    turned.T_ego_camera = turn @ batch.T_ego_camera
    cache(turned, refuse)
    for name, change in (("images", 1), ("intrinsics", 0.5), ("T_ego_camera", 0.1)):
        other = batch.part(slice(None))
        setattr(other, name, (getattr(batch, name) + change).to(getattr(batch, name).dtype))
        with pytest.raises(AssertionError, match="computed what is stored"):
            cache(other, refuse)


def test_another_encoder_has_its_own_features(batch, encoder, tmp_path) -> None:
    FeatureCache(tmp_path, encoder)(batch, encoder._compute)
    with torch.no_grad():
        next(encoder.parameters()).add_(1.0)
    with pytest.raises(AssertionError, match="computed what is stored"):
        FeatureCache(tmp_path, encoder)(batch, refuse)


def test_what_a_killed_process_left_is_not_read(batch, encoder, tmp_path) -> None:
    cache = FeatureCache(tmp_path, encoder)
    path = cache._path(batch.part(slice(0, 1)), 0)
    path.parent.mkdir(parents=True)
    path.with_name(path.name + ".77.partial").write_bytes(b"half")
    features = cache(batch, encoder._compute)
    assert np.isfinite(features[0].numpy()).all()

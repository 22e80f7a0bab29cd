"""What training takes from CLIP: anchors of the student's classes, embeddings of objects' regions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.checkpoints.checkpoint import read_header
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.regions import best_regions
from semlt3d_ros.datasets.shards import FrameRegions
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.simulation.drive import Drive, DriveConfig
from semlt3d_ros.training.engine import Engine
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.language import Semantics, regions_of
from semlt3d_ros.training.recipe import load_recipe
from semlt3d_ros.training.run import train
from semlt3d_ros.training.streams import StreamFrame
from semlt3d_ros.training.student_task import StudentTask

NONE = FrameRegions(np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.int64))
LANGUAGE = """
loss_weights: {alignment: 1.0, distillation: 0.5}
"""


@pytest.fixture
def language_recipe(recipe_path):
    text = recipe_path.read_text()
    text = text.replace(
        "  width: 32", "  width: 32\n  block: language_experts\n  language_width: 64\n  memory_frames: 2"
    )
    text = text.replace("top_crop: 0.25}", "top_crop: 0.25, regions: true}", 1)
    recipe_path.write_text(text + LANGUAGE)
    return recipe_path


class Given:
    """One frame, whatever its number."""

    def __init__(self, frame, regions) -> None:
        self._frame, self._regions = frame, regions

    def frame(self, index):
        return self._frame

    def regions(self, index):
        return self._regions


def test_a_student_with_language_learns_and_its_checkpoint_says_from_what(language_recipe, tmp_path) -> None:
    out = tmp_path / "language.safetensors"
    train(language_recipe, out, progress=False)
    header = read_header(out)
    assert header["language"]["source"].startswith("tiny@") and "a photo of a car." in header["language"]["prompts"]
    recipe = load_recipe(language_recipe)
    semantics = Semantics(recipe, tmp_path / "cache")
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        task = StudentTask(recipe, frames, semantics=semantics)
        engine = Engine(task, recipe.schedule, tmp_path)
        losses = engine.train_step(task.load([StreamFrame(0, True, 0), StreamFrame(2, True, 1)]))
        assert {"alignment", "denoising_alignment", "distillation", "balance"} <= set(losses)
        assert losses["distillation"] > 0 and engine.carried is not None and engine.carried.started.all()
    anchors = task.student.decoder.language_anchors
    assert torch.allclose(anchors, torch.from_numpy(semantics.anchors.embeddings))


def test_stored_regions_are_embedded_once_with_the_view_they_show(language_recipe, tmp_path) -> None:
    recipe = load_recipe(language_recipe)
    recipe = replace(recipe, language=replace(recipe.language, min_visible_pixels=6))
    semantics = Semantics(recipe, tmp_path)
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        frame, regions = frames.frame(0), frames.regions(0)
        assert len(regions.labels)
        found = semantics.seen(0, frames)
    assert found.embeddings.shape == (len(frame.labels.boxes), 64)
    seen = np.isfinite(found.embeddings).all(axis=1)
    assert np.array_equal(np.flatnonzero(seen), regions.labels)
    assert np.allclose(np.linalg.norm(found.embeddings[seen], axis=1), 1.0, atol=1e-3)
    assert semantics.seen(0, None) is found
    cameras = [(view.camera, view.T_ego_camera) for view in frame.views]
    shown = best_regions(frame.labels.boxes[regions.labels], cameras)
    assert [region.view for region in shown] == found.views[regions.labels].tolist()
    assert len(set(found.views[regions.labels])) > 1


def test_regions_are_cut_out_of_the_images_only_when_asked_for(language_recipe, tmp_path) -> None:
    frame = Drive(DriveConfig(5, frames=1, image_size=(448, 256), objects=(10, 14), lidar=None)).frame(0)
    recipe = load_recipe(language_recipe)
    assert not np.isfinite(Semantics(recipe, tmp_path).seen(0, Given(frame, NONE)).embeddings).any()
    asked = replace(recipe, language=replace(recipe.language, crop_images=True))
    semantics = Semantics(asked, tmp_path)
    cut = np.flatnonzero(np.isfinite(semantics.seen(0, Given(frame, NONE)).embeddings).all(axis=1))
    assert len(cut) >= 1 and cut.tolist() == list(regions_of(frame, 24, 8.0))
    assert (frame.labels.visible_pixels[cut] >= 24).all()
    blind = semantics.seen(1, Given(replace(frame, views=()), NONE))
    assert blind.embeddings.shape == (len(frame.labels.boxes), 64) and not np.isfinite(blind.embeddings).any()
    assert len(semantics.seen(2, Given(replace(frame, labels=None), NONE)).embeddings) == 0


@pytest.mark.parametrize("crop_images", [False, True])
def test_hidden_objects_have_no_region(language_recipe, tmp_path, crop_images) -> None:
    drive = Drive(DriveConfig(5, frames=1, image_size=(448, 256), objects=(10, 14), lidar=None))
    frame = drive.frame(0)
    stored = NONE if crop_images else FrameRegions(*drive.regions(0, frame.labels, 1))
    recipe = load_recipe(language_recipe)
    recipe = replace(recipe, language=replace(recipe.language, crop_images=crop_images))
    semantics = Semantics(recipe, tmp_path)
    found = np.isfinite(semantics.seen(0, Given(frame, stored)).embeddings).all(axis=1)
    first, second = np.flatnonzero(found)[:2]
    visible = frame.labels.visible_pixels.copy()
    visible[first], visible[second] = 23, -1
    hidden = replace(frame, labels=replace(frame.labels, visible_pixels=visible))
    again = np.isfinite(semantics.seen(1, Given(hidden, stored)).embeddings).all(axis=1)
    assert np.flatnonzero(found != again).tolist() == [first]


def test_a_clip_of_another_dimension_is_refused(language_recipe, tmp_path) -> None:
    recipe = load_recipe(language_recipe)
    other = replace(recipe, student=replace(recipe.student, language_width=32))
    with pytest.raises(ConfigurationError, match="has dimension 64, the student's language_width is 32"):
        Semantics(other, tmp_path)
    with pytest.raises(ConfigurationError, match="needs a CLIP to learn from"):
        StudentTask(recipe, [])


def test_the_temperature_is_the_recipes_or_goes_with_the_clips_own(language_recipe, tmp_path) -> None:
    recipe = load_recipe(language_recipe)
    assert Semantics(recipe, tmp_path).temperature == 0.1
    tied = replace(recipe, loss_weights=replace(recipe.loss_weights, temperature=None))
    assert Semantics(tied, tmp_path).temperature == pytest.approx(1.5 / ClipEncoder.load("tiny").logit_scale)
    with pytest.raises(ConfigurationError, match="temperature must be positive"):
        replace(recipe.loss_weights, temperature=0.0)

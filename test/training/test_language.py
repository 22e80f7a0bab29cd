"""What training takes from CLIP: anchors of the student's classes, embeddings of objects' regions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.data.shards import FrameRegions
from semlt3d_ros.simulation.drive import Drive, DriveConfig
from semlt3d_ros.student.checkpoint import read_header
from semlt3d_ros.training.language import Semantics, cut_regions
from semlt3d_ros.training.loop import Trainer
from semlt3d_ros.training.recipe import load_recipe
from semlt3d_ros.training.rendering import RenderedFrames
from semlt3d_ros.training.run import train
from semlt3d_ros.training.streams import StreamFrame

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


def test_a_student_with_language_learns_and_its_checkpoint_says_from_what(language_recipe, tmp_path) -> None:
    out = tmp_path / "language.safetensors"
    train(language_recipe, out, progress=False)
    header = read_header(out)
    assert header["language"]["source"].startswith("tiny@") and "a photo of a car." in header["language"]["prompts"]
    recipe = load_recipe(language_recipe)
    semantics = Semantics(recipe, tmp_path / "cache")
    with RenderedFrames(recipe.data_folder, recipe.train) as frames:
        trainer = Trainer(recipe, frames, tmp_path, semantics=semantics)
        losses = trainer.train_step([StreamFrame(0, True, 0), StreamFrame(2, True, 1)])
        assert {"alignment", "denoising_alignment", "distillation", "balance"} <= set(losses)
        assert losses["distillation"] > 0 and trainer.memory is not None and trainer.memory.started.all()
    anchors = trainer.student.decoder.language_anchors
    assert torch.allclose(anchors, torch.from_numpy(semantics.anchors.embeddings))


def test_stored_regions_are_embedded_once(language_recipe, tmp_path, monkeypatch) -> None:
    recipe = load_recipe(language_recipe)
    semantics = Semantics(recipe, tmp_path)
    with RenderedFrames(recipe.data_folder, recipe.train) as frames:
        frame, regions = frames[0], frames.regions(0)
        assert len(regions.labels)
        rows = semantics.embeddings(0, frame, frames.regions)
    assert rows.shape == (len(frame.labels.boxes), 64)
    seen = np.isfinite(rows).all(axis=1)
    assert np.array_equal(np.flatnonzero(seen), regions.labels)
    assert np.allclose(np.linalg.norm(rows[seen], axis=1), 1.0, atol=1e-3)
    assert semantics.embeddings(0, frame, lambda index: pytest.fail("asked again")) is rows


def test_regions_are_cut_out_of_the_images_only_when_asked_for(language_recipe, tmp_path) -> None:
    frame = Drive(DriveConfig(5, frames=1, image_size=(448, 256), objects=(10, 14), lidar=None)).frame(0)
    recipe = load_recipe(language_recipe)
    assert not np.isfinite(Semantics(recipe, tmp_path).embeddings(0, frame, lambda index: NONE)).any()
    asked = replace(recipe, language=replace(recipe.language, crop_images=True))
    rows = Semantics(asked, tmp_path).embeddings(0, frame, lambda index: NONE)
    cut = cut_regions(frame)
    assert len(cut.labels) >= 1 and np.array_equal(np.flatnonzero(np.isfinite(rows).all(axis=1)), cut.labels)
    assert (frame.labels.visible_pixels[cut.labels] > 0).all()
    assert len(cut_regions(replace(frame, views=())).labels) == 0
    assert len(cut_regions(replace(frame, labels=None)).labels) == 0


def test_a_clip_of_another_dimension_is_refused(language_recipe, tmp_path) -> None:
    recipe = load_recipe(language_recipe)
    other = replace(recipe, student=replace(recipe.student, language_width=32))
    with pytest.raises(ConfigurationError, match="has dimension 64, the student's language_width is 32"):
        Semantics(other, tmp_path)
    with pytest.raises(ConfigurationError, match="needs a CLIP to learn from"):
        Trainer(recipe, [], tmp_path)

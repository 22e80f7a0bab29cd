"""What a CLIP sees in regions of training frames: which regions, kept where, and learnt from by a recipe."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.shards import FrameRegions
from semlt3d_ros.distillation.settings import Regions
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.language import regions_of
from semlt3d_ros.training.recipe import parse_recipe
from semlt3d_ros.training.region_teaching import RegionTeaching
from semlt3d_ros.training.run import train_recipe

NONE = FrameRegions(np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.int64))
GIB = 2**30


@pytest.fixture
def values(recipe_path):
    values = yaml.safe_load(recipe_path.read_text())
    values["train"]["regions"] = True
    return {**values, "schedule": {"frames": 4, "batch": 2, "evaluate_every": 0}}


@pytest.fixture
def student(values, tmp_path):
    """The checkpoint of one that has learnt nothing, and is sure of it."""
    torch.manual_seed(2)
    recipe = parse_recipe(values, "recipe")
    network = Student(recipe.student)
    with torch.no_grad():
        for layer in network.decoder.layers:
            layer.classify[-1].bias += 4.0
    path = tmp_path / "student.safetensors"
    save_checkpoint(path, network, "looker", {}, classes=recipe.class_list)
    return path


@pytest.fixture
def recipe(values):
    return parse_recipe(values, "recipe")


def test_labels_and_detections_are_looked_at_and_labels_first(recipe, student) -> None:
    teaching = RegionTeaching(Regions(student=student, score=0.2, most=12), recipe, GIB)
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        frames.wait(0)
        frame, stored = frames.frame(0), frames.regions(0)
        seen = teaching.seen(frame, stored)
    known = [label for label in stored.labels if label in regions_of(frame, recipe.language.min_visible_pixels, 3.0)]
    labels = len(known)
    assert 4 < labels < len(seen.boxes) <= labels + 12
    assert seen.embeddings.shape == (len(seen.boxes), 64) and seen.views.max() < len(frame.views)
    assert np.allclose(np.linalg.norm(seen.embeddings, axis=1), 1.0, atol=1e-5)
    centers = frame.labels.boxes.centers[known]
    assert np.allclose(seen.boxes[:labels, :3], centers, atol=1e-5)
    crops = [crop for label, crop in zip(stored.labels, stored.crops, strict=True) if label in known]
    assert np.allclose(seen.embeddings[:labels], ClipEncoder.load("tiny").encode_images(crops), atol=1e-5)
    away = np.linalg.norm(seen.boxes[labels:, None, :2] - frame.labels.boxes.centers[None, :, :2], axis=-1)
    assert (away > 1.0).all(), "what is labelled is not looked at twice"
    signal = teaching.signal([seen, teaching.seen(replace(frame, labels=None), NONE)])
    assert signal.real[0].all() and 0 < signal.real[1].sum() <= 12
    names = [recipe.student.class_names[label] for label in frame.labels.class_ids[known]]
    told = [recipe.student.class_names[number] for number in signal.likest[0, :labels]]
    assert sum(map(str.__eq__, names, told)) > labels / 2
    assert signal.logit_scale == ClipEncoder.load("tiny").logit_scale


def test_what_was_seen_is_kept_for_the_same_frame_and_labels(recipe, student, monkeypatch) -> None:
    settings = Regions(student=student, score=0.2)
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        frames.wait(1)
        first, stored, second = frames.frame(0), frames.regions(0), frames.frame(1)
        before = RegionTeaching(settings, recipe, GIB).seen(first, stored)
        teaching = RegionTeaching(settings, recipe, GIB)
        looked = []
        look = teaching._look
        monkeypatch.setattr(teaching, "_look", lambda *arguments: looked.append(1) or look(*arguments))
        after = teaching.seen(first, stored)
        assert not looked and all(np.array_equal(vars(before)[key], vars(after)[key]) for key in vars(before))
        teaching.seen(replace(first, labels=None), NONE)
        teaching.seen(second, frames.regions(1))
        assert len(looked) == 2
        RegionTeaching(replace(settings, student=None), recipe, GIB).seen(first, stored)


def test_labels_alone_are_cut_out_of_images_where_nothing_was_kept(recipe) -> None:
    teaching = RegionTeaching(Regions(student=None), recipe, GIB)
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        frames.wait(0)
        frame = frames.frame(0)
        assert not len(teaching.seen(replace(frame, labels=None), NONE).boxes)
        assert len(teaching.seen(frame, NONE).boxes) <= len(frames.regions(0).labels) + 3


def test_a_recipe_learns_from_regions_with_and_without_labels(values, student, tmp_path) -> None:
    unlabelled = {**values["train"], "first_seed": 505, "labelled": False}
    given = {**values, "train": [values["train"], unlabelled], "distillation": {"regions": {"student": str(student)}}}
    out = tmp_path / "out.safetensors"
    train_recipe(
        parse_recipe({**given, "schedule": {**given["schedule"], "log_every": 1}}, "recipe"), out, {}, validated=False
    )
    (line, *_) = [json.loads(each) for each in (out.with_suffix(".training") / "log.jsonl").read_text().splitlines()]
    assert line["losses"]["regions_encoder"] > 0 and line["losses"]["regions_queries"] > 0


def test_what_cannot_look_is_told(values, student, tmp_path) -> None:
    recipe = parse_recipe(values, "recipe")
    with pytest.raises(ConfigurationError, match=r"takes images of .*; name another one, or null for labels alone"):
        RegionTeaching(Regions(), recipe, GIB)
    with pytest.raises(ConfigurationError, match="does not exist"):
        RegionTeaching(Regions(student=tmp_path / "nobody.safetensors"), recipe, GIB)
    with pytest.raises(ConfigurationError, match="language_width is 32; make them equal"):
        speaking = replace(recipe, student=replace(recipe.student, language_width=32, block="language_experts"))
        RegionTeaching(Regions(student=None), speaking, GIB)

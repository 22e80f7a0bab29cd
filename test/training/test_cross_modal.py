"""Teachers that learn from images in training, and from a part of the labels: from the recipe to the step."""

import json
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.checkpoints.teacher import read_teacher
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame, PointCloud
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.source import Part
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.cross_modal import divided, labelled_part, views_of, with_own_labels
from semlt3d_ros.training.recipes import load_any_recipe
from semlt3d_ros.training.run import train
from semlt3d_ros.training.run_teacher import image_spec_of
from semlt3d_ros.training.teacher_recipe import TeacherRecipe
from semlt3d_ros.training.teacher_task import TeacherTask

RECIPE = """
name: tiny_teacher
seed: 4
data_folder: {data}
train:
  - &clouds {{first_seed: 820, drives: 4, frames: 2, interval_s: 0.1, drives_per_shard: 4, lidar: varied,
              image_size: [96, 56], top_crop: 0.25, point_limit: 6000}}
validation: {{<<: *clouds, first_seed: 850, drives: 1, cameras: false}}
teacher:
  point_range: [-25.6, -25.6, -3.0, 25.6, 25.6, 5.0]
  pillar_m: 0.64
  pillar_layers: [8]
  block_layers: [1, 1, 1]
  block_widths: [8, 8, 8]
  up_widths: [4, 4, 4]
  shared_width: 8
  head_width: 4
labels: 0.25
xmodel: {{images: resnet10t, width: 8}}
schedule: {{frames: 8, batch: 4, evaluate_every: 1, log_every: 1}}
"""


@pytest.fixture
def recipe_path(tmp_path, data_folder):
    path = tmp_path / "teacher.yaml"
    path.write_text(textwrap.dedent(RECIPE.format(data=data_folder)))
    return path


@pytest.fixture
def recipe(recipe_path) -> TeacherRecipe:
    return load_any_recipe(recipe_path)


def task_of(recipe: TeacherRecipe) -> TeacherTask:
    frames = Frames(recipe.train, recipe.data_folder, image_spec_of(recipe), recipe.class_list)
    frames.wait(len(frames) - 1)
    return TeacherTask(recipe, frames)


def test_a_recipe_becomes_a_teacher_that_looks_at_no_image(recipe_path, tmp_path) -> None:
    out = tmp_path / "teacher.safetensors"
    result = train(recipe_path, out, progress=False)
    assert result["steps"] == 2 and 0 <= result["miou"] <= 1 and result["iou"]["ground"] is not None
    assert not any("fusion" in name or "pixels" in name for name in read_teacher(out).tensors)
    log = [json.loads(line) for line in (out.with_suffix(".training") / "log.jsonl").read_text().splitlines()]
    assert log[0]["losses"]["xmodel"] > 0 and any("miou" in line for line in log)
    report = json.loads((out.with_suffix(".training") / "report.json").read_text())
    assert report["segmentation"]["miou"] == result["miou"]


def test_the_contrast_teaches_the_teacher_and_no_frozen_image_encoder(recipe) -> None:
    task = task_of(recipe)
    played = next(task.order(4, 1, 0))
    task.begin_step(0.0)
    losses, _ = task.losses(task.load(played), None)
    losses["xmodel"].backward()
    assert task.teacher.points.mix[0].weight.grad.abs().sum() > 0
    assert task.teacher.trunk.blocks[0][0][0].weight.grad.abs().sum() > 0
    learning = {id(parameter) for group in task.parameter_groups() for parameter in group["params"]}
    frozen = list(task.modules["fusion"].pixels.parameters())
    assert frozen and not any(id(each) in learning or each.grad is not None for each in frozen)
    assert id(task.modules["fusion"].of_pixels.weight) in learning


def test_the_map_may_be_compared_in_place_of_the_points(recipe) -> None:
    task = task_of(replace(recipe, learn_points=False, xmodel=replace(recipe.xmodel, features="map")))
    task.begin_step(0.0)
    losses, _ = task.losses(task.load(next(task.order(4, 1, 0))), None)
    losses["xmodel"].backward()
    assert task.teacher.trunk.blocks[0][0][0].weight.grad.abs().sum() > 0


def test_points_are_projected_from_where_they_were_measured(recipe, monkeypatch) -> None:
    """Whatever augmentation does to a cloud, its points lie at the same pixels."""
    import semlt3d_ros.training.teacher_task as module

    seen = []

    def keep(encoder, output, T_model_ego, config, views, total):
        T = np.linalg.inv(np.stack(T_model_ego))[output.pillars.cloud.numpy()]
        points = output.pillars.points[:, :3].numpy()
        seen.append((output.pillars, (T[:, :3, :3] @ points[..., None])[..., 0] + T[:, :3, 3]))
        return output.bev.sum() * 0

    monkeypatch.setattr(module, "contrast", keep)
    still = replace(recipe.augmentation, jitter_m=0.0, drop_points=0.0)
    task = task_of(replace(recipe, augmentation=still, teacher=replace(recipe.teacher, sweeps=1)))
    played = next(task.order(4, 1, 0))
    task.losses(task.load(played), None)
    [(pillars, points)] = seen
    for number, place in enumerate(played):
        cloud = task.frames.frames.frame(place.index).points
        now = points[(pillars.cloud == number).numpy()]
        apart = np.linalg.norm(now[:50, None] - cloud.xyz[None], axis=-1).min(axis=1)
        assert len(now) > 100 and apart.max() < 1e-3


def test_a_step_has_frames_with_labels_and_frames_without(recipe) -> None:
    task = task_of(recipe)
    for played in task.order(4, 6, 0):
        sample = task.load(played)
        labelled = [frame.labels is not None for frame in sample.frames]
        assert sum(labelled) == 2 and not any(frame.views for frame in sample.frames)
        for has_labels, classes in zip(labelled, sample.point_classes, strict=True):
            assert (classes >= 0).any() == has_labels
    assert {frame.index for played in task.order(4, 6, 0) for frame in played} == set(range(8))


def test_without_images_only_frames_with_labels_are_played(recipe) -> None:
    task = task_of(replace(recipe, xmodel=None))
    assert len({frame.index for played in task.order(4, 6, 0) for frame in played}) == 2
    assert task.load(next(task.order(4, 1, 0))).views is None


def test_a_larger_share_of_the_labels_holds_a_smaller_one() -> None:
    parts = [Part([[range(20, 60)], [range(60, 80), range(90, 130)]])]
    shares = [labelled_part(parts, share, 7) for share in (0.001, 0.1, 0.5)]
    assert [len(share) for share in shares] == [1, 10, 50] and shares[0] < shares[1] < shares[2]
    assert shares[2] < {*range(20, 80), *range(90, 130)}
    assert labelled_part(parts, 1.0, 7) is None and labelled_part(parts, 0.1, 8) != shares[1]


def test_clips_are_divided_by_their_labels() -> None:
    labelled, others = divided([Part([[range(0, 1), range(1, 2)], [range(2, 3)]])], frozenset({1, 2}))
    assert labelled.blocks == [[range(1, 2)], [range(2, 3)]] and others.blocks == [[range(0, 1)]]


def test_points_of_earlier_frames_bring_no_labels_along() -> None:
    now = PointCloud(np.zeros((2, 3), np.float32), classes=np.array([0, 3], np.int16))
    both = PointCloud(np.zeros((5, 3), np.float32), classes=np.array([0, 3, 1, 1, 1], np.int16))
    frame = Frame(0, (), points=now)
    assert with_own_labels(frame, both, True)[1].classes.tolist() == [0, 3, -1, -1, -1]
    assert with_own_labels(frame, both, False)[1].classes is None


def test_a_students_image_encoder_is_taken_with_its_weights(recipe, tmp_path) -> None:
    torch.manual_seed(1)
    small = {"channels": [8, 16, 24, 32], "stem_width": 8}
    student = Student(StudentConfig(image_width=96, image_height=42, backbone_args=small, width=32, feed_forward=48))
    path = tmp_path / "student.safetensors"
    save_checkpoint(path, student, "s", {"steps": 1})
    task = task_of(replace(recipe, xmodel=replace(recipe.xmodel, images=str(path))))
    theirs = student.features.backbone.state_dict()
    assert all(torch.equal(each, theirs[name]) for name, each in task._fusion.pixels.backbone.state_dict().items())


def test_frames_without_images_are_told() -> None:
    with pytest.raises(ConfigurationError, match="xmodel needs frames with images"):
        views_of([Frame(0, ())])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": 0.0}, "labels must be above 0 and not above 1"),
        ({"xmodel": {}, "paste": {}}, "paste does not go with xmodel"),
        ({"labels": 0.5, "paste": {}}, "nor with a part of the labels"),
        ({"train": [{"first_seed": 1, "drives": 1, "cameras": False}], "xmodel": {}}, "simulate with cameras: true"),
        ({"xmodel": {}, "learn_points": False}, "features: points needs learn_points"),
        ({"xmodel": {"temperature": 0.0}}, "temperature must be positive"),
        ({"xmodel": {"strides": []}}, "strides must name at least one map"),
        ({"xmodel": {"alike": 0.0}}, "alike must be above 0"),
        ({"xmodel": {"unlabelled": 1.0}}, "unlabelled must be above 0 and below 1"),
        ({"xmodel": {"image_size": [0, 4]}}, "image_size must be width and height"),
        ({"xmodel": {"imagse": "x"}}, "unknown entry 'imagse'; did you mean 'images'"),
    ],
)
def test_recipes_name_what_is_wrong(change, message) -> None:
    values = {
        "name": "t",
        "data_folder": "x",
        "train": [{"first_seed": 720, "drives": 4}],
        "validation": [{"first_seed": 750, "drives": 1}],
        "teacher": {},
    }
    parse(TeacherRecipe, {**values, "xmodel": {}, "labels": 0.5}, "recipe")
    with pytest.raises(ConfigurationError, match=message):
        parse(TeacherRecipe, {**values, **change}, "recipe")


def test_an_image_encoder_that_is_none_is_named(recipe) -> None:
    with pytest.raises(ConfigurationError, match="backbone 'nothing_like_it' could not be made"):
        task_of(replace(recipe, xmodel=replace(recipe.xmodel, images="nothing_like_it")))

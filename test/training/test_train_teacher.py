"""From a teacher's recipe to its checkpoint: learning, stopping, going on, and what is refused."""

import json
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.checkpoints.teacher import read_teacher
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels, PointCloud
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.training.engine import Engine
from semlt3d_ros.training.recipes import load_any_recipe
from semlt3d_ros.training.run import train
from semlt3d_ros.training.teacher_recipe import TeacherRecipe
from semlt3d_ros.training.teacher_task import TeacherTask, where_seen

RECIPE = """
name: tiny_teacher
seed: 4
data_folder: {data}
train:
  - &clouds {{first_seed: 720, drives: 4, frames: 2, interval_s: 0.1, drives_per_shard: 4, lidar: varied,
              cameras: false, point_limit: 8000}}
validation: {{<<: *clouds, first_seed: 750, drives: 1}}
teacher:
  point_range: [-25.6, -25.6, -3.0, 25.6, 25.6, 5.0]
  pillar_m: 0.64
  pillar_layers: [8]
  block_layers: [1, 1, 1]
  block_widths: [8, 8, 8]
  up_widths: [4, 4, 4]
  shared_width: 8
  head_width: 4
window_m: 25.6
schedule: {{frames: 16, batch: 2, save_every: 2, evaluate_every: 4}}
"""


@pytest.fixture
def teacher_recipe(tmp_path, data_folder):
    path = tmp_path / "teacher.yaml"
    path.write_text(textwrap.dedent(RECIPE.format(data=data_folder)))
    return path


def test_a_recipe_becomes_a_teacher(teacher_recipe, tmp_path) -> None:
    out = tmp_path / "teacher.safetensors"
    result = train(teacher_recipe, out, progress=False)
    assert result["steps"] == 8 and "car" in result["ap"] and result["parameters"] > 1000
    checkpoint = read_teacher(out)
    assert checkpoint.header["provenance"]["steps"] == 8 and checkpoint.version.startswith("tiny_teacher@")
    assert checkpoint.config.point_classes[-4:] == ("ground", "building", "vegetation", "other")
    log = [json.loads(line) for line in (out.with_suffix(".training") / "log.jsonl").read_text().splitlines()]
    assert log[0]["step"] == 4 and {"heat", "boxes", "points", "total"} <= set(log[0]["losses"])
    sight = TeacherDetector.load(out).look(PointCloud(np.zeros((5, 3), np.float32)))
    assert sight.detections.model_version == checkpoint.version


class Interrupt(Exception):
    pass


def test_an_interrupted_run_goes_on_where_it_was(teacher_recipe, tmp_path) -> None:
    recipe = load_any_recipe(teacher_recipe)
    assert isinstance(recipe, TeacherRecipe)
    with Frames(recipe.train, recipe.data_folder, ImageSpec(16, 8, 0.0), recipe.class_list) as frames:

        def engine(name):
            (tmp_path / name).mkdir(exist_ok=True)
            return Engine(TeacherTask(recipe, frames), recipe.schedule, tmp_path / name)

        whole = engine("a")
        whole.run()

        def stop_at_three(step, steps, losses):
            if step == 3:
                raise Interrupt

        with pytest.raises(Interrupt):
            engine("b").run(stop_at_three)
        resumed = engine("b")
        resumed.resume()
        assert resumed.step == 3
        resumed.run()
    both = whole.averaged.module.state_dict(), resumed.averaged.module.state_dict()
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])


def test_a_teacher_starts_from_another_one(teacher_recipe, tmp_path) -> None:
    out = tmp_path / "first.safetensors"
    train(teacher_recipe, out, progress=False)
    recipe = replace(load_any_recipe(teacher_recipe), initial=out, seed=9)
    with Frames(recipe.train, recipe.data_folder, ImageSpec(16, 8, 0.0), recipe.class_list) as frames:
        task = TeacherTask(recipe, frames)
    tensors = read_teacher(out).tensors
    assert all(torch.equal(values, tensors[name]) for name, values in task.teacher.state_dict().items())


def test_an_object_that_shows_too_few_points_is_neither_learnt_nor_background() -> None:
    boxes = Boxes3D(np.array([[5.0, 0, 0.8], [15.0, 0, 0.8]]), np.full((2, 3), 2.0), np.zeros(2), np.zeros((2, 2)))
    labels = Labels(boxes, np.array([0, 1]))
    cloud = PointCloud(np.array([[5.0, 0.1 * k, 0.8] for k in range(6)] + [[15.0, 0.0, 0.8]], np.float32))
    assert where_seen(labels, cloud, 3).class_ids.tolist() == [0, -1]
    assert where_seen(labels, cloud, 1).class_ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_m": -1.0}, "window_m must not be negative"),
        ({"validation": [{"first_seed": 721, "drives": 1}]}, "two parts of the data share seed 721"),
        ({"train": [{"first_seed": 1, "drives": 1, "labelled": False}]}, "teachers need labelled sources"),
        ({"augmentation": {"scale": [1.2, 0.8]}}, "scale must be the smallest and the largest factor"),
        ({"teacher": {"pillar_m": 0.3}}, "must span whole pillars of 0.3 m"),
        ({"loss_weights": {"heatt": 1.0}}, "unknown entry 'heatt'; did you mean 'heat'"),
        ({"classes": "nowhere.yaml"}, "classes: "),
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
    parse(TeacherRecipe, values, "recipe")
    with pytest.raises(ConfigurationError, match=message):
        parse(TeacherRecipe, {**values, **change}, "recipe")

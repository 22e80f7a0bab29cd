"""Learning on from a checkpoint by the command line: other recordings, other classes."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from semlt3d_ros.checkpoints.shipped import default_checkpoint
from semlt3d_ros.cli import main
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.given import Given
from semlt3d_ros.training.recipe import load_recipe
from semlt3d_ros.training.student_task import StudentTask

FINETUNE = Path(__file__).resolve().parents[2] / "config" / "recipes" / "finetune.yaml"
STUDENT = StudentConfig(
    image_width=96,
    image_height=42,
    backbone_args={"channels": [8, 16, 24, 32], "stem_width": 8},
    width=32,
    feed_forward=48,
    anchors=16,
    proposals=8,
    depth_bins=8,
    memory_frames=2,
    memory_queries=4,
    block="language_experts",
    expert_width=8,
    shared_width=16,
    language_width=64,
)
CLASSES = """
name: mine
classes:
  - {name: adult, superclass: pedestrian, range_m: 30}
  - {name: lorry, superclass: vehicle, words: truck}
  - {name: car, superclass: vehicle, range_m: 45}
"""
LABELS = """
source: lt3d
target: mine
classes: {car: car, truck: lorry, bus: lorry, trailer: lorry, adult: adult, child: adult}
ignored: [construction_vehicle, bicycle, motorcycle, emergency_vehicle, police_officer, construction_worker, stroller,
  personal_mobility, pushable_pullable, debris, traffic_cone, barrier]
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetune")
    config = DriveConfig(3, frames=5, interval_s=0.2, image_size=(128, 72), objects=(12, 14))
    simulate(folder / "drive.mcap", config, progress=False)
    (folder / "mine.yaml").write_text(CLASSES)
    (folder / "labels.yaml").write_text(LABELS)
    torch.manual_seed(0)
    student = Student(STUDENT)
    anchors = torch.nn.functional.normalize(torch.randn(18, 64), dim=-1)
    student.set_anchors(anchors)
    save_checkpoint(folder / "start.safetensors", student, "start", {}, {"source": "", "prompts": []})
    return folder


@pytest.fixture
def recipe(files, tmp_path) -> Path:
    """The shipped recipe, short and in a folder of its own."""
    values = yaml.safe_load(FINETUNE.read_text())
    values["data_folder"] = str(files / "data")
    values["schedule"] |= {"frames": 16, "batch": 2}
    path = tmp_path / "finetune.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_other_classes_are_learnt_from_a_bag(recipe, files, tmp_path, capsys) -> None:
    out, start = tmp_path / "mine.safetensors", files / "start.safetensors"
    words = ["train", str(recipe), "--bags", str(files / "drive.mcap"), "--checkpoint", str(start), "--seed", "5"]
    words += ["--classes", str(files / "mine.yaml"), "--label-map", str(files / "labels.yaml"), "-o", str(out)]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 8 and set(result["ap"]) == {"adult", "lorry", "car"}
    assert list(result["classes_begun"]) == ["lorry"] and "bus" in result["classes_dropped"]
    made, origin = read_checkpoint(out), read_checkpoint(start)
    assert made.config.class_names == ("adult", "lorry", "car") and made.classes.classes[2].range_m == 45
    given = made.header["provenance"]["given"]
    assert (
        given["seed"] == 5 and given["classes"].endswith("mine.yaml") and given["bags"] == [str(files / "drive.mcap")]
    )
    assert made.header["provenance"]["data"][0]["frames"] == 4  # the last fifth is kept to judge by
    # The whole model has learnt, from the weights it was given: a few steps away, not anew.
    steps = {
        key: (made.tensors[key] - value).norm() / value.norm()
        for key, value in origin.tensors.items()
        if key.startswith("features.") and key.endswith("weight") and value.dim() > 1
    }
    assert all(0 < change < 0.2 for change in steps.values())
    car = origin.tensors["decoder.layers.1.classify.3.weight"][0]
    assert (made.tensors["decoder.layers.1.classify.3.weight"][2] - car).norm() / car.norm() < 0.2
    assert main(["detect", str(files / "drive.mcap"), "-o", str(tmp_path / "d.mcap"), "--checkpoint", str(out)]) == 0
    assert Detector.load(out).class_names == ("adult", "lorry", "car")


def test_what_is_not_given_stays_as_the_recipe_has_it(recipe, files) -> None:
    start = files / "start.safetensors"
    same = load_recipe(recipe, Given())
    assert same == load_recipe(recipe) and same.train[0].bags == ("drives/*.mcap",)
    assert same.student.width == 96  # of the checkpoint that comes with the package
    other = load_recipe(recipe, Given(bags=("a/*.mcap", "b"), label_map="nuscenes_to_lt3d", checkpoint=start))
    assert other.train[0].bags == other.validation[0].bags == ("a/*.mcap", "b")
    assert other.train[0].label_map == other.validation[0].label_map == "nuscenes_to_lt3d"
    assert other.train[0].part == (0.0, 0.8) and other.validation[0].part == (0.8, 1.0)
    assert other.student == replace(STUDENT, pretrained=False) and other.start == start


def test_super_classes_of_ones_own_count(recipe, files, tmp_path) -> None:
    """A deer of nobody's knowledge begins as the people its list puts it beside, where language says nothing."""
    (tmp_path / "zoo.yaml").write_text(
        "name: zoo\nclasses:\n  - {name: deer, superclass: pedestrian}\n  - {name: car}\n"
    )
    plain = Student(replace(STUDENT, block="plain", language_width=0))
    save_checkpoint(tmp_path / "plain.safetensors", plain, "plain", {})
    found = load_recipe(recipe, Given(classes=str(tmp_path / "zoo.yaml"), checkpoint=tmp_path / "plain.safetensors"))
    found = replace(found, loss_weights=replace(found.loss_weights, alignment=0.0, distillation=0.0))
    task = StudentTask(found, SimpleNamespace(), None)
    assert task.adopted is not None and task.adopted.begun["deer"].startswith(
        "the mean of its super-class 'pedestrian'"
    )


def test_recordings_to_judge_by_leave_all_others_to_learn_from(recipe) -> None:
    found = load_recipe(recipe, Given(bags=("a",), validation_bags=("b",), label_map="kitti_to_lt3d"))
    assert [spec.bags for spec in (*found.train, *found.validation)] == [("a",), ("b",)]
    assert found.train[0].part == found.validation[0].part == (0.0, 1.0)
    assert found.validation[0].label_map == "kitti_to_lt3d"


def test_images_have_the_size_of_the_recipe_or_of_the_checkpoint_that_is_given(recipe, files) -> None:
    values = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump(values | {"image_size": [160, 68]}))
    shipped = read_checkpoint(default_checkpoint()).config
    found = load_recipe(recipe)
    assert (found.student.image_width, found.student.image_height) == (160, 68)
    assert replace(found.student, image_width=shipped.image_width, image_height=shipped.image_height) == shipped
    assert load_recipe(recipe, Given(checkpoint=files / "start.safetensors")).student == STUDENT
    for wrong in ([0, 68], [160], 160):
        recipe.write_text(yaml.safe_dump(values | {"image_size": wrong}))
        with pytest.raises(ConfigurationError, match="image_"):
            load_recipe(recipe)


def test_everything_is_learnt_from_where_nothing_is_to_be_judged(recipe, files, tmp_path, capsys) -> None:
    out, start = tmp_path / "all.safetensors", files / "start.safetensors"
    words = ["train", str(recipe), "--bags", str(files / "drive.mcap"), "--checkpoint", str(start), "--all"]
    assert main([*words, "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 8 and "ap" not in result
    provenance = read_checkpoint(out).header["provenance"]
    assert provenance["data"][0]["frames"] == 5 and provenance["given"]["everything"] is True
    with pytest.raises(SystemExit):
        main([*words, "--validation-bags", "others"])


def test_sources_that_are_simulated_stay_beside_the_recordings(recipe, recipe_path) -> None:
    simulated = yaml.safe_load(recipe_path.read_text())["train"] | {"image_size": [224, 128]}
    values = yaml.safe_load(recipe.read_text())
    values["train"] = [values["train"] | {"share": 0.7}, simulated]
    recipe.write_text(yaml.safe_dump(values))
    found = load_recipe(recipe, Given(bags=("a",), validation_bags=("b",)))
    assert found.train[0].bags == ("a",) and found.train[0].share == 0.7 and found.train[1].simulate.first_seed == 500


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Given(classes="nothing.yaml"), "classes: class list 'nothing.yaml'"),
        (Given(checkpoint=Path("nothing.safetensors")), "checkpoint 'nothing.safetensors' does not exist"),
    ],
)
def test_what_is_given_wrongly_is_named(recipe, given, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_recipe(recipe, given)


def test_a_recipe_without_recordings_takes_none(recipe_path) -> None:
    with pytest.raises(ConfigurationError, match="learns from no recordings"):
        load_recipe(recipe_path, Given(bags=("a",)))
    assert load_recipe(recipe_path, Given(seed=8)).seed == 8

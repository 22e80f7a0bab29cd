"""What a teacher says of training frames, in the student's classes; and students that learn from it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.small_robot import TEACHER
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.checkpoints.teacher import save_teacher
from semlt3d_ros.core.classes import ClassInfo, ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.distillation.settings import Cmkd, Distillation, PseudoLabels
from semlt3d_ros.inference.teacher_cache import Taught
from semlt3d_ros.student.batch import collate
from semlt3d_ros.teacher.teacher import Teacher
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.recipe import load_recipe
from semlt3d_ros.training.run import train
from semlt3d_ros.training.teaching import Teaching, pseudo_labels

DISTILLATION = """
distillation:
  teacher: {teacher}
  cmkd: {{}}
  pseudo_labels: {{score: 0.02, doubt: 0.01}}
"""


@pytest.fixture
def teacher_path(tmp_path):
    torch.manual_seed(0)
    config = replace(
        TEACHER,
        class_names=("car", "adult", "wheelbarrow"),
        tasks=(),
        point_range=(-25.6, -25.6, -3.0, 25.6, 25.6, 5.0),
        point_classes=(),
        detections=5,
    )
    path = tmp_path / "teacher.safetensors"
    save_teacher(path, Teacher(config), "small", {})
    return path


@pytest.fixture
def taught_recipe(recipe_path, teacher_path):
    """A labelled source and one without labels."""
    text = recipe_path.read_text()
    old = next(line for line in text.splitlines() if line.startswith("train:"))
    source = old.removeprefix("train: ").replace("}", ", point_limit: 8000}")
    other = source.replace("first_seed: 500, drives: 2", "first_seed: 530, drives: 1")
    other = other.replace("}", ", labelled: false}")
    text = text.replace(old, f"train: [{source}, {other}]") + DISTILLATION.format(teacher=teacher_path)
    recipe_path.write_text(text)
    return recipe_path


@pytest.fixture
def teaching(taught_recipe):
    recipe = load_recipe(taught_recipe)
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        frames.wait(len(frames) - 1)
        yield Teaching(recipe.distillation, frames, recipe.class_list, taught_recipe.parent), frames, recipe


def test_a_signal_is_what_was_said_in_the_students_classes(teaching) -> None:
    teaching, frames, recipe = teaching
    said = [teaching.taught(0), None, teaching.taught(2)]
    batch = collate([frames.frame(index) for index in range(3)], 96, 42)
    signal = teaching.signal(said, batch)
    names = list(recipe.class_list.names)
    car, adult = names.index("car"), names.index("adult")
    assert signal.there.tolist() == [True, False, True]
    assert signal.known.nonzero()[:, 0].tolist() == sorted([car, adult])
    assert np.array_equal(signal.heat[2, car].numpy(), said[2].heat[0])
    assert np.array_equal(signal.heat[2, adult].numpy(), said[2].heat[1])
    assert signal.heat[2].sum() == signal.heat[2, [car, adult]].sum() and not signal.heat[1].any()
    count = len(said[0].boxes)
    assert signal.boxes[0, :count].numpy() == pytest.approx(said[0].boxes)
    assert signal.scores[0, :count, car].numpy() == pytest.approx(said[0].scores[:, 0].astype(np.float32))
    assert not signal.scores[0, count:].any() and not signal.scores[1].any()
    assert signal.bev.shape[1] == teaching.width and torch.equal(signal.occupied[0], torch.from_numpy(said[0].occupied))


def test_labels_are_given_only_to_those_without(teaching) -> None:
    teaching, frames, recipe = teaching
    labelled, unlabelled = frames.frame(0), frames.frame(len(frames) - 1)
    assert labelled.labels is not None and unlabelled.labels is None
    said = teaching.taught(len(frames) - 1)
    assert teaching.labelled(labelled, said) is labelled
    assert teaching.labelled(unlabelled, None) is unlabelled
    given = teaching.labelled(unlabelled, said).labels
    assert given.class_names == recipe.class_list.names and len(given.boxes)


def test_what_the_teacher_doubts_is_neither_an_object_nor_background() -> None:
    classes = ClassList("two", tuple(ClassInfo(name) for name in ("a", "b")))
    boxes = np.arange(27, dtype=np.float32).reshape(3, 9)
    said = Taught(*(np.zeros(0, np.float16),) * 4, boxes=boxes, scores=np.zeros((3, 2), np.float16))
    scores = np.array([[0.1, 0.7], [0.2, 0.1], [0.05, 0.02]], np.float32)
    labels = pseudo_labels(said, scores, classes, PseudoLabels(score=0.3, doubt=0.15))
    assert labels.class_ids.tolist() == [1, -1]
    assert labels.boxes.centers == pytest.approx(boxes[:2, :3])
    assert labels.boxes.velocity == pytest.approx(boxes[:2, 7:])


def test_a_teacher_that_knows_none_of_the_classes_is_refused(teaching, teacher_path, tmp_path) -> None:
    _, frames, _ = teaching
    other = ClassList("other", (ClassInfo("submarine"),))
    with pytest.raises(ConfigurationError, match="submarine"):
        Teaching(Distillation(teacher_path, cmkd=Cmkd()), frames, other, tmp_path)


def test_a_student_follows_a_teacher_from_recipe_to_checkpoint(taught_recipe, tmp_path) -> None:
    out = tmp_path / "out.safetensors"
    result = train(taught_recipe, out, progress=False)
    assert result["steps"] == 8
    log = [json.loads(line) for line in (out.with_suffix(".training") / "log.jsonl").read_text().splitlines()]
    losses = log[-1]["losses"]
    assert {"cmkd_features", "cmkd_heat", "cmkd_boxes", "cmkd_classes", "cmkd_codes"} <= set(losses)
    assert all(np.isfinite(value) for value in losses.values())
    # Nothing of what is for training only gets into the student.
    assert not any("branch" in name or "distill" in name for name in read_checkpoint(out).tensors)
    recipe = load_recipe(taught_recipe)
    assert list((recipe.data_folder / "teacher").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cmkd: {}", "cmkt: {}", "unknown entry 'cmkt'; did you mean 'cmkd'"),
        ("cmkd: {}", "cmkd: {heat: -1.0}", "heat must not be negative"),
        ("score: 0.02", "score: 0.001", r"doubt \(0.01\) must not be above score \(0.001\)"),
        ("labelled: false", "labelled: maybe", "labelled"),
    ],
)
def test_recipes_name_what_is_wrong(taught_recipe, old, new, message) -> None:
    text = taught_recipe.read_text()
    assert old in text
    taught_recipe.write_text(text.replace(old, new))
    with pytest.raises(ConfigurationError, match=message):
        load_recipe(taught_recipe)


def test_something_has_to_be_learnt(taught_recipe) -> None:
    recipe = load_recipe(taught_recipe)
    with pytest.raises(ConfigurationError, match="nothing is learnt from the teacher; give at least one of cmkd"):
        replace(recipe.distillation, cmkd=None, pseudo_labels=None)
    unlabelled = tuple(spec for spec in recipe.train if not spec.labelled)
    assert replace(recipe, train=unlabelled).distillation is not None  # no label at all is fine with a teacher
    with pytest.raises(ConfigurationError, match="no source of train is labelled, and there is no distillation"):
        replace(recipe, train=unlabelled, distillation=None)
    with pytest.raises(ConfigurationError, match="validation needs labelled sources"):
        replace(recipe, validation=unlabelled)


def test_a_students_checkpoint_is_no_teacher(taught_recipe, tmp_path) -> None:
    student = tmp_path / "student.safetensors"
    train(taught_recipe, student, progress=False)
    recipe = load_recipe(taught_recipe)
    with (
        open_frames(recipe.train, recipe.data_folder, recipe.student) as frames,
        pytest.raises(ConfigurationError, match="is of a camera detector, not of a LiDAR teacher"),
    ):
        Teaching(replace(recipe.distillation, teacher=student), frames, recipe.class_list, tmp_path)

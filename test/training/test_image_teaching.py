"""Students that follow teachers of images: one that sees depth, and SAM's encoder."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import yaml
from timm.models import save_for_hf

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from semlt3d_ros.checkpoints.teacher import save_teacher
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.opening import load_detector
from semlt3d_ros.losses.targets import points_of
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.depth_images import seeing_depth
from semlt3d_ros.student.student import Student
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import Teacher
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.image_teaching import ImageTeaching
from semlt3d_ros.training.recipe import load_recipe, parse_recipe
from semlt3d_ros.training.run import train, train_recipe
from semlt3d_ros.training.student_task import StudentTask
from semlt3d_ros.training.teaching import Teaching

SAM = {"embed_dim": 16, "depth": 2, "num_heads": 2, "global_attn_indexes": [1], "img_size": 96, "window_size": 2}
FEW = {"frames": 4, "batch": 2, "evaluate_every": 0}


@pytest.fixture(scope="module")
def sam_folder(tmp_path_factory):
    """A small encoder of SAM's kind that has learnt nothing, as timm writes one."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam")
    model = timm.create_model("samvit_base_patch16", num_classes=0, neck_chans=24, **SAM)
    save_for_hf(model, folder, model_args={"neck_chans": 24, **SAM}, safe_serialization=True)
    return folder


@pytest.fixture
def values(recipe_path, tmp_path):
    """The entries of the tiny recipe, with whole clouds and a folder of its own for what teachers say."""
    values = yaml.safe_load(recipe_path.read_text())
    values["train"]["point_limit"] = 8000
    return {**values, "schedule": FEW}


@pytest.fixture
def depth_teacher(values, tmp_path):
    torch.manual_seed(1)
    recipe = parse_recipe({**values, "student": {**values["student"], "input": "depth"}}, "recipe")
    path = tmp_path / "depth.safetensors"
    save_checkpoint(path, Student(recipe.student), "depth", {}, classes=recipe.class_list)
    return path


@pytest.fixture
def lidar_teacher(tmp_path):
    torch.manual_seed(0)
    small = {"pillar_layers": (8,), "block_layers": (1, 1, 1), "block_widths": (8, 8, 8), "up_widths": (4, 4, 4)}
    config = TeacherConfig(pillar_m=0.64, **small, shared_width=8, head_width=4, score=0.0, detections=5)
    teacher, path = Teacher(config), tmp_path / "lidar.safetensors"
    for name, values in teacher.named_parameters():
        if ".heat." in name and name.endswith("bias"):
            values.data += 3.0  # sure enough of something to be followed
    save_teacher(path, teacher, "small", {})
    return path


def distilled(values, **distillation):
    return parse_recipe({**values, "distillation": distillation}, "recipe")


def test_everything_teaches_at_once_and_the_student_is_the_same(
    values, tmp_path, data_folder, depth_teacher, lidar_teacher, sam_folder
) -> None:
    """All losses are there, the checkpoint is one of a plain student, and a second run finds what was said."""
    recipe = {
        **values,
        "distillation": {
            "teacher": str(lidar_teacher),
            "cmkd": {},
            "monostl": {"teacher": str(depth_teacher)},
            "samdistill": {"sam": str(sam_folder)},
        },
        "schedule": {**FEW, "log_every": 1},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    train_recipe(load_recipe(path), tmp_path / "one.safetensors", {}, validated=False)
    lines = (tmp_path / "one.training" / "log.jsonl").read_text().splitlines()
    losses = json.loads(lines[-1])["losses"]
    monostl = ("features", "relations", "query_features", "query_relations")
    samdistill = ("alignment", "context", "relations", "classes", "boxes", "sam")
    wanted = {*(f"monostl_{name}" for name in monostl), *(f"samdistill_{name}" for name in samdistill), "cmkd_heat"}
    assert wanted <= set(losses) and [name for name in wanted if not losses[name] > 0] == []
    plain = Student(load_recipe(path).student).state_dict()
    written = read_checkpoint(tmp_path / "one.safetensors")
    assert written.tensors.keys() == plain.keys() and written.config.input == "light"
    kept = said(data_folder)
    assert {path.parent.parent.parent.name for path in kept} == {"depth", "sam", "teacher"}
    train_recipe(load_recipe(path), tmp_path / "two.safetensors", {}, validated=False)
    assert said(data_folder) == kept
    second = json.loads((tmp_path / "two.training" / "log.jsonl").read_text().splitlines()[-1])["losses"]
    assert second == pytest.approx(losses, rel=1e-4)


def said(folder):
    """Files of what teachers have said; one that is written anew has another number."""
    files = (path for name in ("depth", "sam", "teacher") for path in (folder / name).rglob("*.safetensors"))
    return {path: path.stat().st_ino for path in files}


@pytest.fixture
def frames(values):
    recipe = parse_recipe(values, "recipe")
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        frames.wait(len(frames) - 1)
        yield frames


def test_what_is_kept_is_what_the_teacher_says(values, tmp_path, frames, depth_teacher, sam_folder) -> None:
    values = {**values, "data_folder": str(tmp_path)}
    recipe = distilled(values, monostl={"teacher": str(depth_teacher)}, samdistill={"sam": str(sam_folder)})
    teaching = ImageTeaching(recipe.distillation, recipe)
    assert teaching.sam_width == 24
    shown = [frames.frame(0), frames.frame(1), replace(frames.frame(0), points=None)]
    batch, points, mirror = collate(shown, 96, 42), points_of(shown), torch.tensor([False, True, False])
    stored = [frames.regions(0)] * 3
    known = teaching.known(shown, stored, batch, mirror)
    assert all(each.depth.said is None and each.sam.said is None for each in known)
    first = teaching.signals(known, batch, points, mirror)
    again = teaching.known(shown, stored, batch, mirror)
    assert [each.depth.said is not None for each in again] == [True, True, False]
    assert all(each.sam.said is not None for each in again)
    second = teaching.signals(again, batch, points, mirror)
    for one, other in zip(first.depth.features, second.depth.features, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(first.sam.features, second.sam.features) and first.sam.features.shape[2:] == (3, 6, 24)
    assert first.depth.looked.there.tolist() == [True, True, False] and not first.depth.features[0][2].any()

    teacher = read_checkpoint(depth_teacher).student()
    with torch.no_grad():
        output = teacher(seeing_depth(batch, points))
    assert torch.allclose(first.depth.features[0][0], output.features[0][0].permute(0, 2, 3, 1), atol=1e-2)
    assert torch.allclose(first.depth.layer.logits[0], output.layers[-1].logits[0], atol=1e-2)
    assert not torch.allclose(first.depth.features[0][1], output.features[0][1].permute(0, 2, 3, 1), atol=1e-2)
    # Mirrored it is another frame, and its own.
    assert teaching.known(shown, stored, batch, ~mirror)[0].depth.said is None
    assert first.depth.looked.T_ego_recorded[:, 1, 1].tolist() == [1.0, -1.0, 1.0]


def test_another_teacher_says_it_anew(values, tmp_path, frames, depth_teacher) -> None:
    values = {**values, "data_folder": str(tmp_path)}
    recipe = distilled(values, monostl={"teacher": str(depth_teacher)})
    shown = [frames.frame(0)]
    batch, points, mirror = collate(shown, 96, 42), points_of(shown), torch.tensor([False])
    stored = [frames.regions(0)]
    one = ImageTeaching(recipe.distillation, recipe)
    said = one.signals(one.known(shown, stored, batch, mirror), batch, points, mirror)
    torch.manual_seed(5)
    save_checkpoint(depth_teacher, Student(read_checkpoint(depth_teacher).config), "depth", {})
    other = ImageTeaching(recipe.distillation, recipe)
    known = other.known(shown, stored, batch, mirror)
    assert known[0].depth.said is None
    assert not torch.equal(other.signals(known, batch, points, mirror).depth.features[0], said.depth.features[0])


def test_a_depth_teacher_is_trained_by_a_recipe_and_runs_nowhere_else(values, tmp_path, frames) -> None:
    path, out = tmp_path / "depth.yaml", tmp_path / "depth.safetensors"
    path.write_text(yaml.safe_dump({**values, "student": {**values["student"], "input": "depth"}}))
    train(path, out, progress=False)
    assert read_checkpoint(out).config.input == "depth"
    with pytest.raises(ConfigurationError, match="looks at depth that a LiDAR has measured, not at images"):
        load_detector(out)
    detector, frame = Detector.load(out), frames.frame(0)
    with_points = detector.look(frame)
    # It looks at points, and at nothing else.
    dark = tuple(replace(view, image=np.zeros_like(view.image)) for view in frame.views)
    assert torch.equal(detector.look(replace(frame, views=dark)).logits, with_points.logits)
    blind = detector.look(replace(frame, points=None))
    assert not torch.equal(blind.logits, with_points.logits) and blind.logits.isfinite().all()


def test_the_frame_before_is_of_the_same_drive(values, tmp_path, frames, lidar_teacher) -> None:
    recipe = distilled(values, teacher=str(lidar_teacher), samdistill={})
    teaching = Teaching(recipe.distillation, frames, recipe.class_list, tmp_path)
    assert [teaching.before(index) is None for index in range(4)] == [True, False, True, False]
    before, then, now = teaching.before(3), frames.frame(2), frames.frame(3)
    assert np.array_equal(before.said.bev, teaching.taught(2).bev)
    # What stands still is in the world where it was, also of vehicles that stand still themselves.
    place, moved = np.array([5.0, 2.0, 0.0, 1.0]), []
    for index in (1, 3):
        T_world_then, T_world_now = (frames.frame(number).T_world_ego for number in (index - 1, index))
        assert T_world_then @ teaching.before(index).T_before_now @ place == pytest.approx(T_world_now @ place)
        moved.append(np.linalg.norm(T_world_then[:2, 3] - T_world_now[:2, 3]))
    assert max(moved) > 1.0
    signal = teaching.signal([teaching.taught(2), teaching.taught(3)], collate([then, now], 96, 42), [None, before])
    assert signal.before.there.tolist() == [False, True]
    assert signal.before.T_before_now[1].numpy() == pytest.approx(before.T_before_now, abs=1e-4)
    blind = Teaching(
        distilled(values, teacher=str(lidar_teacher), cmkd={}).distillation, frames, recipe.class_list, tmp_path
    )
    assert blind.before(3) is None


def test_a_student_is_asked_for_nothing_that_nobody_follows(values, frames, depth_teacher) -> None:
    """MonoSTL needs no LiDAR teacher, and none is loaded."""
    absent = "absent.safetensors"
    recipe = distilled(values, teacher=absent, monostl={"teacher": str(depth_teacher)})
    task = StudentTask(recipe, frames)
    assert task.teaching is None and task.image_teaching is not None
    with pytest.raises(ConfigurationError, match="absent"):
        StudentTask(distilled(values, teacher=absent, samdistill={}), frames)


def test_teachers_that_do_not_fit_are_refused(values, tmp_path, depth_teacher) -> None:
    def refused(says: str, **distillation) -> None:
        recipe = distilled(values, **distillation)
        with pytest.raises(ConfigurationError, match=says):
            ImageTeaching(recipe.distillation, recipe)

    config = read_checkpoint(depth_teacher).config
    light, wide = tmp_path / "light.safetensors", tmp_path / "wide.safetensors"
    save_checkpoint(light, Student(replace(config, input="light")), "light", {})
    save_checkpoint(wide, Student(replace(config, width=48)), "wide", {})
    refused("sees light as its student does", monostl={"teacher": str(light)})
    refused("width is 48, the student's 32", monostl={"teacher": str(wide)})
    refused("'absent.safetensors' does not exist", monostl={"teacher": "absent.safetensors"})
    refused("'resnet10t' is no encoder of SAM", samdistill={"sam": "resnet10t"})


def test_a_depth_teacher_is_checked_before_anything_is_rendered_and_never_overwritten(
    values, tmp_path, depth_teacher
) -> None:
    path = tmp_path / "recipe.yaml"

    def refused(says: str, teacher, out) -> None:
        folder = tmp_path / "unused"
        changed = {**values, "data_folder": str(folder), "distillation": {"monostl": {"teacher": str(teacher)}}}
        path.write_text(yaml.safe_dump(changed))
        with pytest.raises(ConfigurationError, match=says):
            train(path, out, progress=False)
        assert not folder.exists()

    light = tmp_path / "light.safetensors"
    save_checkpoint(light, Student(replace(read_checkpoint(depth_teacher).config, input="light")), "light", {})
    refused("sees light as its student does", light, tmp_path / "out.safetensors")
    refused("does not exist", tmp_path / "absent.safetensors", tmp_path / "out.safetensors")
    refused("the depth teacher", depth_teacher, depth_teacher)


def test_losses_that_nobody_knows_are_refused_with_those_that_there_are(values) -> None:
    with pytest.raises(ConfigurationError, match=r"'mimicry'; there are teacher, .*cmkd, monostl, samdistill"):
        distilled(values, mimicry={}, cmkd={})
    with pytest.raises(ConfigurationError, match=r"monostl: missing teacher"):
        distilled(values, monostl={})
    with pytest.raises(ConfigurationError, match="sam_stride is 4, none of the student's strides"):
        distilled(values, samdistill={"sam": "samvit_base_patch16", "sam_stride": 4})
    with pytest.raises(ConfigurationError, match="nothing is learnt from the teacher; give at least one of cmkd"):
        distilled(values)

"""Checkpoints of LiDAR teachers: there and back, damaged ones, and those of another kind."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load, save

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, read_classes, read_config, save_checkpoint
from semlt3d_ros.checkpoints.file import ENTRY
from semlt3d_ros.checkpoints.shipped import default_checkpoint
from semlt3d_ros.checkpoints.teacher import read_teacher, save_teacher
from semlt3d_ros.cli import main
from semlt3d_ros.core.classes import ClassInfo, ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.tensor_file import read_tensor_file
from semlt3d_ros.inference.opening import load_detector
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import Teacher

NAMES = ("car", "tram", "adult")


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    torch.manual_seed(0)
    return Teacher(
        TeacherConfig(
            class_names=NAMES,
            tasks=(("adult",), ("tram", "car")),
            point_range=(-6.4, -6.4, -3.0, 6.4, 6.4, 5.0),
            pillar_layers=(4,),
            block_layers=(0, 0, 0),
            block_widths=(4, 4, 4),
            up_widths=(2, 2, 2),
            shared_width=4,
            head_width=4,
            suppression_m2=(0.5, 4.0),
            point_classes=(*NAMES, "ground"),
            T_ego_model=((0.0, 1.0, 0.0, 0.9), (-1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 1.8), (0.0, 0.0, 0.0, 1.0)),
        )
    ).eval()


@pytest.fixture(scope="module")
def content(teacher, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("teacher") / "own.safetensors"
    save_teacher(path, teacher, "own", {"recipe": "mine.yaml"})
    return path.read_bytes()


@pytest.fixture
def path(content, tmp_path):
    file = tmp_path / "own.safetensors"
    file.write_bytes(content)
    return file


def rewritten(path, header=lambda header: header, tensors=lambda tensors: tensors) -> None:
    """The same file with another header, or other tensors."""
    content, metadata = read_tensor_file(path)
    changed = header(json.loads(metadata[ENTRY]))
    path.write_bytes(save(tensors(load(content)), {ENTRY: json.dumps(changed)}))


def test_a_teacher_comes_back_as_it_was(path, teacher) -> None:
    checkpoint = read_teacher(path)
    assert checkpoint.config == teacher.config and checkpoint.classes.names == NAMES
    assert checkpoint.header["provenance"] == {"recipe": "mine.yaml"}
    assert checkpoint.version == f"own@{hashlib.sha256(path.read_bytes()).hexdigest()[:10]}"
    again = checkpoint.teacher()
    assert not again.training
    cloud = torch.rand(100, 5, generator=torch.Generator().manual_seed(0)) * 8 - 4
    with torch.inference_mode():
        mine, wanted = again([cloud]), teacher([cloud])
    assert torch.equal(mine.bev, wanted.bev) and torch.equal(mine.point_logits, wanted.point_logits)
    assert all(torch.equal(a[k], b[k]) for a, b in zip(mine.tasks, wanted.tasks, strict=True) for k in b)


def test_classes_of_ones_own_are_kept(teacher, tmp_path) -> None:
    mine = ClassList("mine", tuple(ClassInfo(name, superclass="own") for name in NAMES))
    save_teacher(tmp_path / "own.safetensors", teacher, "own", {}, mine)
    assert read_teacher(tmp_path / "own.safetensors").classes == mine
    turned = ClassList("mine", tuple(ClassInfo(name) for name in reversed(NAMES)))
    with pytest.raises(ValueError, match="the teacher's classes are car, tram, adult, not adult, tram, car"):
        save_teacher(tmp_path / "other.safetensors", teacher, "own", {}, turned)
    assert not (tmp_path / "other.safetensors").exists()


def test_a_full_disk_leaves_the_earlier_file(path, teacher, disk_of) -> None:
    before = path.read_bytes()
    with disk_of(2000), pytest.raises(ConfigurationError):
        save_teacher(path, teacher, "new", {})
    assert path.read_bytes() == before


@pytest.mark.parametrize("length", [0, 5, 100, 3000, -1])
def test_a_file_that_was_cut_off(path, length) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ConfigurationError, match="is not a readable safetensors file"):
        read_teacher(path)


def test_a_file_that_is_none(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_teacher(tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(save({"weight": torch.zeros(2)}))
    with pytest.raises(ConfigurationError, match="has no semlt3d header"):
        read_teacher(foreign)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"config": []}, "config must be a mapping of entries"),
        ({"config": {"pillar_m": "wide"}}, "pillar_m must be a number"),
        ({"config": {"pillarm": 0.3}}, "unknown entry 'pillarm'; did you mean 'pillar_m'"),
        ({"config": {"heading": "north"}}, "heading must be one of sin_cos, cos_sin"),
        ({"classes": None}, "classes must be a mapping of entries"),
        ({"config": {}}, "its class list and its config name other classes"),
        ({"format": 99}, "has format 99; this version reads format 1"),
    ],
)
def test_a_header_that_cannot_be_used(path, change, says) -> None:
    rewritten(path, lambda header: header | change)
    with pytest.raises(ConfigurationError) as refused:
        read_teacher(path)
    assert says in str(refused.value) and str(path) in str(refused.value)


def test_tensors_that_do_not_fit(path) -> None:
    rewritten(path, tensors=lambda tensors: {k: v for k, v in tensors.items() if not k.startswith("head.shared")})
    with pytest.raises(ConfigurationError, match=r"does not fit its own config: .*Missing key.*head\.shared"):
        read_teacher(path).teacher()
    rewritten(path, lambda header: header | {"config": {**header["config"], "shared_width": 6}})
    with pytest.raises(ConfigurationError, match="does not fit its own config"):
        read_teacher(path).teacher()


def test_a_teacher_is_no_student(path) -> None:
    for read in (read_checkpoint, read_config, read_classes):
        with pytest.raises(ConfigurationError, match="is of a LiDAR teacher, not of a camera student"):
            read(path)
    with pytest.raises(ConfigurationError, match="a LiDAR teacher is for semlt3d label --teacher"):
        load_detector(path)


def test_a_student_is_no_teacher(tmp_path) -> None:
    student = Student(
        StudentConfig(
            image_width=32, image_height=32, backbone_args={"channels": [4, 4, 4, 4], "stem_width": 4},
            strides=(8, 16), width=8, heads=2, layers=1, anchors=4, proposals=2, memory_frames=0, pretrained=False,
        )
    )  # fmt: skip
    save_checkpoint(tmp_path / "student.safetensors", student, "student", {})
    with pytest.raises(ConfigurationError, match="is of a camera detector, not of a LiDAR teacher"):
        read_teacher(tmp_path / "student.safetensors")


def test_recipes_refuse_what_is_of_the_other_kind(path, tmp_path, capsys) -> None:
    """Before anything is rendered."""
    clips = "{first_seed: 1, drives: 1, frames: 2}"
    common = f"name: a\ndata_folder: {tmp_path}/data\ntrain: [{clips}]\nvalidation: {clips.replace('1', '9', 1)}\n"
    for entries, says in (
        (f"initial: {path}", "is of a LiDAR teacher, not of a camera student"),
        (f"teacher: {{}}\ninitial: {default_checkpoint()}", "is of a camera detector, not of a LiDAR teacher"),
        (f"distillation: {{teacher: {default_checkpoint()}, cmkd: {{}}}}", "is of a camera detector, not of a LiDAR"),
    ):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(f"{common}{entries}\n")
        assert main(["train", str(recipe), "-o", str(tmp_path / "out.safetensors")]) == 2
        assert says in capsys.readouterr().err
        assert not (tmp_path / "data").exists() and not (tmp_path / "out.safetensors").exists()

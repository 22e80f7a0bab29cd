"""CenterPoint on pillars from three code bases: one network by three sets of names."""

import re

import pytest
import torch

from bench.parity.fixtures import FOLDER, fixtures
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.checkpoints.import_centerpoint import convert
from semlt3d_ros.checkpoints.import_weights import Choices, import_weights
from semlt3d_ros.checkpoints.teacher import read_teacher
from semlt3d_ros.cli import main
from semlt3d_ros.core.classes import ClassInfo, ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import Teacher

TASKS = (("car",), ("truck", "construction_vehicle"), ("bus", "trailer"), ("barrier",), ("motorcycle", "bicycle"),
         ("pedestrian", "traffic_cone"))  # fmt: skip
NAMES = tuple(name for task in TASKS for name in task)
MAPS = {
    "mmdet": dict(offset="reg", height="height", size="dim", heading="rot", velocity="vel", heat="heatmap"),
    "pcdet": dict(offset="center", height="center_z", size="dim", heading="rot", velocity="vel", heat="hm"),
    "authors": dict(offset="reg", height="height", size="dim", heading="rot", velocity="vel", heat="hm"),
}


def network(origin: str) -> Teacher:
    """A small teacher of the origin's layout, with weights that differ everywhere."""
    torch.manual_seed(1)
    config = TeacherConfig(
        class_names=NAMES,
        tasks=TASKS,
        point_range=(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
        pillar_m=0.2,
        intensity_scale=255.0,
        max_points=0 if origin == "pcdet" else 20,
        pillar_layers=(8,) if origin == "mmdet" else (8, 6),
        center_z=origin != "authors",
        block_layers=(1, 2, 1),
        block_widths=(6, 8, 10),
        up_scales=(0.5, 1.0, 2.0),
        up_widths=(7, 8, 9),
        shared_width=5,
        head_width=4,
        head_bias=origin != "mmdet",
        heading="cos_sin" if origin == "pcdet" else "sin_cos",
        size_order="wlh" if origin == "authors" else "lwh",
    )
    teacher = Teacher(config)
    for values in teacher.state_dict().values():
        if values.dtype.is_floating_point:
            values.copy_(torch.rand_like(values) + 0.1 if values.dim() == 1 else torch.randn_like(values))
    return teacher.eval()


def named_as(origin: str, teacher: Teacher) -> dict[str, torch.Tensor]:
    """Its tensors by the names that the origin would have given them."""
    first = 0 if origin == "mmdet" else 1
    tensors = {}
    for name, values in teacher.state_dict().items():
        parts = name.split(".")
        if parts[0] == "pillars":
            start = {"mmdet": "pts_voxel_encoder", "pcdet": "vfe", "authors": "reader"}[origin]
            key = f"{start}.pfn_layers.{'.'.join(parts[2:])}"
        elif parts[1] == "blocks":
            start = {"mmdet": "pts_backbone", "pcdet": "backbone_2d", "authors": "neck"}[origin]
            key = f"{start}.blocks.{parts[2]}.{first + 3 * int(parts[3]) + int(parts[4])}.{parts[5]}"
        elif parts[1] == "ups":
            start = {"mmdet": "pts_neck", "pcdet": "backbone_2d", "authors": "neck"}[origin]
            key = f"{start}.deblocks.{'.'.join(parts[2:])}"
            if origin == "pcdet" and name == "trunk.ups.1.0.weight":
                values = values.transpose(0, 1)
        elif parts[1] == "shared":
            start = {"mmdet": "pts_bbox_head", "pcdet": "dense_head", "authors": "bbox_head"}[origin]
            place = {"mmdet": ("conv", "bn"), "pcdet": "01", "authors": "01"}[origin][int(parts[2])]
            key = f"{start}.shared_conv.{place}.{parts[3]}"
        else:
            start = {
                "mmdet": "pts_bbox_head.task_heads", "pcdet": "dense_head.heads_list", "authors": "bbox_head.tasks"
            }[origin]  # fmt: skip
            inner = {"mmdet": ("0.conv", "0.bn", "1"), "pcdet": ("0.0", "0.1", "1"), "authors": ("0", "1", "3")}[origin]
            place = inner[2] if parts[4] == "1" else inner[int(parts[5])]
            key = f"{start}.{parts[2]}.{MAPS[origin][parts[3]]}.{place}.{parts[-1]}"
        tensors[key] = values.clone()
    return tensors | ({"global_step": torch.tensor([7])} if origin == "pcdet" else {})


def cloud() -> torch.Tensor:
    points = torch.rand(400, 5, generator=torch.Generator().manual_seed(2))
    points[:, :2] = points[:, :2] * 20 - 10
    points[:, 2] = points[:, 2] * 4 - 3
    return points


@pytest.mark.parametrize("origin", ["mmdet", "pcdet", "authors"])
def test_what_is_imported_is_the_same_network(origin, tmp_path) -> None:
    teacher = network(origin)
    path = tmp_path / "weights.pth"
    wrapper = "model_state" if origin == "pcdet" else "state_dict"
    torch.save({wrapper: named_as(origin, teacher), "epoch": 20, "optimizer_state": {"state": {}}}, path)
    imported = import_weights(path, Choices(T_ego_model=(0.0,) * 6))
    for name in ("pillar_layers", "center_z", "block_strides", "block_layers", "block_widths", "up_scales", "up_widths",
                 "head_bias", "heading", "size_order", "max_points", "tasks"):  # fmt: skip
        assert getattr(imported.teacher.config, name) == getattr(teacher.config, name), name
    assert imported.dropped.get("others", 0) == 0
    with torch.inference_mode():
        mine, wanted = imported.teacher([cloud()]), teacher([cloud()])
    assert torch.equal(mine.bev, wanted.bev)
    for said, right in zip(mine.tasks, wanted.tasks, strict=True):
        assert all(torch.equal(said[name], right[name]) for name in right)


def test_the_command_writes_a_teacher_that_looks(tmp_path, capsys) -> None:
    path, out = tmp_path / "weights.pth", tmp_path / "teacher.safetensors"
    torch.save(named_as("mmdet", network("mmdet")), path)
    assert main(["import-weights", str(path), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "from: mmdetection3d" in text and "points of a pillar: 20" in text
    checkpoint = read_teacher(out)
    assert checkpoint.classes.names == NAMES and checkpoint.config.suppression_m2[0] == 4.0
    # nuScenes' LiDAR looks along y, and sits on the roof.
    assert checkpoint.config.T_ego_model[0][3] == pytest.approx(0.943713)
    assert checkpoint.config.T_ego_model[0][1] == pytest.approx(1.0, abs=0.01)
    with pytest.raises(ConfigurationError):
        read_checkpoint(out)


def test_what_does_not_fit_is_named() -> None:
    tensors = named_as("mmdet", network("mmdet"))
    lacking = {k: v for k, v in tensors.items() if k != "pts_bbox_head.task_heads.2.vel.1.bias"}
    with pytest.raises(ConfigurationError, match=r"lacks head\.tasks\.2\.velocity\.1\.bias"):
        convert(lacking, Choices())
    more = tensors | {"pts_backbone.blocks.0.9.weight": torch.zeros(6, 6, 3, 3)}
    with pytest.raises(ConfigurationError, match="lacks"):
        convert(more, Choices())
    damaged = {k: v.clone() for k, v in tensors.items()}
    damaged["pts_neck.deblocks.1.0.weight"][0, 0, 0, 0] = torch.nan
    with pytest.raises(ConfigurationError, match=r"'trunk\.ups\.1\.0\.weight' holds numbers that are not finite"):
        convert(damaged, Choices())
    five = ClassList("five", tuple(ClassInfo(name) for name in "abcde"))
    with pytest.raises(ConfigurationError, match="tells 10 classes apart, but list 'five' has 5"):
        convert(tensors, Choices(classes=five))
    odd = tensors | {"pts_voxel_encoder.pfn_layers.0.linear.weight": torch.zeros(8, 20)}
    with pytest.raises(ConfigurationError, match=re.escape("takes 20 numbers of a point")):
        convert(odd, Choices())


def test_other_classes_keep_the_order_of_the_heads() -> None:
    ten = ClassList("ten", tuple(ClassInfo(name) for name in "abcdefghij"))
    imported = convert(named_as("pcdet", network("pcdet")), Choices(classes=ten))
    assert imported.teacher.config.tasks == (("a",), ("b", "c"), ("d", "e"), ("f",), ("g", "h"), ("i", "j"))


@pytest.mark.skipif(not fixtures(), reason=f"no fixtures of published modules in {FOLDER}")
def test_the_published_size_is_found(tmp_path) -> None:
    fixture = next((each for each in fixtures() if each.name.startswith("centerpoint_pillar")), None)
    if fixture is None:
        pytest.skip("no fixture of a pillar CenterPoint")
    imported = convert(fixture.weights(), Choices())
    config = imported.teacher.config
    assert config.block_widths == (64, 128, 256) and config.up_widths == (128, 128, 128) and config.shared_width == 64
    assert sum(values.numel() for values in imported.teacher.parameters()) == 5_982_854

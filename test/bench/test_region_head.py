"""What the head of regions names right, and where there is none."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench.region_head import head_of, shares
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.distillation.regions import RegionLoss
from semlt3d_ros.distillation.settings import Regions
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.engine import STATE_NAME

LT3D = load_class_list("lt3d")


def test_all_classes_weigh_alike_and_those_that_are_not_there_nothing() -> None:
    many, few = LT3D.of_group("many")[:2], LT3D.of_group("few")[:1]
    truth = np.array([many[0]] * 4 + [many[1]] + [few[0]] * 2)
    told = np.array([many[0], many[0], many[0], few[0], many[1], few[0], many[1]])
    found = shares(truth, told, LT3D)
    assert found["many"] == pytest.approx((0.75 + 1.0) / 2) and found["few"] == pytest.approx(0.5)
    assert found["all"] == pytest.approx((0.75 + 1.0 + 0.5) / 3) and np.isnan(found["medium"])


def test_the_head_is_found_beside_the_checkpoint_or_asked_for(tmp_path) -> None:
    config = StudentConfig(block="language_experts", language_width=12, memory_frames=0)
    student = Student(config)
    with pytest.raises(SystemExit, match="has no head of regions; train with"):
        head_of(tmp_path / "it.safetensors", student)
    trained = RegionLoss(Regions(), config, 12)
    (tmp_path / "it.training").mkdir()
    tensors = {f"module.distillation.0.{name}": tensor for name, tensor in trained.state_dict().items()}
    save_file({**tensors, "module.student.x": torch.zeros(1)}, tmp_path / "it.training" / STATE_NAME)
    found = head_of(tmp_path / "it.safetensors", student).of_maps.state_dict()
    assert found.keys() == trained.of_maps.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in trained.of_maps.state_dict().items())

"""Cells of a fine backbone map, handed to the finest level as they are."""

from dataclasses import replace

import pytest
import torch

from semlt3d_ros.checkpoints.adoption import adopt
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.features import Details, ImageFeatures
from semlt3d_ros.student.student import Student


def test_each_cell_is_told_what_the_fine_cells_within_it_show() -> None:
    torch.manual_seed(0)
    details = Details(3, 2, 5)
    torch.nn.init.normal_(details.say.weight)
    fine, coarse = torch.randn(2, 3, 8, 6), torch.zeros(2, 7, 4, 3)
    before = details(fine, coarse)
    fine[1, :, 5, 2] += 3.0
    changed = (details(fine, coarse) != before).any(1)
    assert before.shape == (2, 5, 4, 3) and torch.nonzero(changed).tolist() == [[1, 2, 1]]


def test_maps_that_do_not_come_out_even_are_filled() -> None:
    details = Details(3, 4, 5)
    torch.nn.init.normal_(details.say.weight)
    fine = torch.randn(1, 3, 13, 9)
    whole = torch.zeros(1, 3, 16, 12)
    whole[..., :13, :9] = fine
    coarse = torch.zeros(1, 1, 4, 3)
    assert torch.equal(details(fine, coarse), details(whole, coarse))


@pytest.mark.parametrize("strides", [(8, 16), (4, 8, 16)])
def test_a_trained_student_that_gets_them_is_the_one_it_was_and_learns_by_them(
    config, frames, tmp_path, strides
) -> None:
    torch.manual_seed(1)
    config = replace(config, strides=strides)
    before = Student(config).eval()
    save_checkpoint(tmp_path / "before.safetensors", before, "before", {}, classes=load_class_list("lt3d"))
    after = Student(replace(config, detail_stride=2)).eval()
    adopted = adopt(after, tmp_path / "before.safetensors")
    assert adopted.fresh and all(name.startswith("features.details.") for name in adopted.fresh)
    batch = collate(frames, 96, 64)
    one, other = before(batch), after(batch)
    assert torch.equal(one.layers[-1].logits, other.layers[-1].logits)
    other.layers[-1].logits.sum().backward()
    assert after.features.details.say.weight.grad.abs().sum() > 0
    save_checkpoint(tmp_path / "after.safetensors", after, "after", {}, classes=load_class_list("lt3d"))
    kept = read_checkpoint(tmp_path / "after.safetensors")
    assert kept.config.detail_stride == 2 and "features.details.say.weight" in kept.tensors


@pytest.mark.parametrize("stride", [8, 16, 3, -2])
def test_strides_that_are_not_finer_are_refused(stride) -> None:
    with pytest.raises(ConfigurationError, match="detail_stride must"):
        StudentConfig(strides=(8, 16), detail_stride=stride)


def test_a_backbone_without_the_map_says_so(config) -> None:
    with pytest.raises(ConfigurationError, match=r"has strides \[2, 4, 8, 16, 32\], not \[1\]"):
        ImageFeatures(replace(config, strides=(8,), detail_stride=1))

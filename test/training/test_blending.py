"""A checkpoint half way between what a run began with and what it learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.blending import weights_of_start
from semlt3d_ros.training.recipe import load_recipe
from semlt3d_ros.training.run import train


def trained(recipe_path: Path, out: Path, **entries: Any) -> Path:
    values = yaml.safe_load(recipe_path.read_text()) | entries
    values["schedule"] |= {"frames": 4, "evaluate_every": 0}
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(values))
    train(path, out, progress=False)
    return out


def test_half_of_the_start_is_kept(recipe_path: Path, tmp_path: Path) -> None:
    start = trained(recipe_path, tmp_path / "start.safetensors")
    learnt = trained(recipe_path, tmp_path / "learnt.safetensors", initial=str(start), seed=5)
    half = trained(recipe_path, tmp_path / "half.safetensors", initial=str(start), seed=5, initial_share=0.5)
    before, after, between = (read_checkpoint(path).tensors for path in (start, learnt, half))
    moved = 0
    for name, tensor in between.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (before[name] + after[name]) / 2, atol=1e-6, rtol=1e-5, msg=name)
            moved += int(not torch.equal(before[name], after[name]))
    assert moved > 20


def test_what_was_fitted_to_other_classes_is_left_as_it_was_learnt(recipe_path: Path, tmp_path: Path) -> None:
    start = trained(recipe_path, tmp_path / "start.safetensors")
    student = Student(load_recipe(recipe_path).student)
    tensors = read_checkpoint(start).tensors
    student.load_state_dict(tensors)
    name = next(name for name in tensors if tensors[name].ndim == 2)
    with torch.no_grad():
        student.state_dict()[name][0] += 1.0
    taken = weights_of_start(student, start)
    assert name not in taken and len(taken) > 20


def test_a_share_needs_a_start(recipe_path: Path) -> None:
    recipe_path.write_text(recipe_path.read_text() + "initial_share: 0.5\n")
    with pytest.raises(ConfigurationError, match="initial_share needs an initial checkpoint"):
        load_recipe(recipe_path)

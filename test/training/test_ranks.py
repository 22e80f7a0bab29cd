"""Several processes: the gradients of one with the whole batch, one checkpoint, an end that can be resumed from."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from semlt3d_ros.checkpoints.checkpoint import read_header
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.training.engine import Engine
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.language import Semantics
from semlt3d_ros.training.ranks import Ranks, joined
from semlt3d_ros.training.recipe import load_recipe
from semlt3d_ros.training.student_task import StudentTask

LANGUAGE = """  memory_frames: 2
  memory_queries: 4
  block: language_experts
  experts: 3
  expert_width: 16
  shared_width: 16
  language_width: 64
loss_weights: {alignment: 1.0, distillation: 0.5, balance: 0.01}
augmentation: {rotate: false, brightness: 0.0, contrast: 0.0, tint: 0.0, blur: 0.0, noise: 0.0, drop_camera: 0.0}
schedule: {frames: 8, batch: 4, clip: 1.0e+9, save_every: 1, evaluate_every: 0}
"""


def torchrun(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=250)


def gradients(recipe_path: Path, folder: Path, ranks: Ranks) -> dict[str, torch.Tensor]:
    """Of the second step, in which there is a memory; without chance, and without statistics of the batch."""
    recipe = load_recipe(recipe_path)
    semantics = Semantics(recipe, folder / "regions")
    with open_frames(recipe.train, recipe.data_folder, recipe.student, ranks.prepares) as frames:
        task = StudentTask(recipe, frames, semantics=semantics, ranks=ranks)
        begin = task.begin_step

        def begin_without_statistics(share: float) -> None:
            begin(share)
            for module in task.student.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

        task.begin_step = begin_without_statistics
        task.denoiser.forward = lambda targets: None
        engine = Engine(task, recipe.schedule, folder, ranks)
        engine.run()
    return {name: p.grad.contiguous().clone() for name, p in task.student.named_parameters() if p.grad is not None}


@pytest.fixture
def language_recipe(recipe_path):
    text = recipe_path.read_text()
    text = text.replace("frames: 2, drives_per_shard: 1", "frames: 3, drives_per_shard: 1, regions: true")
    head, _, _ = text.replace("first_seed: 500, drives: 2", "first_seed: 520, drives: 5").partition("schedule:")
    recipe_path.write_text(head + LANGUAGE)
    return recipe_path


def test_two_processes_get_the_gradients_of_one_with_the_whole_batch(language_recipe, tmp_path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    alone = gradients(language_recipe, tmp_path / "one", Ranks())
    result = torchrun(__file__, str(language_recipe), str(tmp_path / "two"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    shared = [load_file(tmp_path / "two" / f"gradients{rank}.safetensors") for rank in range(2)]
    assert len(alone) > 50 and max(float(grad.abs().max()) for grad in alone.values()) > 0.1
    for name, grad in alone.items():
        assert torch.equal(shared[0][name], shared[1][name])
        assert torch.allclose(shared[0][name], grad, rtol=1e-3, atol=1e-5 * float(grad.abs().max()) + 1e-7), name
    # One process goes on where two have stopped, and the other way round.
    states = [load_file(tmp_path / name / "state.safetensors") for name in ("one", "two")]
    carried = [key for key in states[0] if key.startswith("extra.carried.")]
    assert carried and all(torch.allclose(states[0][key], states[1][key], atol=1e-4) for key in carried)
    recipe = load_recipe(language_recipe)
    recipe = replace(recipe, schedule=replace(recipe.schedule, frames=12))
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        task = StudentTask(recipe, frames, semantics=Semantics(recipe, tmp_path / "regions"))
        engine = Engine(task, recipe.schedule, tmp_path / "two")
        assert engine.resume() == 2 and len(engine.carried.stamps) == 4
        engine.run()
        assert engine.step == 3


def test_torchrun_trains_one_checkpoint_and_resumes(recipe_path, tmp_path) -> None:
    out = tmp_path / "shared.safetensors"
    command = ["-m", "semlt3d_ros.cli", "train", str(recipe_path), "-o", str(out), "--json"]
    text = recipe_path.read_text()
    recipe_path.write_text(text.replace("frames: 16, batch: 2", "frames: 12, batch: 2"))
    result = torchrun(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["steps"] == 6
    recipe_path.write_text(text)
    out.unlink()
    result = torchrun(*command, "--resume", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["steps"] == 8 and read_header(out)["provenance"]["steps"] == 8
    log = [json.loads(line) for line in (tmp_path / "shared.training" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [4]


def test_a_batch_that_cannot_be_divided_is_refused(recipe_path, tmp_path) -> None:
    recipe = load_recipe(recipe_path)
    with pytest.raises(ConfigurationError, match="a batch of 2 cannot be divided among 3 processes"):
        Engine(StudentTask(recipe, []), recipe.schedule, tmp_path, Ranks(0, 3))


def test_a_process_that_was_started_alone_trains_alone(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")  # as a cluster sets it, without anybody to meet
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with joined() as ranks:
        assert (ranks.rank, ranks.size, ranks.leads, ranks.prepares) == (0, 1, True, True)


def test_a_machine_with_fewer_gpus_than_processes_is_told(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="process 1 of this machine has no GPU, there are 1"), joined():
        pass


def test_processes_divide_everything_once() -> None:
    for size in (1, 2, 3, 5):
        for count in (1, 4, 7):
            parts = [np.arange(count)[Ranks(rank, size).own(count)] for rank in range(size)]
            assert np.concatenate(parts).tolist() == list(range(count))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined() as own:
        found = gradients(Path(sys.argv[1]), Path(sys.argv[2]), own)
        save_file(found, Path(sys.argv[2]) / f"gradients{own.rank}.safetensors")

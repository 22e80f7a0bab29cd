"""Model folders with small students in them, and small robots that have gone through a round of the loop."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.small_robot import write_robot
from semlt3d_ros.adaptation import loop
from semlt3d_ros.adaptation.learning import CANDIDATE
from semlt3d_ros.adaptation.loop import run_round
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.adaptation.settings import LoopSettings, load_settings
from semlt3d_ros.adaptation.status import Status
from semlt3d_ros.adaptation.verdict import Verdict
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, save_checkpoint


@pytest.fixture
def store(tmp_path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture(scope="session")
def checkpoint(small_student: Callable[[int], Path]) -> Callable[[int], Path]:
    """Makes the checkpoint of a small student, another one for each seed."""
    return small_student


@pytest.fixture(scope="session")
def went_round(tmp_path_factory) -> tuple[LoopSettings, list[Status]]:
    """A robot that has gone through one round, and all that it told."""
    torch.set_num_threads(1)
    settings = load_settings(write_robot(tmp_path_factory.mktemp("robot")))
    told: list[Status] = []
    run_round(settings, told.append)
    return settings, told


@pytest.fixture
def robot(went_round, tmp_path) -> LoopSettings:
    """A copy of that robot before its round; frames that were decoded then are there already."""
    torch.set_num_threads(1)
    settings, _ = went_round
    for name in ("events", "models"):
        shutil.copytree(getattr(settings, name), tmp_path / name, symlinks=True)
    shutil.copytree(settings.work / "data", tmp_path / "work" / "data")
    return replace(settings, **{name: tmp_path / name for name in ("events", "models", "work")})


@pytest.fixture
def save_small(robot) -> Callable[[Path], None]:
    """Saves a candidate: the model that runs, with other weights."""

    def save(path: Path) -> None:
        store = ModelStore(robot.models)
        student = read_checkpoint(store.path(store.current())).student()
        with torch.no_grad():
            next(student.parameters()).add_(1.0)
        save_checkpoint(path, student, "adapted", {})

    return save


@pytest.fixture
def judged(robot, save_small, monkeypatch) -> Callable[..., Status]:
    """``judged(promoted)``: the round of a robot whose gate says so, of a candidate that is there at once."""

    def run(promoted: bool, settings: LoopSettings = robot) -> Status:
        def judge(candidate: Path, running: Path, *_: object) -> Verdict:
            names = [read_checkpoint(path).version for path in (candidate, running)]
            return Verdict(promoted, *names, ("because",))

        monkeypatch.setattr(loop, "judge", judge)
        monkeypatch.setattr(loop, "learn", lambda folder, *_: save_small(folder / CANDIDATE))
        return run_round(settings)

    return run

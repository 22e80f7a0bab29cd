"""A tiny drive and an untrained checkpoint, made once."""

import json

import pytest

from semlt3d_ros.cli import main


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A student that has learnt nothing, as a checkpoint."""
    import torch

    from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
    from semlt3d_ros.student.config import StudentConfig
    from semlt3d_ros.student.student import Student

    torch.manual_seed(0)
    config = StudentConfig.from_dict(
        {
            "image_width": 112,
            "image_height": 64,
            "backbone": "resnet10t",
            "backbone_args": {"channels": [8, 16, 24, 32], "stem_width": 8},
        }
    )
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    save_checkpoint(path, Student(config), "untrained", {})
    return path


@pytest.fixture(scope="session")
def drive(tmp_path_factory):
    """A simulated drive of four small camera sets."""
    path = tmp_path_factory.mktemp("drive") / "drive.mcap"
    assert main(["simulate", str(path), "--seed", "3", "--frames", "4", "--size", "112x64"]) == 0
    return path


@pytest.fixture
def answer(capsys):
    """Run a command with ``--json`` and get what it prints."""

    def run(*words):
        assert main([*map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refusal(capsys):
    """Run a command that must fail, and get its one line on stderr."""

    def run(*words):
        assert main([str(word) for word in words]) == 2
        output = capsys.readouterr()
        (line,) = output.err.splitlines()
        assert line.startswith("semlt3d: error: ")
        return line

    return run

"""Small students as checkpoints of a model folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student

SMALL = StudentConfig(
    image_width=64,
    image_height=32,
    backbone_args={"channels": [4, 8, 8, 8], "stem_width": 4},
    width=16,
    heads=2,
    feed_forward=16,
    anchors=8,
    proposals=4,
    depth_bins=4,
    layers=1,
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Callable[[int], Path]:
    """Makes the checkpoint of a small student, another one for each seed."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def made(seed: int) -> Path:
        path = folder / f"small{seed}.safetensors"
        if not path.exists():
            torch.manual_seed(seed)
            save_checkpoint(path, Student(SMALL), f"small{seed}", {})
        return path

    return made


@pytest.fixture
def store(tmp_path) -> ModelStore:
    return ModelStore(tmp_path / "models")

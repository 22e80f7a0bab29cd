"""Model folders with small students in them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from semlt3d_ros.adaptation.models import ModelStore


@pytest.fixture
def store(tmp_path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture(scope="session")
def checkpoint(small_student: Callable[[int], Path]) -> Callable[[int], Path]:
    """Makes the checkpoint of a small student, another one for each seed."""
    return small_student

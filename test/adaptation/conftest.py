"""Model folders with small students in them."""

import pytest

from semlt3d_ros.adaptation.models import ModelStore


@pytest.fixture
def store(tmp_path) -> ModelStore:
    return ModelStore(tmp_path / "models")

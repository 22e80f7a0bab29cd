"""A recipe small enough to train in seconds."""

import textwrap

import pytest
import torch

RECIPE = """
name: tiny
seed: 3
data_folder: {data}
train: {{first_seed: 500, drives: 2, frames: 2, drives_per_shard: 1, image_size: [96, 56], top_crop: 0.25}}
validation: {{first_seed: 10, drives: 1, frames: 1, image_size: [96, 56], top_crop: 0.25}}
student:
  image_width: 96
  image_height: 42
  top_crop: 0.25
  backbone_args: {{channels: [8, 16, 24, 32], stem_width: 8}}
  width: 32
  feed_forward: 48
  anchors: 16
  proposals: 8
  depth_bins: 8
schedule: {{frames: 16, batch: 2, save_every: 2, evaluate_every: 4}}
"""


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def recipe_path(tmp_path, data_folder):
    path = tmp_path / "tiny.yaml"
    path.write_text(textwrap.dedent(RECIPE.format(data=data_folder)))
    return path


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)

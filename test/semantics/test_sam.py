"""SAM's encoder through timm: features over the cells of a student, and what cannot be had."""

import pytest
import timm
import torch
from timm.models import save_for_hf

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.semantics.sam import SamEncoder

ARGUMENTS = {
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "global_attn_indexes": [1],
    "img_size": 64,
    "window_size": 2,
    "neck_chans": 24,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam")
    model = timm.create_model("samvit_base_patch16", num_classes=0, **ARGUMENTS)
    save_for_hf(model, folder, model_args=ARGUMENTS, safe_serialization=True)
    return folder


def test_features_lie_over_the_cells_of_a_student(folder) -> None:
    images = torch.randint(0, 255, (2, 3, 48, 64), dtype=torch.uint8)
    coarse, fine = SamEncoder(str(folder), 16), SamEncoder(str(folder), 8)
    assert coarse.width == 24 and coarse.features(images).shape == (2, 3, 4, 24)
    assert fine.features(images).shape == (2, 6, 8, 24)
    assert coarse.version != fine.version and SamEncoder(str(folder), 16).version == coarse.version
    # What is no whole number of cells is filled up.
    assert coarse.features(images[..., :40, :]).shape == (2, 3, 4, 24)
    # A change in one corner changes that corner most.
    other = images.clone()
    other[:, :, :16, :16] = 255 - other[:, :, :16, :16]
    change = (coarse.features(other) - coarse.features(images)).norm(dim=-1)
    assert (change.flatten(1).argmax(1) == 0).all()
    assert not coarse.features(images).requires_grad


@pytest.mark.parametrize("name", ["samvit_none", "/nowhere/sam", "resnet10t"])
def test_what_is_no_such_encoder_is_told_in_one_line(name) -> None:
    with pytest.raises(ConfigurationError, match="samvit_") as caught:
        SamEncoder(name, 16)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_are_out_of_reach_are_told_of(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"'samvit_base_patch16' could not be had .*timm.models.save_for_hf"):
        SamEncoder("samvit_base_patch16", 16)

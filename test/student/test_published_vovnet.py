"""The original names of V2-99's tensors."""

import torch

from semlt3d_ros.student.backbone import v2_99
from semlt3d_ros.student.published.vovnet import timm_name

LAYER = ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked")


def original_names() -> list[str]:
    names = [f"stem.stem_{layer}/{rest}" for layer in (1, 2, 3) for rest in LAYER]
    for stage, blocks in zip((2, 3, 4, 5), (1, 3, 9, 3), strict=True):
        for block in range(1, blocks + 1):
            osa = f"OSA{stage}_{block}"
            names += [f"stage{stage}.{osa}.layers.{i}.{osa}_{i}/{rest}" for i in range(5) for rest in LAYER]
            names += [f"stage{stage}.{osa}.concat.{osa}_concat/{rest}" for rest in LAYER]
            names += [f"stage{stage}.{osa}.ese.fc.{rest}" for rest in ("weight", "bias")]
    return names


def test_every_tensor_has_one_name_in_timm() -> None:
    with torch.device("meta"):
        wanted = list(v2_99().state_dict())
    assert sorted(map(timm_name, original_names())) == sorted(wanted)


def test_other_names_stay() -> None:
    assert timm_name("layer1.0.conv1.weight") == "layer1.0.conv1.weight"
    assert timm_name("stages_1.blocks.1.conv_mid.4.bn.bias") == "stages_1.blocks.1.conv_mid.4.bn.bias"

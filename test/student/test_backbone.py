"""Backbones: the papers' V2-99."""

import pytest
import torch
from torch import nn

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.backbone import V2_99, make_backbone


def gates(network: nn.Module) -> dict[str, int]:
    """Channels of every squeeze-and-excitation."""
    return {
        name: module.fc.out_channels
        for name, module in network.named_modules()
        if type(module).__name__ == "EffectiveSEModule"
    }


def test_v2_99_has_squeeze_and_excitation_in_every_block() -> None:
    with torch.device("meta"):
        papers, timms = make_backbone(V2_99), make_backbone("ese_vovnet99b")
    blocks = {f"stages_{stage}.blocks.{block}.attn" for stage, n in enumerate((1, 3, 9, 3)) for block in range(n)}
    assert set(gates(papers)) == blocks and len(gates(timms)) == 4
    assert {gates(papers)[f"stages_{stage}.blocks.0.attn"] for stage in range(4)} == {256, 512, 768, 1024}
    assert set(timms.state_dict()) < set(papers.state_dict())
    assert len(papers.state_dict()) - len(timms.state_dict()) == 24


def test_v2_99_gives_the_strides_of_any_backbone() -> None:
    with torch.device("meta"):
        network = make_backbone(V2_99, out_indices=(2, 3, 4))
        maps = network(torch.empty(1, 3, 64, 96))
    assert network.feature_info.reduction() == [8, 16, 32]
    assert [tuple(level.shape) for level in maps] == [(1, 512, 8, 12), (1, 768, 4, 6), (1, 1024, 2, 3)]


@pytest.mark.parametrize("name", ["no_such_net", V2_99])
def test_refusals_name_the_backbone(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"backbone '{name}' could not be made.*backbone_args"):
        make_backbone(name, no_such_argument=1)


def test_there_are_no_weights_of_the_papers_v2_99_to_start_from() -> None:
    with pytest.raises(ConfigurationError, match="set pretrained: false"):
        make_backbone(V2_99, pretrained=True)

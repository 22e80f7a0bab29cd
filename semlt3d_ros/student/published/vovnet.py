"""The names of VoVNet's tensors in checkpoints of the papers, and in timm, which computes it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_RENAMED = (
    # stem.stem_1/conv.weight -> stem_0.conv.weight
    (re.compile(r"^stem\.stem_(?P<layer>\d)/(?P<rest>.+)$"), lambda m: f"stem_{int(m['layer']) - 1}.{m['rest']}"),
    # stage3.OSA3_2.layers.4.OSA3_2_4/norm.bias -> stages_1.blocks.1.conv_mid.4.bn.bias
    (
        re.compile(r"^stage(?P<stage>\d)\.OSA\d_(?P<block>\d+)\.layers\.(?P<layer>\d)\.[^/]+/(?P<rest>.+)$"),
        lambda m: f"{_block(m)}.conv_mid.{m['layer']}.{m['rest']}",
    ),
    # stage3.OSA3_2.concat.OSA3_2_concat/conv.weight -> stages_1.blocks.1.conv_concat.conv.weight
    (
        re.compile(r"^stage(?P<stage>\d)\.OSA\d_(?P<block>\d+)\.concat\.[^/]+/(?P<rest>.+)$"),
        lambda m: f"{_block(m)}.conv_concat.{m['rest']}",
    ),
    # stage3.OSA3_2.ese.fc.weight -> stages_1.blocks.1.attn.fc.weight
    (
        re.compile(r"^stage(?P<stage>\d)\.OSA\d_(?P<block>\d+)\.ese\.(?P<rest>.+)$"),
        lambda m: f"{_block(m)}.attn.{m['rest']}",
    ),
)


def timm_name(key: str) -> str:
    """The name that ``student.backbone.v2_99`` has for a tensor of the original network; others keep theirs."""
    for pattern, name in _RENAMED:
        if match := pattern.match(key):
            return re.sub(r"(^|\.)norm\.", r"\1bn.", name(match))
    return key


def timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of an original network by timm's names."""
    return {timm_name(key): tensor for key, tensor in tensors.items()}


def _block(match: re.Match[str]) -> str:
    return f"stages_{int(match['stage']) - 2}.blocks.{int(match['block']) - 1}"

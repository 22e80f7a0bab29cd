"""Backbones: timm's by their names, and the V2-99 of the papers, which timm has not."""

from __future__ import annotations

from typing import Any

import timm
from timm.layers import create_attn
from timm.models import FeatureListNet
from timm.models.vovnet import OsaBlock

from semlt3d_ros.core.errors import ConfigurationError

V2_99 = "v2_99_ese"
"""VoVNet V2-99 with effective squeeze-and-excitation in every block (Lee and Park, CVPR 2020, as released with DD3D,
StreamPETR and Far3D); timm's ``ese_vovnet99b`` has it in the last block of each stage only."""


def make_backbone(name: str, pretrained: bool = False, **arguments: Any) -> FeatureListNet:
    """A network that gives feature maps (N, C, H / stride, W / stride) of images (N, 3, H, W), finest first.

    Its ``feature_info`` says the maps' strides (``reduction()``) and channels.

    Args:
        name: a timm model that offers ``features_only``, or ``V2_99``.
        pretrained: start from timm's weights, which may be downloaded.
        **arguments: further ones for ``timm.create_model``.

    Raises:
        ConfigurationError: there is no such model, it does not take the arguments, or its weights cannot be had.
    """
    try:
        return v2_99(**arguments) if name == V2_99 and not pretrained else _of_timm(name, pretrained, arguments)
    except Exception as error:  # timm hands on what it stumbles over, mistyped arguments for one
        remedy = "set pretrained: false, or provide the weights" if pretrained else f"choose a timm model or '{V2_99}'"
        raise ConfigurationError(
            f"backbone '{name}' could not be made ({error}); {remedy}, or mend backbone_args"
        ) from error


def v2_99(**arguments: Any) -> FeatureListNet:
    """The papers' V2-99; its tensors are named as in timm's ``ese_vovnet99b``, and there are 24 more of them."""
    network = _of_timm("ese_vovnet99b", False, arguments)
    for block in network.modules():
        if isinstance(block, OsaBlock) and block.attn is None:
            block.attn = create_attn("ese", block.conv_concat.conv.out_channels)
    return network


def _of_timm(name: str, pretrained: bool, arguments: dict[str, Any]) -> FeatureListNet:
    return timm.create_model(name, pretrained=pretrained, features_only=True, **arguments)

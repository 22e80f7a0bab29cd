"""The feature pyramid of Far3D, as mmdetection computes it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FPN(nn.Module):
    """Feature pyramid without norms (Lin et al., CVPR 2017) with coarser levels on top of the last one.

    Lateral 1x1 convolutions, sums from coarse to fine, a 3x3 convolution on every level. The first further level is a
    convolution of stride 2 on the last output as it is; mmdetection's option ``relu_before_extra_convs``, which Far3D
    sets, acts only on those after it.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, outputs: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(_convolution(channels, out_channels, 1) for channels in in_channels)
        self.fpn_convs = nn.ModuleList(
            _convolution(out_channels, out_channels, 3, 1 if level < len(in_channels) else 2)
            for level in range(outputs)
        )

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Levels (N, C_i, H_i, W_i), finest first, to ``outputs`` maps (N, C, H_i, W_i)."""
        sums: list[Tensor] = [lateral(level) for lateral, level in zip(self.lateral_convs, levels, strict=True)]
        for fine in range(len(sums) - 2, -1, -1):
            # 'nearest', not 'nearest-exact': at odd sizes they take other cells.
            sums[fine] = sums[fine] + F.interpolate(sums[fine + 1], size=sums[fine].shape[-2:], mode="nearest")
        maps: list[Tensor] = []
        for level, convolution in enumerate(self.fpn_convs):
            if level <= len(sums):
                maps.append(convolution(sums[level] if level < len(sums) else maps[-1]))
            else:
                maps.append(convolution(maps[-1].relu()))
        return maps


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """A convolution with bias under the name that the original checkpoints give it."""
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(inputs, outputs, size, stride, size // 2)))

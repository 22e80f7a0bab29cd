"""The neck of PETRv2 and StreamPETR: a feature pyramid whose finest level alone has an output convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class _Convolution(nn.Module):
    """A convolution with bias under the name that the original checkpoints give it."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.conv(features)
        return result


class CPFPN(nn.Module):
    """Lateral 1x1 convolutions, sums from coarse to fine, a 3x3 convolution on the finest level; no norms."""

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(_Convolution(channels, out_channels, 1) for channels in in_channels)
        self.fpn_convs = nn.ModuleList([_Convolution(out_channels, out_channels, 3)])

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Levels (N, C_i, H_i, W_i), finest first, to as many of (N, C, H_i, W_i)."""
        maps: list[Tensor] = [lateral(level) for lateral, level in zip(self.lateral_convs, levels, strict=True)]
        for fine in range(len(maps) - 2, -1, -1):
            # 'nearest', not 'nearest-exact': at odd sizes they take other cells.
            maps[fine] = maps[fine] + F.interpolate(maps[fine + 1], size=maps[fine].shape[-2:], mode="nearest")
        return [self.fpn_convs[0](maps[0]), *maps[1:]]

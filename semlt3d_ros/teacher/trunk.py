"""The bird's-eye-view trunk: blocks of growing stride, scaled to a common size (SECOND, Yan et al., Sensors 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semlt3d_ros.teacher.config import TeacherConfig


class Trunk(nn.Module):
    """Blocks of 3x3 convolutions, and what brings their maps to one size."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        inputs, epsilon = config.pillar_layers[-1], config.trunk_epsilon
        self.blocks, self.ups = nn.ModuleList(), nn.ModuleList()
        for stride, layers, width in zip(config.block_strides, config.block_layers, config.block_widths, strict=True):
            steps = [_convolved(nn.Conv2d(inputs, width, 3, stride, 1, bias=False), epsilon)]
            steps += [_convolved(nn.Conv2d(width, width, 3, 1, 1, bias=False), epsilon) for _ in range(layers)]
            self.blocks.append(nn.Sequential(*steps))
            inputs = width
        for inputs, scale, width in zip(config.block_widths, config.up_scales, config.up_widths, strict=True):
            self.ups.append(_convolved(_scaling(inputs, width, scale), epsilon))

    def forward(self, canvas: Tensor) -> Tensor:
        """A canvas (B, C, rows, columns) to features (B, sum of up widths, rows / stride, columns / stride)."""
        maps = []
        for block, up in zip(self.blocks, self.ups, strict=True):
            canvas = block(canvas)
            maps.append(up(canvas))
        return torch.cat(maps, 1)


def _convolved(convolution: nn.Module, epsilon: float) -> nn.Sequential:
    width = convolution.out_channels
    assert isinstance(width, int)
    return nn.Sequential(convolution, nn.BatchNorm2d(width, eps=epsilon, momentum=0.01), nn.ReLU(inplace=True))


def _scaling(inputs: int, width: int, scale: float) -> nn.Module:
    """What scales a map: a strided convolution below 1, a plain one at 1, a transposed one above."""
    if scale > 1:
        return nn.ConvTranspose2d(inputs, width, round(scale), round(scale), bias=False)
    stride = round(1 / scale)
    return nn.Conv2d(inputs, width, stride, stride, bias=False)

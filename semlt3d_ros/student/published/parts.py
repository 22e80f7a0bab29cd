"""What the published query detectors have in common: position codes, modulation, and the layers of their decoders.

Formulas of PETR (Liu et al., ECCV 2022), Focal-PETR (Wang et al., 2022) and StreamPETR (Wang et al., ICCV 2023).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

EPSILON = 1e-5
_TEMPERATURE = 10000.0
_MOTION_OCTAVES = 6


def inverse_sigmoid(values: Tensor) -> Tensor:
    """The logit of ``values`` (...), which are clamped to [0, 1]; its magnitude ends at 11.5."""
    values = values.clamp(0.0, 1.0)
    return (values.clamp_min(EPSILON) / (1.0 - values).clamp_min(EPSILON)).log()


def waves(values: Tensor, count: int) -> Tensor:
    """Sines and cosines (..., count) of ``values`` (...), in turns, with wavelengths from 1 to 10,000."""
    exponents = torch.arange(count, dtype=torch.float32, device=values.device).div(2, rounding_mode="floor")
    phases = (values * (2 * math.pi))[..., None] / _TEMPERATURE ** (2 * exponents / count)
    return torch.stack([phases[..., 0::2].sin(), phases[..., 1::2].cos()], dim=-1).flatten(-2)


def point_waves(points: Tensor, width: int = 256) -> Tensor:
    """Code (..., 3 width / 2) of points (..., 3) in the unit cube, in the order y, x, z."""
    return torch.cat([waves(points[..., axis], width // 2) for axis in (1, 0, 2)], dim=-1)


def motion_waves(motion: Tensor) -> Tensor:
    """Code (..., 12 n) of numbers (..., n): their sines and cosines at six octaves."""
    parts = []
    for octave in range(_MOTION_OCTAVES):
        phases = motion * 2.0**octave
        parts += [phases.sin(), phases.cos()]
    return torch.cat(parts, dim=-1)


class Modulation(nn.Module):
    """A norm whose scale and shift depend on something else (the originals' MLN)."""

    def __init__(self, conditions: int, width: int = 256, norm: bool = True) -> None:
        """Set up.

        Args:
            conditions: numbers it depends on.
            width: of what is modulated.
            norm: normalise first, without scale and shift of its own.
        """
        super().__init__()
        self.reduce = nn.Sequential(nn.Linear(conditions, width), nn.ReLU())
        self.gamma, self.beta = nn.Linear(width, width), nn.Linear(width, width)
        self.ln = nn.LayerNorm(width, elementwise_affine=False) if norm else nn.Identity()

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        """``values`` (..., width) modulated by ``conditions`` (..., n), which are broadcast."""
        code = self.reduce(conditions)
        result: Tensor = self.gamma(code) * self.ln(values) + self.beta(code)
        return result


class Gate(nn.Module):
    """Squeeze and excitation of positions by content (the originals' featurised position embedding)."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.conv_reduce, self.conv_expand = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, positions: Tensor, content: Tensor) -> Tensor:
        """Positions (..., width) times a gate in (0, 1) made of the content (..., width)."""
        return positions * self.conv_expand(self.conv_reduce(content).relu()).sigmoid()


class Attention(nn.Module):
    """Multi-head attention with residual, under the originals' names."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(
        self, queries: Tensor, position: Tensor, values: Tensor, value_position: Tensor, absent: Tensor | None = None
    ) -> Tensor:
        """Queries (B, Q, C) after looking at ``values`` (B, K, C).

        Args:
            queries: content.
            position: (B, Q, C) added to them.
            values: content that is looked at.
            value_position: (B, K, C) added to it in the keys alone.
            absent: (B, K) True where there is nothing to look at.
        """
        result: Tensor = self.attn(
            queries + position, values + value_position, values, key_padding_mask=absent, need_weights=False
        )[0]
        return queries + result


class FeedForward(nn.Module):
    """Two linear layers with residual, under the originals' names."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        first = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True))
        self.layers = nn.ModuleList([first, nn.Linear(hidden, width)])

    def forward(self, queries: Tensor) -> Tensor:
        """Queries (..., width) to as many."""
        result: Tensor = queries + self.layers[1](self.layers[0](queries))
        return result


def two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def class_branch(width: int, hidden_layers: int, classes: int) -> nn.Sequential:
    """From queries to class logits."""
    hidden: list[nn.Module] = []
    for _ in range(hidden_layers):
        hidden += [nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*hidden, nn.Linear(width, classes))


def box_branch(width: int, hidden_layers: int, code: int) -> nn.Sequential:
    """From queries to box codes."""
    hidden: list[nn.Module] = []
    for _ in range(hidden_layers):
        hidden += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(width, code))

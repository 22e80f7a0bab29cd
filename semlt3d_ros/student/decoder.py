"""The query decoder: layers of self-attention, cross-attention and a feed-forward network with box refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semlt3d_ros.student.attention import SampledAttention
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.geometry import decode_boxes
from semlt3d_ros.student.image_head import PRIOR_LOGIT


@dataclass
class LayerOutput:
    """Predictions of one decoder layer for Q queries.

    Attributes:
        logits: (B, Q, C) class logits.
        codes: (B, Q, 10) box codes relative to ``references`` (see ``student.geometry``).
        log_scale: (B, Q) log of the Laplace scale of the radial error, in units of ``range_scale``.
        references: (B, Q, 3) metres, without gradient.
    """

    logits: Tensor
    codes: Tensor
    log_scale: Tensor
    references: Tensor

    def boxes(self) -> Tensor:
        """(B, Q, 9) x y z l w h yaw vx vy in the ego frame."""
        return decode_boxes(self.codes, self.references)


class PositionEncoding(nn.Module):
    """Queries' positions: sine waves of log range, height and the direction, mixed by a small network."""

    _FREQUENCIES = 8

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Linear(self._FREQUENCIES * 4 + 2, width), nn.ReLU(inplace=True), nn.Linear(width, width)
        )

    def forward(self, references: Tensor) -> Tensor:
        """(..., C) encodings of points (..., 3) in metres."""
        distance = references[..., :2].norm(dim=-1)
        values = torch.stack([(1.0 + distance).log() / 4.0, (references[..., 2] / 8.0).clamp(-1.0, 1.0)], dim=-1)
        octaves = math.pi * 2.0 ** torch.arange(self._FREQUENCIES, device=references.device, dtype=torch.float32)
        waves = values[..., None] * octaves
        direction = references[..., :2] / (1.0 + distance[..., None])
        return self.mix(torch.cat([waves.sin().flatten(-2), waves.cos().flatten(-2), direction], dim=-1))


class FeedForward(nn.Module):
    """The plain two-layer network of a transformer block."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width))

    def forward(self, queries: Tensor) -> Tensor:
        """(B, Q, C) to (B, Q, C)."""
        return self.net(queries)


class DecoderLayer(nn.Module):
    """One round: queries talk to each other, look at the images, think, and move."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        width = config.width
        self.self_attention = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.cross_attention = SampledAttention(config)
        self.feed_forward = FeedForward(width, config.feed_forward)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.classify = nn.Sequential(
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, len(config.class_names)),
        )
        self.regress = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, 11),
        )
        nn.init.constant_(self.classify[-1].bias, PRIOR_LOGIT)  # type: ignore[arg-type]
        nn.init.normal_(self.regress[-1].weight, std=0.01)  # type: ignore[arg-type]
        with torch.no_grad():  # a person-to-car sized box heading along the ray
            self.regress[-1].bias.copy_(torch.tensor([0, 0, 0, 0.6, 0.2, 0.4, 0, 0.5, 0, 0, 0]))  # type: ignore[operator, union-attr]

    def forward(
        self, queries: Tensor, position: Tensor, references: Tensor, features: list[Tensor], batch: Batch,
        strides: tuple[int, ...], attention_mask: Tensor | None,
    ) -> tuple[Tensor, LayerOutput]:  # fmt: skip
        """Return the updated queries (B, Q, C) and this layer's predictions."""
        placed = queries + position
        mixed, _ = self.self_attention(placed, placed, queries, attn_mask=attention_mask, need_weights=False)
        queries = self.norms[0](queries + mixed)
        sampled = self.cross_attention(queries + position, references, features, batch, strides)
        queries = self.norms[1](queries + sampled)
        queries = self.norms[2](queries + self.feed_forward(queries))
        regression = self.regress(queries)
        return queries, LayerOutput(self.classify(queries), regression[..., :10], regression[..., 10], references)


class Decoder(nn.Module):
    """Layers in sequence; each starts from the boxes of the one before (iterative refinement, references detached)."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.strides, self.range_m = config.strides, config.range_m
        self.position = PositionEncoding(config.width)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))

    def forward(
        self,
        queries: Tensor,
        references: Tensor,
        features: list[Tensor],
        batch: Batch,
        attention_mask: Tensor | None = None,
    ) -> list[LayerOutput]:
        """Refine queries (B, Q, C) from references (B, Q, 3); the mask (Q, Q) bars where True."""
        outputs: list[LayerOutput] = []
        for layer in self.layers:
            queries, output = layer(
                queries, self.position(references), references, features, batch, self.strides, attention_mask
            )
            outputs.append(output)
            references = output.boxes()[..., :3].detach()
        return outputs

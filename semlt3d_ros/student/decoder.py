"""The query decoder: layers of self-attention, cross-attention and a feed-forward network with box refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.student.attention import ImageContext, SampledAttention
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.experts import Routing, make_block
from semlt3d_ros.student.geometry import decode_boxes, ray_axes
from semlt3d_ros.student.global_attention import GlobalAttention
from semlt3d_ros.student.image_head import PRIOR_LOGIT


@dataclass
class LayerOutput:
    """Predictions of one decoder layer for Q queries.

    Attributes:
        logits: (B, Q, C) class logits.
        codes: (B, Q, 10) box codes relative to ``references`` (see ``student.geometry``).
        log_scale: (B, Q) log of the Laplace scale of the radial error, in units of ``range_scale``.
        references: (B, Q, 3) metres, without gradient.
        embeddings: (B, Q, C) the queries after this layer.
        projected: (B, Q, d) the queries after cross-attention in the space of the language anchors; None without
            language.
        aligned: (B, Q, n) dot products of ``projected`` with the anchors, as logits; None without language.
        routing: of the experts; None with a plain network.
    """

    logits: Tensor
    codes: Tensor
    log_scale: Tensor
    references: Tensor
    embeddings: Tensor
    projected: Tensor | None = None
    aligned: Tensor | None = None
    routing: Routing | None = None

    def part(self, rows: slice) -> LayerOutput:
        """The predictions of some of the queries."""
        parts = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        cut = {name: value[:, rows] for name, value in parts.items() if isinstance(value, Tensor)}
        return replace(self, **cut, routing=None if self.routing is None else self.routing.part(rows))

    def boxes(self) -> Tensor:
        """(B, Q, 9) x y z l w h yaw vx vy in the ego frame; decoded once."""
        return self._boxes

    @cached_property
    def _boxes(self) -> Tensor:
        return decode_boxes(self.codes, self.references)


class PositionEncoding(nn.Module):
    """Queries' positions: sine waves of log range and height, and the direction, mixed by a small network.

    Where tokens are found by their position embedding (``global``), directions must be told apart finely: sine waves of
    the azimuth can say them, besides two plain numbers.
    """

    _FREQUENCIES = 8

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.azimuth_octaves, width = config.azimuth_octaves, config.width
        inputs = self._FREQUENCIES * 4 + 2 + 2 * config.azimuth_octaves
        self.mix = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Linear(width, width))

    def forward(self, references: Tensor) -> Tensor:
        """(..., C) encodings of points (..., 3) in metres."""
        distance = references[..., :2].norm(dim=-1)
        values = torch.stack([(1.0 + distance).log() / 4.0, (references[..., 2] / 8.0).clamp(-1.0, 1.0)], dim=-1)
        octaves = math.pi * 2.0 ** torch.arange(self._FREQUENCIES, device=references.device, dtype=torch.float32)
        waves = values[..., None] * octaves
        direction = references[..., :2] / (1.0 + distance[..., None])
        encoded = [waves.sin().flatten(-2), waves.cos().flatten(-2), direction]
        cos, sin = ray_axes(references)
        for _ in range(self.azimuth_octaves):
            encoded += [cos[..., None], sin[..., None]]
            cos, sin = cos * cos - sin * sin, 2 * sin * cos  # of twice the angle
        return self.mix(torch.cat(encoded, dim=-1))


class LanguageProjection(nn.Module):
    """Queries in the space of the language anchors: for routing by cosine, for classification by dot product."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.width, config.language_width)
        # One bias for all classes, so that it also serves anchors that are added later.
        self.bias = nn.Parameter(torch.tensor(PRIOR_LOGIT))

    def forward(self, queries: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, Q, C) and anchors (n, d) to projections (B, Q, d), aligned logits and cosines (B, Q, n)."""
        projected = self.project(queries)
        products = projected @ anchors.T
        return projected, products + self.bias, products / projected.norm(dim=-1, keepdim=True).clamp_min(1e-6)


@dataclass
class Past:
    """Remembered queries that only self-attention sees: embeddings and positions (B, N, C), validity (B, N)."""

    embeddings: Tensor
    position: Tensor
    valid: Tensor


class DecoderLayer(nn.Module):
    """One round: queries talk to each other, look at the images, think, and move."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        width = config.width
        self.self_attention = nn.MultiheadAttention(width, config.heads, config.dropout, batch_first=True)
        self.cross_attention = (
            SampledAttention(config) if config.cross_attention == "sampled" else GlobalAttention(config)
        )
        self.feed_forward = make_block(config)
        self.language = LanguageProjection(config) if config.language_width else None
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)
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
        self, queries: Tensor, position: Tensor, references: Tensor, context: ImageContext, past: Past | None,
        attention_mask: Tensor | None, anchors: Tensor,
    ) -> tuple[Tensor, LayerOutput]:  # fmt: skip
        """Return the updated queries (B, Q, C) and this layer's predictions."""
        placed = queries + position
        keys, values, hidden = placed, queries, None
        if past is not None:
            keys = torch.cat([placed, past.embeddings + past.position], 1)
            values = torch.cat([queries, past.embeddings], 1)
            hidden = F.pad(~past.valid, (queries.shape[1], 0))
            if attention_mask is not None:
                attention_mask = F.pad(attention_mask, (0, past.valid.shape[1]))
        mixed, _ = self.self_attention(
            placed, keys, values, key_padding_mask=hidden, attn_mask=attention_mask, need_weights=False
        )
        queries = self.norms[0](queries + self.dropout(mixed))
        seen = self.cross_attention(queries + position, references, context)
        queries = self.norms[1](queries + self.dropout(seen))
        projected = aligned = similarity = None
        if self.language is not None:
            projected, aligned, similarity = self.language(queries, anchors)
        thought, routing = self.feed_forward(queries, similarity)
        queries = self.norms[2](queries + self.dropout(thought))
        regression = self.regress(queries)
        return queries, LayerOutput(
            self.classify(queries), regression[..., :10], regression[..., 10], references, queries, projected, aligned,
            routing,
        )  # fmt: skip


class Decoder(nn.Module):
    """Layers in sequence; each starts from the boxes of the one before (iterative refinement, references detached)."""

    language_anchors: Tensor

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.position = PositionEncoding(config)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        if config.language_width:
            self.register_buffer("language_anchors", torch.zeros(len(config.class_names), config.language_width))
        else:
            self.register_buffer("language_anchors", torch.zeros(0, 0), persistent=False)

    def forward(
        self,
        queries: Tensor,
        references: Tensor,
        context: ImageContext,
        past: tuple[Tensor, Tensor, Tensor] | None = None,
        attention_mask: Tensor | None = None,
    ) -> list[LayerOutput]:
        """Refine queries.

        Args:
            queries: (B, Q, C).
            references: (B, Q, 3) metres in the ego frame.
            context: what to look at.
            past: embeddings (B, N, C), references (B, N, 3) and validity (B, N) of remembered queries that only
                self-attention sees.
            attention_mask: (Q, Q), bars attention where True.
        """
        outputs: list[LayerOutput] = []
        keys = None if past is None else Past(past[0], self.position(past[1]), past[2])
        for layer in self.layers:
            queries, output = layer(
                queries, self.position(references), references, context, keys, attention_mask, self.language_anchors
            )
            outputs.append(output)
            references = output.boxes()[..., :3].detach()
        return outputs

"""The student network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import Decoder, LayerOutput
from semlt3d_ros.student.denoising import DenoisingQueries
from semlt3d_ros.student.features import ImageFeatures
from semlt3d_ros.student.geometry import spiral
from semlt3d_ros.student.image_head import ImageHead, ImageOutput


@dataclass
class StudentOutput:
    """Predictions for one batch.

    Attributes:
        layers: per decoder layer, for the matched queries (B, Q, ...).
        denoising: per decoder layer, for the denoising queries (B, N, ...); empty outside training.
        image: the per-view predictions; None when neither training nor proposals need them.
    """

    layers: list[LayerOutput]
    denoising: list[LayerOutput]
    image: ImageOutput | None


class Student(nn.Module):
    """Camera-only multi-view detector: backbone and pyramid, queries from anchors and image peaks, sampled decoder."""

    anchors: Tensor

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.features = ImageFeatures(config)
        self.image_head = ImageHead(config)
        self.anchor_queries = nn.Embedding(config.anchors, config.width)
        self.proposal_query = nn.Sequential(
            nn.Linear(config.width + 1, config.width), nn.ReLU(inplace=True), nn.Linear(config.width, config.width)
        )
        self.decoder = Decoder(config)
        self.register_buffer("anchors", spiral(config.anchors, config.range_m), persistent=False)

    def forward(self, batch: Batch, denoising: DenoisingQueries | None = None) -> StudentOutput:
        """Detect objects; with ``denoising`` (training only) noised ground truth is refined alongside."""
        features = self.features(batch)
        image = self.image_head(features[0]) if self.training or self.config.proposals else None
        size = len(batch.images)
        queries = self.anchor_queries.weight.expand(size, -1, -1)
        references = self.anchors.expand(size, -1, -1)
        if self.config.proposals and image is not None:
            proposals = self.image_head.propose(image, features[0], batch, self.config.proposals)
            proposed = self.proposal_query(torch.cat([proposals.features, proposals.scores[..., None]], dim=-1))
            queries, references = torch.cat([proposed, queries], 1), torch.cat([proposals.points, references], 1)
        if denoising is None:
            return StudentOutput(self.decoder(queries, references, features, batch), [], image)
        matched = queries.shape[1]
        layers = self.decoder(
            torch.cat([queries, denoising.queries], 1),
            torch.cat([references, denoising.references], 1),
            features,
            batch,
            denoising.attention_mask(matched),
        )
        return StudentOutput(
            [_part(x, slice(matched)) for x in layers], [_part(x, slice(matched, None)) for x in layers], image
        )


def _part(output: LayerOutput, rows: slice) -> LayerOutput:
    def cut(values: Tensor) -> Tensor:
        return values[:, rows]

    return LayerOutput(cut(output.logits), cut(output.codes), cut(output.log_scale), cut(output.references))

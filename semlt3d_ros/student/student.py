"""The student network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.attention import ImageContext
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import Decoder, LayerOutput
from semlt3d_ros.student.denoising_queries import DenoisingQueries
from semlt3d_ros.student.features import ImageFeatures
from semlt3d_ros.student.geometry import spiral
from semlt3d_ros.student.global_attention import DepthPointEncoding
from semlt3d_ros.student.image_head import ImageHead, ImageOutput
from semlt3d_ros.student.memory import Memory, TemporalAlignment, remember


@dataclass
class StudentOutput:
    """Predictions for one batch.

    Attributes:
        layers: per decoder layer, for the matched queries (B, Q, ...).
        denoising: per decoder layer, for the denoising queries (B, N, ...); empty outside training.
        image: the per-view predictions; None when neither training nor proposals need them.
        memory: what to remember for the next frame; None for a student without memory.
        resets: (B,) int64 index into ``memory.RESETS``; None for a student without memory.
        denoised: what ``denoising`` was made from; None outside training, and where there was no object.
        features: the image features (B, V, C, h, w) of each level, finest first.
    """

    layers: list[LayerOutput]
    denoising: list[LayerOutput]
    image: ImageOutput | None
    memory: Memory | None = None
    resets: Tensor | None = None
    denoised: DenoisingQueries | None = None
    features: list[Tensor] | None = None


class Student(nn.Module):
    """Camera-only multi-view detector.

    Backbone and pyramid; queries from anchors, from image peaks and from the memory of past frames; a decoder that
    looks at the images and, with language, at the anchors of the class names.
    """

    anchors: Tensor

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.features = ImageFeatures(config)
        self.image_head = ImageHead(config)
        self.anchor_queries = nn.Embedding(config.anchors, config.width)
        width = config.width
        proposal_query = nn.Sequential(nn.Linear(width + 1, width), nn.ReLU(inplace=True), nn.Linear(width, width))
        self.proposal_query = proposal_query if config.proposals else None
        self.decoder = Decoder(config)
        self.token_encoding = DepthPointEncoding(config) if config.cross_attention == "global" else None
        self.alignment = TemporalAlignment(config) if config.memory_frames else None
        self.register_buffer("anchors", spiral(config.anchors, config.range_m), persistent=False)

    def set_anchors(self, embeddings: Tensor) -> None:
        """Give a student its language anchors (n, d), unit rows in the order of its classes.

        Raises:
            ConfigurationError: the student has no language, or the shape does not fit.
        """
        wanted = tuple(self.decoder.language_anchors.shape)
        if not self.config.language_width or tuple(embeddings.shape) != wanted:
            raise ConfigurationError(
                f"language anchors of shape {tuple(embeddings.shape)} do not fit this student, which takes {wanted}; "
                "make them for its classes, with a model of its language_width"
            )
        self.decoder.language_anchors.copy_(embeddings)

    def forward(
        self, batch: Batch, denoising: DenoisingQueries | None = None, memory: Memory | None = None
    ) -> StudentOutput:
        """Detect objects.

        Args:
            batch: frames; with a memory one of each stream, following each other in time.
            denoising: training only, noised ground truth that is refined alongside.
            memory: what is remembered of the streams; without one every frame is a first one.

        Raises:
            ConfigurationError: a student with language has no anchors.
        """
        if self.config.language_width and not self.decoder.language_anchors.any():
            raise ConfigurationError(
                "this student has a language_width but no language anchors: give it some with set_anchors, or load a "
                "trained checkpoint"
            )
        features = self.features(batch)
        image = self.image_head(features[0]) if self.training or self.config.proposals else None
        return self.decode(features, image, batch, denoising, memory)

    def decode(
        self,
        features: list[Tensor],
        image: ImageOutput | None,
        batch: Batch,
        denoising: DenoisingQueries | None = None,
        memory: Memory | None = None,
    ) -> StudentOutput:
        """The second half of ``forward``, from image features on."""
        config, size = self.config, len(batch.images)
        context = ImageContext(features, batch, config.strides)
        if self.token_encoding is not None:
            context.token_level = config.token_level
            context.token_position = self.token_encoding(context, context.token_level)
        queries = self.anchor_queries.weight.expand(size, -1, -1)
        references = self.anchors.expand(size, -1, -1)
        if self.proposal_query is not None and image is not None:
            proposals = self.image_head.propose(image, features[0], batch, config.proposals)
            proposed = self.proposal_query(torch.cat([proposals.features, proposals.scores[..., None]], dim=-1))
            queries, references = torch.cat([proposed, queries], 1), torch.cat([proposals.points, references], 1)
        recall, past = None, None
        if self.alignment is not None:
            recall = self.alignment(memory or Memory.empty(size, config, batch.images.device), batch)
            now, older = slice(config.propagated), slice(config.propagated, None)
            queries = torch.cat([recall.embeddings[:, now], queries], 1)
            references = torch.cat([recall.references[:, now], references], 1)
            past = recall.embeddings[:, older], recall.references[:, older], recall.memory.valid[:, older]
        matched, mask = queries.shape[1], None
        if denoising is not None:
            queries = torch.cat([queries, denoising.queries], 1)
            references = torch.cat([references, denoising.references], 1)
            mask = denoising.attention_mask(matched)
        layers = self.decoder(queries, references, context, past, mask)
        extra = [] if denoising is None else [layer.part(slice(matched, None)) for layer in layers]
        layers = [layer.part(slice(matched)) for layer in layers]
        after = None if recall is None else remember(recall.memory, layers[-1], batch, config.memory_queries)
        resets = None if recall is None else recall.resets
        return StudentOutput(layers, extra, image, after, resets, denoising, features)

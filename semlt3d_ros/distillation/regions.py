"""What a CLIP sees in image regions, as whole embeddings, into the image encoder and into the queries.

SemLT3D's projection distillation tells a labelled object's query how like its region is to each class name. Here the
encoder's features within a region, and the queries that lie in what it shows, learn the region's embedding itself, of
labelled objects and of whatever a student takes for one: so that what a CLIP knows of rare things reaches the features
that the classes are told by, also where nobody has labelled anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.distillation.sampling import regions_of, sampled, spread
from semlt3d_ros.distillation.settings import Regions
from semlt3d_ros.losses.signal import RegionSignal
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.term import LossTerm, StepView, Total, alone, over_layers
from semlt3d_ros.losses.unjudged import transformed_boxes
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput

_CELLS, _PARTS = 4, 2
"""Samples of a region along each axis, and parts of it that are told apart."""
_HIDDEN = 128
_KEEP, _MOST = 0.99, 10.0
"""How much of the frequencies of classes is kept from step to step, and how much a rare one weighs at most."""


def embedding_loss(
    said: Tensor,
    signal: RegionSignal,
    frame: Tensor,
    region: Tensor,
    total: Total = alone,
    weights: Tensor | None = None,
) -> Tensor:
    """() how far K embeddings are from those that a CLIP gives of regions.

    Half of it is 1 less the cosine. Cosines of real CLIPs lie within some tenths of each other, so that most of that is
    about what all images have in common; the other half asks which regions of the frame an embedding is like, at the
    CLIP's own scale: the divergence from what the CLIP says of that.

    Args:
        said: (K, d).
        signal: what the CLIP sees.
        frame, region: (K,) which region each is about.
        total: sums over processes.
        weights: (n,) of the classes whose names regions are likest; None where all weigh alike.
    """
    each_weighs = said.new_ones(len(said)) if weights is None else weights[signal.likest[frame, region]]
    count = total(each_weighs.sum()).clamp_min(torch.finfo(torch.float32).tiny)
    shown, others = signal.embeddings[frame, region], signal.embeddings.nan_to_num()[frame]
    unit, missing = F.normalize(said.float(), dim=-1), ~signal.real[frame]
    away = 1.0 - (unit * shown).sum(-1)
    alike, wanted = (
        (signal.logit_scale * (others @ each[..., None])[..., 0]).masked_fill(missing, -1e4).log_softmax(-1)
        for each in (unit, shown)
    )
    diverges = F.kl_div(alike, wanted, reduction="none", log_target=True).sum(-1)
    return 0.5 * (each_weighs * (away + diverges)).sum() / count


def answering(layer: LayerOutput, boxes: Tensor, real: Tensor, reach_m: float, score: float) -> tuple[Tensor, ...]:
    """Frame, query and region (P,) of pairs: the nearest query of each region, and queries that are sure of something.

    Args:
        layer: predictions (B, Q, ...).
        boxes: (B, R, 9) what is in the regions, in the student's axes.
        real: (B, R) bool, which there are.
        reach_m: farthest that the centres of the two lie from each other on the ground.
        score: confidence from which on a query answers to the region that is nearest to it.
    """
    if not boxes.shape[1]:
        return (boxes.new_zeros(0, dtype=torch.int64),) * 3
    centers = layer.boxes()[..., :2].detach().float()
    away = torch.cdist(centers, boxes[..., :2].float()).masked_fill(~real[:, None], torch.inf)
    near = away <= reach_m
    nearest_query = torch.zeros_like(near).scatter_(1, away.argmin(1, keepdim=True), True)
    nearest_region = torch.zeros_like(near).scatter_(2, away.argmin(2, keepdim=True), True)
    sure = layer.logits.detach().amax(-1).sigmoid() > score
    frame, query, region = torch.nonzero(near & (nearest_query | (nearest_region & sure[..., None])), as_tuple=True)
    return frame, query, region


class RegionLoss(LossTerm):
    """``regions_encoder`` and ``regions_queries``.

    Queries of a student with language say their embeddings in the space of its anchors, so that these learn along to
    tell classes by name; of others a head does, which training alone has.

    Args:
        settings: weights and reach.
        config: the student's.
        width: d of the CLIP.
    """

    def __init__(self, settings: Regions, config: StudentConfig, width: int) -> None:
        super().__init__(1.0)
        self.settings, self.strides = settings, config.strides
        parts = len(config.strides) * _PARTS**2 * config.width
        self.of_maps = nn.Sequential(nn.Linear(parts, _HIDDEN), nn.ReLU(inplace=True), nn.Linear(_HIDDEN, width))
        self.of_queries = None if config.language_width else nn.Linear(config.width, width)
        self.seen: Tensor
        self.register_buffer("seen", torch.ones(len(config.class_names)))

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """Nothing where nobody looked at regions."""
        signal = view.images.regions
        if signal is None or view.output.features is None:
            return {}
        boxes = signal.boxes
        if view.targets.T_ego_recorded is not None:
            boxes = transformed_boxes(boxes, view.targets.T_ego_recorded)
        real = signal.real
        weights = self._weights(signal, real, view.total)
        losses = {}
        if self.settings.encoder:
            losses["regions_encoder"] = self.settings.encoder * self._encoder(view, signal, boxes, real, weights)
        if self.settings.queries:
            losses["regions_queries"] = self.settings.queries * over_layers(
                self._queries(view, layer, signal, boxes, real, weights) for layer in view.layers
            )
        return losses

    def _weights(self, signal: RegionSignal, real: Tensor, total: Total) -> Tensor | None:
        """(n,) of the classes, by how often each was seen of late, in all processes together."""
        if not self.settings.rarity:
            return None
        now = total(torch.bincount(signal.likest[real], minlength=len(self.seen)).to(self.seen))
        if self.training:
            self.seen.mul_(_KEEP).add_(now)
        rarer = (self.seen.mean() / self.seen.clamp_min(1e-3)) ** self.settings.rarity
        return rarer.clamp_max(_MOST)

    def _encoder(
        self, view: StepView, signal: RegionSignal, boxes: Tensor, real: Tensor, weights: Tensor | None
    ) -> Tensor:
        frame, region, said = self.said_of(view.cells, view.batch, boxes, signal.views, real)
        return embedding_loss(said, signal, frame, region, view.total, weights)

    def said_of(
        self, cells: Sequence[Tensor], batch: Batch, boxes: Tensor, views: Tensor, real: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Frame and region (K,) of what is in sight, and the embeddings (K, d) that the maps say of it.

        Args:
            cells: the maps of each level (B, V, h, w, C) float32.
            batch: the frames.
            boxes: (B, R, 9) what is in the regions, in the axes of the batch.
            views: (B, R) int64, the view of each.
            real: (B, R) bool, which there are.
        """
        objects = Targets(boxes, torch.where(real, 0, -1), [])
        regions = regions_of(objects, batch, torch.ones(len(boxes), dtype=torch.bool, device=boxes.device))
        seen = regions.seen.gather(1, views[:, None])[:, 0] & real
        frame, region = torch.nonzero(seen, as_tuple=True)
        camera = views[frame, region]
        places = spread(regions.bounds[frame, camera, region], _CELLS)
        image = (frame * regions.seen.shape[1] + camera)[:, None].expand(places.shape[:2]).flatten()
        parts = [
            _averaged(sampled(level, image, places.flatten(0, 1), stride).unflatten(0, places.shape[:2]))
            for level, stride in zip(cells, self.strides, strict=True)
        ]
        return frame, region, self.of_maps(torch.cat(parts, -1))

    def _queries(
        self,
        view: StepView,
        layer: LayerOutput,
        signal: RegionSignal,
        boxes: Tensor,
        real: Tensor,
        weights: Tensor | None,
    ) -> Tensor:
        frame, query, region = answering(layer, boxes, real, self.settings.reach_m, self.settings.score)
        if self.of_queries is None:
            assert layer.projected is not None
            said = layer.projected[frame, query]
        else:
            said = self.of_queries(layer.embeddings[frame, query].float())
        return embedding_loss(said, signal, frame, region, view.total, weights)


def _averaged(samples: Tensor) -> Tensor:
    """(K, parts * C) means over the parts of regions, of samples (K, cells * cells, C) row by row."""
    step = _CELLS // _PARTS
    grid = samples.unflatten(1, (_PARTS, step, _PARTS, step))
    return grid.mean((2, 4)).flatten(1)

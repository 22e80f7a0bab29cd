"""Semantic projection distillation (SemLT3D): what CLIP sees in an object's image region, its query learns to say.

Only training holds this; the student's checkpoint does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.losses.matcher import Matches
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.term import LossTerm, StepView, Total, alone, counted_over_all, indices, over_layers
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput


class SemanticProjection(nn.Module):
    """Camera-aligned tokens of queries in the space of the language anchors: Linear(query) times Linear(extrinsics)."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.width, config.language_width)
        self.extrinsics = nn.Linear(16, config.language_width)
        nn.init.normal_(self.extrinsics.weight, std=0.02)
        nn.init.ones_(self.extrinsics.bias)

    def forward(self, embeddings: Tensor, T_ego_camera: Tensor) -> Tensor:
        """(G, d) tokens of queries (G, C), each as its camera (G, 4, 4) sees it."""
        return self.query(embeddings) * self.extrinsics(T_ego_camera.flatten(1))


class DistillationLoss(LossTerm):
    """Semantic projection distillation (SemLT3D's L_KD).

    Args:
        weight: how much it counts.
        projection: makes the camera-aligned tokens; learns along.
        anchors: (n, d) language anchors, unit rows.
        temperature: of the similarity distributions.
    """

    anchors: Tensor

    def __init__(self, weight: float, projection: SemanticProjection, anchors: Tensor, temperature: float) -> None:
        super().__init__(weight)
        self.projection, self.temperature = projection, temperature
        self.register_buffer("anchors", anchors, persistent=False)

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``distillation``; nothing where nobody looked at image regions."""
        if view.targets.region_embeddings is None:
            return {}
        losses = [
            self.weight
            * distillation_loss(
                layer, view.targets, matches, view.batch, self.projection, self.anchors, self.temperature, view.total
            )
            for layer, matches in zip(view.layers, view.matches, strict=True)
        ]
        return {"distillation": over_layers(losses)}


def distillation_loss(
    layer: LayerOutput,
    targets: Targets,
    matches: Matches,
    batch: Batch,
    projection: SemanticProjection,
    anchors: Tensor,
    temperature: float,
    total: Total = alone,
) -> Tensor:
    """Mean Kullback-Leibler divergence of the queries' similarity distributions from those of their image regions.

    Args:
        layer: predictions (B, Q, ...).
        targets: ground truth with image regions; objects without one, or whose view is masked, do not count.
        matches: per frame the matched query and target indices.
        batch: for the cameras.
        projection: makes the camera-aligned tokens.
        anchors: (n, d) language anchors, unit rows.
        temperature: by which cosines are divided before the softmax, for both sides.
        total: sums over the processes that share a step.
    """
    assert targets.region_embeddings is not None and targets.region_views is not None
    frame, query, target = indices(matches)
    view = targets.region_views[frame, target]
    seen = torch.isfinite(targets.region_embeddings[frame, target]).all(-1) & batch.valid[frame, view]
    count = counted_over_all(seen.sum(), total, seen.device)
    frame, query, target, view = frame[seen], query[seen], target[seen], view[seen]
    if len(frame) == 0:
        return layer.embeddings.sum() * 0.0
    tokens = projection(layer.embeddings[frame, query].float(), batch.T_ego_camera[frame, view])
    said = F.normalize(tokens, dim=-1) @ anchors.T / temperature
    shown = F.normalize(targets.region_embeddings[frame, target], dim=-1) @ anchors.T / temperature
    return F.kl_div(said.log_softmax(-1), shown.log_softmax(-1), reduction="sum", log_target=True) / count

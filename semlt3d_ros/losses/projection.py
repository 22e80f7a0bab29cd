"""Semantic projection distillation (SemLT3D): what CLIP sees in an object's image region, its query learns to say.

Only training holds this; the student's checkpoint does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.losses.targets import Targets
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


def distillation_loss(
    layer: LayerOutput,
    targets: Targets,
    matches: list[tuple[Tensor, Tensor]],
    batch: Batch,
    projection: SemanticProjection,
    anchors: Tensor,
    temperature: float,
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
    """
    assert targets.region_embeddings is not None and targets.region_views is not None
    frame = torch.cat([torch.full_like(rows, b) for b, (rows, _) in enumerate(matches)])
    query = torch.cat([rows for rows, _ in matches])
    target = torch.cat([columns for _, columns in matches])
    view = targets.region_views[frame, target]
    seen = torch.isfinite(targets.region_embeddings[frame, target]).all(-1) & batch.valid[frame, view]
    frame, query, target, view = frame[seen], query[seen], target[seen], view[seen]
    if len(frame) == 0:
        return layer.embeddings.sum() * 0.0
    tokens = projection(layer.embeddings[frame, query].float(), batch.T_ego_camera[frame, view])
    said = F.normalize(tokens, dim=-1) @ anchors.T / temperature
    shown = F.normalize(targets.region_embeddings[frame, target], dim=-1) @ anchors.T / temperature
    return F.kl_div(said.log_softmax(-1), shown.log_softmax(-1), reduction="batchmean", log_target=True)

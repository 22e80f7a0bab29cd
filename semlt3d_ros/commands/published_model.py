"""Parameters and operations of published models, for ``semlt3d model``."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.counting import CAMERAS, NOT_COUNTED, count_parameters, counting, six_cameras

if TYPE_CHECKING:
    from semlt3d_ros.student.published.config import PublishedConfig
    from semlt3d_ros.student.published.model import PublishedModel

_LAYER = "head.transformer.decoder.layers.*"
PARTS: dict[str, tuple[str, ...]] = {
    "backbone": ("backbone",),
    "pyramid": ("neck",),
    "image head": ("image_head", "head.context_embed"),
    "tokens": ("head.memory_embed", "head.featurized_pe", "head.spatial_alignment"),
    "position encodings": ("head.position_encoder", "head.query_embedding", "head.time_embedding"),
    "queries": ("head.reference_points", "head.pseudo_reference_points"),
    "motion of memory and queries": ("head.ego_pose_pe", "head.ego_pose_memory"),
    "self-attention": (f"{_LAYER}.attentions.0",),
    "cross-attention": (f"{_LAYER}.attentions.1",),
    "feed-forward": (f"{_LAYER}.ffns",),
    "norms": (f"{_LAYER}.norms", "head.transformer.decoder.post_norm"),
    "class and box heads": ("head.cls_branches", "head.reg_branches"),
}
"""Parts to the modules that make them up in any published family."""


def measure_published(path: Path) -> tuple[PublishedConfig, dict[str, Any]]:
    """The shape of a checkpoint's model, and the same figures as ``model.measure`` gives.

    Raises:
        ConfigurationError: the checkpoint cannot be used.
    """
    from semlt3d_ros.checkpoints.published import read_published

    model = read_published(path).model()
    parameters, operations = count_parameters(model, PARTS), count_operations(model)
    return model.config, {
        "parameters": {**parameters, "total": sum(parameters.values())},
        "weights_mb": sum(value.numel() * value.element_size() for value in model.state_dict().values()) / 1e6,
        "flops_per_frame": {**operations, "total": sum(operations.values())},
        "cameras": CAMERAS,
        "not_counted": NOT_COUNTED,
        "published": {},
    }


def count_operations(model: PublishedModel) -> dict[str, int]:
    """Operations of one frame by part; those of the backbone from its shapes alone, without computing it."""
    import torch

    from semlt3d_ros.student.published.model import Motion, Views

    batch = six_cameras(model.config)
    with torch.inference_mode():
        abstract = copy.deepcopy(model.backbone).to("meta")
        images = torch.zeros(CAMERAS, *batch.images.shape[2:], device="meta")
        with counting(torch.nn.ModuleDict({"backbone": abstract}), "", PARTS) as backbone_counts:
            levels = abstract(images)
        shapes = [levels[level].shape for level in model.levels]
        model.maps = lambda images: [torch.randn(shape) for shape in shapes]  # type: ignore[method-assign]
        views = Views(batch.images, batch.intrinsics.double(), batch.T_ego_camera.double(), batch.valid)
        start = Motion(torch.eye(4)[None], torch.zeros(1), torch.zeros(1))
        with counting(model, "", PARTS) as counts:
            model(views, model.empty_memory(), start)
    total = Counter(backbone_counts) + Counter(counts)
    return {part: total[part] for part in PARTS if total[part]}

"""Ground truth as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semlt3d_ros.core.frame import Frame


@dataclass(frozen=True)
class SeenRegions:
    """What a CLIP sees of a frame's labels.

    Attributes:
        embeddings: (labels, d) float32, NaN rows for labels that have no region.
        views: (labels,) int64 number of the frame's view that each region was cut out of.
    """

    embeddings: NDArray[np.float32]
    views: NDArray[np.int64]


@dataclass
class Targets:
    """Objects of B frames, padded to the largest count T.

    Attributes:
        boxes: (B, T, 9) float32 x y z l w h yaw vx vy in the ego frame; unknown velocity is NaN.
        classes: (B, T) int64, -1 where padded.
        points: per frame (P, 3) float32 LiDAR points in the ego frame, possibly none.
        region_embeddings: (B, T, d) image embeddings of the objects' regions, NaN where an object has none; None
            without semantic distillation.
        region_views: (B, T) int64 number of the view that each region was cut out of; None with ``region_embeddings``.
    """

    boxes: Tensor
    classes: Tensor
    points: list[Tensor]
    region_embeddings: Tensor | None = None
    region_views: Tensor | None = None

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        return replace(
            self,
            boxes=self.boxes.to(device),
            classes=self.classes.to(device),
            points=[p.to(device) for p in self.points],
            region_embeddings=None if self.region_embeddings is None else self.region_embeddings.to(device),
            region_views=None if self.region_views is None else self.region_views.to(device),
        )


def collate_targets(
    frames: Sequence[Frame],
    range_m: float,
    min_visible_pixels: int,
    regions: Sequence[SeenRegions] | None = None,
) -> Targets:
    """Objects within ``range_m`` of the vehicle that cover at least ``min_visible_pixels``, or an unknown number.

    ``regions`` gives for each frame what is seen in its labels' image regions.
    """
    boxes, classes, points = [], [], []
    kept: list[NDArray[np.bool_]] = []
    for frame in frames:
        points.append(torch.from_numpy(np.asarray(frame.points.xyz if frame.points else np.zeros((0, 3)), np.float32)))
        if frame.labels is None:
            boxes.append(np.zeros((0, 9), np.float32))
            classes.append(np.zeros(0, np.int64))
            kept.append(np.zeros(0, np.bool_))
            continue
        b, labels = frame.labels.boxes, frame.labels
        near = np.hypot(b.centers[:, 0], b.centers[:, 1]) <= range_m
        keep = near & ((labels.visible_pixels < 0) | (labels.visible_pixels >= min_visible_pixels))
        rows = np.concatenate([b.centers, b.sizes, b.yaw[:, None], b.velocity], axis=1)
        boxes.append(rows[keep].astype(np.float32))
        classes.append(labels.class_ids[keep])
        kept.append(keep)
    most = max(len(rows) for rows in boxes)
    padded = torch.zeros(len(boxes), most, 9)
    ids = torch.full((len(boxes), most), -1, dtype=torch.int64)
    for i, (rows, kinds) in enumerate(zip(boxes, classes, strict=True)):
        padded[i, : len(rows)] = torch.from_numpy(rows)
        ids[i, : len(kinds)] = torch.from_numpy(kinds)
    if regions is None:
        return Targets(padded, ids, points)
    embeddings = torch.full((len(boxes), most, regions[0].embeddings.shape[1]), torch.nan)
    views = torch.zeros_like(ids)
    for i, (seen, keep) in enumerate(zip(regions, kept, strict=True)):
        embeddings[i, : keep.sum()] = torch.from_numpy(seen.embeddings[keep])
        views[i, : keep.sum()] = torch.from_numpy(seen.views[keep])
    return Targets(padded, ids, points, embeddings, views)

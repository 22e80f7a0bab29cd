"""Ground truth as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from semlt3d_ros.core.frame import Frame


@dataclass
class Targets:
    """Objects of B frames, padded to the largest count T.

    Attributes:
        boxes: (B, T, 9) float32 x y z l w h yaw vx vy in the ego frame; unknown velocity is NaN.
        classes: (B, T) int64, -1 where padded.
        points: per frame (P, 3) float32 LiDAR points in the ego frame, possibly none.
    """

    boxes: Tensor
    classes: Tensor
    points: list[Tensor]

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        return replace(
            self,
            boxes=self.boxes.to(device),
            classes=self.classes.to(device),
            points=[p.to(device) for p in self.points],
        )


def collate_targets(frames: Sequence[Frame], range_m: float, min_visible_pixels: int) -> Targets:
    """Objects within ``range_m`` of the vehicle that cover at least ``min_visible_pixels``, or an unknown number."""
    boxes, classes, points = [], [], []
    for frame in frames:
        points.append(torch.from_numpy(np.asarray(frame.points.xyz if frame.points else np.zeros((0, 3)), np.float32)))
        if frame.labels is None:
            boxes.append(np.zeros((0, 9), np.float32))
            classes.append(np.zeros(0, np.int64))
            continue
        b, labels = frame.labels.boxes, frame.labels
        near = np.hypot(b.centers[:, 0], b.centers[:, 1]) <= range_m
        keep = near & ((labels.visible_pixels < 0) | (labels.visible_pixels >= min_visible_pixels))
        rows = np.concatenate([b.centers, b.sizes, b.yaw[:, None], b.velocity], axis=1)
        boxes.append(rows[keep].astype(np.float32))
        classes.append(labels.class_ids[keep])
    most = max(len(rows) for rows in boxes)
    padded = torch.zeros(len(boxes), most, 9)
    ids = torch.full((len(boxes), most), -1, dtype=torch.int64)
    for i, (rows, kinds) in enumerate(zip(boxes, classes, strict=True)):
        padded[i, : len(rows)] = torch.from_numpy(rows)
        ids[i, : len(kinds)] = torch.from_numpy(kinds)
    return Targets(padded, ids, points)

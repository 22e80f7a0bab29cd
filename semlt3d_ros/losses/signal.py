"""What teachers say about the frames of a step."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from semlt3d_ros.core.bev_grid import BevGrid


@dataclass
class TeacherSignal:
    """What a LiDAR teacher says about B frames, in the ego axes of the recordings, whatever augmentation does.

    ``Targets.T_ego_recorded`` leads from those axes to the ones that the student sees. What a frame without a cloud has
    in its place counts for nothing.

    Attributes:
        grid: of the maps, in the teacher's own frame.
        T_ego_model: (4, 4) from that frame to the ego axes of the recordings.
        there: (B,) bool, frames that the teacher has seen.
        bev: (B, C, rows, columns) its features.
        heat: (B, n, rows, columns) probabilities of the student's classes at every cell.
        cells: (B, 9, rows, columns) the box that every cell would be, x y z l w h yaw vx vy along the ego axes; x and y
            from the cell's centre.
        occupied: (B, rows, columns) bool, cells that hold points.
        boxes: (B, T, 9) what it detected, padded to the most of a frame: x y z l w h yaw vx vy, NaN where unknown.
        scores: (B, T, n) the confidences of the student's classes; 0 where padded.
        known: (n,) bool, classes that the teacher has; of others it says nothing.
        intrinsics: (B, V, 3, 3) of the views as they were recorded.
    """

    grid: BevGrid
    T_ego_model: Tensor
    there: Tensor
    bev: Tensor
    heat: Tensor
    cells: Tensor
    occupied: Tensor
    boxes: Tensor
    scores: Tensor
    known: Tensor
    intrinsics: Tensor

    def to(self, device: torch.device | str) -> TeacherSignal:
        """The same on another device."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        moved: dict[str, Any] = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)

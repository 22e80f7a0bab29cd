"""What teachers say about the frames of a step."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.decoder import LayerOutput


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
        before: what it says about the frames before these; None where nothing looks at that.
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
    before: SignalBefore | None = None

    def to(self, device: torch.device | str) -> TeacherSignal:
        """The same on another device."""
        return _moved(self, device)


@dataclass
class SignalBefore:
    """What a LiDAR teacher says about the frame before each of B frames, as ``TeacherSignal`` has it.

    Attributes:
        there: (B,) bool, False for the first frame of a drive, and without ego poses or a cloud.
        bev: (B, C, rows, columns) its features.
        T_before_now: (B, 4, 4) from the ego frame of now to that of then, in the axes of the recordings.
    """

    there: Tensor
    bev: Tensor
    T_before_now: Tensor

    def to(self, device: torch.device | str) -> SignalBefore:
        """The same on another device."""
        return _moved(self, device)


@dataclass
class Looked:
    """The views of B frames as a teacher of images looked at them: as they were recorded, or mirrored.

    Attributes:
        there: (B,) bool, frames that it has looked at.
        intrinsics: (B, V, 3, 3).
        T_ego_camera: (B, V, 4, 4).
        T_ego_recorded: (B, 4, 4) from the ego axes of the recordings to those in which it looked.
    """

    there: Tensor
    intrinsics: Tensor
    T_ego_camera: Tensor
    T_ego_recorded: Tensor

    def to(self, device: torch.device | str) -> Looked:
        """The same on another device."""
        return _moved(self, device)

    def from_ego(self, T_ego_recorded: Tensor | None) -> Tensor:
        """(B, 4, 4) from the ego axes of a batch to those in which the teacher looked."""
        return self.T_ego_recorded if T_ego_recorded is None else self.T_ego_recorded @ torch.linalg.inv(T_ego_recorded)

    def pixels(self, batch: Batch, T_ego_recorded: Tensor | None) -> Tensor:
        """(B, V, 3, 3) from homogeneous pixels of a batch to those of the same views as the teacher looked at them.

        Args:
            batch: the frames, mirrored, cut, turned or scaled.
            T_ego_recorded: (B, 4, 4) from the ego axes of the recordings to those of the batch; None for the same.
        """
        T_own_ego = self.from_ego(T_ego_recorded)[:, None].to(batch.T_ego_camera)
        T_own_camera = torch.linalg.inv(self.T_ego_camera) @ T_own_ego @ batch.T_ego_camera
        return self.intrinsics @ T_own_camera[..., :3, :3] @ torch.linalg.inv(batch.intrinsics)


@dataclass
class DepthSignal:
    """What a student that sees depth says about B frames, for one that sees light.

    Attributes:
        looked: how it saw them.
        features: its maps (B, V, h, w, C) of each level, finest first.
        layer: its last decoder layer, in the axes in which it looked.
    """

    looked: Looked
    features: list[Tensor]
    layer: LayerOutput

    def to(self, device: torch.device | str) -> DepthSignal:
        """The same on another device."""
        features = [values.to(device) for values in self.features]
        return DepthSignal(self.looked.to(device), features, _moved(self.layer, device))


@dataclass
class SamSignal:
    """What SAM's image encoder makes of the views of B frames.

    Attributes:
        looked: how it saw them.
        features: (B, V, h, w, C).
        stride: pixels of the student's images per cell.
    """

    looked: Looked
    features: Tensor
    stride: int

    def to(self, device: torch.device | str) -> SamSignal:
        """The same on another device."""
        return SamSignal(self.looked.to(device), self.features.to(device), self.stride)


@dataclass
class RegionSignal:
    """What a CLIP sees in image regions of B frames, in the ego axes of the recordings, whatever augmentation does.

    Attributes:
        boxes: (B, R, 9) what is in them, padded to the most of a frame: x y z l w h yaw vx vy.
        embeddings: (B, R, d) of unit length; NaN where padded.
        views: (B, R) int64 number of the view that each region is of.
        likest: (B, R) int64 number of the class whose name each is likest; of those padded any.
        logit_scale: the CLIP's own: what it multiplies cosines with before it compares them.
    """

    boxes: Tensor
    embeddings: Tensor
    views: Tensor
    likest: Tensor
    logit_scale: float

    @property
    def real(self) -> Tensor:
        """(B, R) bool, which regions there are."""
        return self.embeddings.isfinite().all(-1)

    def to(self, device: torch.device | str) -> RegionSignal:
        """The same on another device."""
        return _moved(self, device)


@dataclass
class ImageSignals:
    """What teachers say that look at images of the frames; None for those that nobody follows."""

    depth: DepthSignal | None = None
    sam: SamSignal | None = None
    regions: RegionSignal | None = None

    def to(self, device: torch.device | str) -> ImageSignals:
        """The same on another device."""
        return _moved(self, device)


def _moved(values: Any, device: torch.device | str) -> Any:
    """A dataclass with all its parts that can be moved on another device."""
    parts = {entry.name: getattr(values, entry.name) for entry in fields(values)}
    return replace(values, **{name: part.to(device) for name, part in parts.items() if hasattr(part, "to")})

"""Where ground truth is silent: what a student says there is neither right nor wrong.

Labels of none of the classes (``classes.ABSENT``) are objects all the same, and outside the labelled region nobody
looked. A prediction there that no object claims is no false one, so that no loss may call it background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.geometry import MIN_DEPTH_M, box_corners, cell_centers, project, unproject
from semlt3d_ros.student.image_head import ImageOutput

MARGIN_M = 0.5
"""By which the footprint of an ignored object is enlarged on every side."""
REACH_M = 2.0
"""What is this close to the centre of an ignored object may mean it, as evaluation matches boxes up to some metres."""
_NEAREST_M = 0.1
_NOWHERE = LabelledRegion(range_m=-1.0)


@dataclass
class Unjudged:
    """What of B frames is not judged, padded to the most ignored objects I and the most windows W.

    Attributes:
        boxes: (B, I, 9) float32 x y z l w h yaw vx vy of ignored objects in the ego frame.
        real: (B, I) bool, False where padded.
        T_window_ego: (B, W, 4, 4) float32 the ego frame to the optical frame of each window of the labelled region.
        bounds: (B, W, 4) float32 left, top, right, bottom of the windows, as x / z and y / z.
        labelled: (B, W) bool, windows within which everything is labelled; a frame without any is labelled all around.
        left_out: (B, W) bool, windows within which it is not.
        range_m: (B,) float32, up to which distance on the ground everything is labelled; negative for a frame without
            labels, of which nothing is known.
    """

    boxes: Tensor
    real: Tensor
    T_window_ego: Tensor
    bounds: Tensor
    labelled: Tensor
    left_out: Tensor
    range_m: Tensor

    def to(self, device: torch.device | str) -> Unjudged:
        """The same on another device."""
        return Unjudged(**{entry.name: getattr(self, entry.name).to(device) for entry in fields(self)})

    @classmethod
    def objects(cls, boxes: Tensor, real: Tensor) -> Unjudged:
        """Ignored objects alone, all around which everything is labelled; arguments as the attributes."""
        size = len(boxes)
        nowhere = boxes.new_zeros(size, 0, dtype=torch.bool)
        return cls(
            boxes,
            real,
            boxes.new_zeros(size, 0, 4, 4),
            boxes.new_zeros(size, 0, 4),
            nowhere,
            nowhere,
            boxes.new_full((size,), torch.inf),
        )

    def and_objects(self, boxes: Tensor, real: Tensor) -> Unjudged:
        """The same with further ignored objects; arguments as the attributes."""
        return replace(self, boxes=torch.cat([self.boxes, boxes], 1), real=torch.cat([self.real, real], 1))

    def transformed(self, T_new_ego: Tensor) -> Unjudged:
        """The same in other axes; see ``Targets.transformed``."""
        return replace(
            self,
            boxes=transformed_boxes(self.boxes, T_new_ego),
            # Windows see what they saw before, so that also a mirrored or a larger world takes them along.
            T_window_ego=self.T_window_ego @ torch.linalg.inv(T_new_ego)[:, None],
            range_m=self.range_m * scale_of(T_new_ego),
        )

    def at(self, points: Tensor) -> Tensor:
        """(B, N) whether predictions centred at ``points`` (B, N, 3) in the ego frame are not judged."""
        away = points[:, None, :, :2] - self.boxes[:, :, None, :2]
        cos, sin = self.boxes[..., 6, None].cos(), self.boxes[..., 6, None].sin()
        along, across = cos * away[..., 0] + sin * away[..., 1], cos * away[..., 1] - sin * away[..., 0]
        half = self.boxes[:, :, None, 3:5] / 2 + MARGIN_M
        meant = (along.abs() <= half[..., 0]) & (across.abs() <= half[..., 1])
        meant = (meant | (away.norm(dim=-1) <= REACH_M)) & self.real[..., None]
        return meant.any(1) | ~self._in_region(points)

    def cells(self, image: ImageOutput, batch: Batch) -> Tensor:
        """(B, V, h, w) whether cells of the 2D head are not judged.

        Cells that an ignored object covers are not, nor are those whose object, at the depth that they give it, would
        lie outside the labelled region.
        """
        height, width = image.heat.shape[-2:]
        centers = cell_centers(height, width, image.stride, image.heat.device)
        depth = image.log_depth.detach().float().clamp(np.log(MIN_DEPTH_M), 5.0).exp()
        points = unproject(
            centers.expand(*depth.shape, 2),
            depth,
            batch.intrinsics[:, :, None, None],
            batch.T_ego_camera[:, :, None, None],
        )
        outside = ~self._in_region(points.flatten(1, 3)).unflatten(1, depth.shape[1:])
        return outside | self._covered(image, batch)

    def _in_region(self, points: Tensor) -> Tensor:
        """(B, N) whether what is at points (B, N, 3) would have been labelled."""
        inside = points[..., :2].norm(dim=-1) <= self.range_m[:, None]
        T = self.T_window_ego
        seen = points[:, None] @ T[..., :3, :3].transpose(-1, -2) + T[..., None, :3, 3]
        plane = seen[..., :2] / seen[..., 2:].clamp_min(_NEAREST_M)
        low, high = self.bounds[:, :, None, :2], self.bounds[:, :, None, 2:]
        within = (seen[..., 2] > _NEAREST_M) & (plane >= low).all(-1) & (plane <= high).all(-1)
        everywhere = ~self.labelled.any(1, keepdim=True)
        inside = inside & (everywhere | (within & self.labelled[..., None]).any(1))
        return inside & ~(within & self.left_out[..., None]).any(1)

    def _covered(self, image: ImageOutput, batch: Batch) -> Tensor:
        """(B, V, h, w) cells within the outline of an ignored object, as an upright rectangle."""
        height, width = image.heat.shape[-2:]
        corners = box_corners(self.boxes)
        # Corners behind the camera are taken for very near ones, so that the outline reaches the image's border there.
        pixels, depth = project(corners.flatten(1, 2), batch.intrinsics, batch.T_ego_camera)
        cell = ((pixels + 0.5) / image.stride - 0.5).unflatten(2, corners.shape[1:3])
        seen = (depth.unflatten(2, corners.shape[1:3]) > MIN_DEPTH_M).any(-1) & self.real[:, None]
        low, high = cell.amin(-2) - 0.5, cell.amax(-2) + 0.5
        columns = torch.arange(width, device=cell.device)
        rows = torch.arange(height, device=cell.device)
        across = (columns >= low[..., :1]) & (columns <= high[..., :1]) & seen[..., None]
        down = (rows >= low[..., 1:]) & (rows <= high[..., 1:])
        return (down[..., :, None] & across[..., None, :]).any(2)


def collate_unjudged(frames: Sequence[Frame]) -> Unjudged | None:
    """What of frames is not judged; None where everything is."""
    regions = [_NOWHERE if frame.labels is None else frame.region for frame in frames]
    boxes = [_ignored(frame) for frame in frames]
    if all(region == LabelledRegion() for region in regions) and not any(len(rows) for rows in boxes):
        return None
    size, most = len(frames), max(len(rows) for rows in boxes)
    windows = [(*region.windows, *region.left_out) for region in regions]
    count = max(len(found) for found in windows)
    result = Unjudged(
        torch.zeros(size, most, 9),
        torch.zeros(size, most, dtype=torch.bool),
        torch.eye(4).repeat(size, count, 1, 1),
        torch.zeros(size, count, 4),
        torch.zeros(size, count, dtype=torch.bool),
        torch.zeros(size, count, dtype=torch.bool),
        torch.tensor([region.range_m for region in regions], dtype=torch.float32),
    )
    for i, region in enumerate(regions):
        result.boxes[i, : len(boxes[i])] = torch.from_numpy(boxes[i])
        result.real[i, : len(boxes[i])] = True
        result.labelled[i, : len(region.windows)] = True
        result.left_out[i, len(region.windows) : len(windows[i])] = True
        for j, window in enumerate(windows[i]):
            result.T_window_ego[i, j] = torch.from_numpy(np.linalg.inv(window.T_ego_camera))
            result.bounds[i, j] = torch.tensor([window.left, window.top, window.right, window.bottom])
    return result


def _ignored(frame: Frame) -> np.ndarray:
    if frame.labels is None:
        return np.zeros((0, 9), np.float32)
    b = frame.labels.boxes[frame.labels.class_ids == ABSENT]
    return np.concatenate([b.centers, b.sizes, b.yaw[:, None], b.velocity], axis=1).astype(np.float32)


def scale_of(T_new_ego: Tensor) -> Tensor:
    """(...) factor by which transforms (..., 4, 4) that keep angles change lengths."""
    return T_new_ego[..., :3, 0].norm(dim=-1)


def transformed_boxes(boxes: Tensor, T_new_ego: Tensor) -> Tensor:
    """Boxes (B, T, 9) in other axes; see ``Targets.transformed``."""
    linear = T_new_ego[:, :3, :3].transpose(1, 2)
    handed = torch.linalg.det(linear).sign()[:, None]
    turn = torch.atan2(T_new_ego[:, 1, 0], T_new_ego[:, 0, 0])[:, None]
    return torch.cat(
        [
            boxes[..., :3] @ linear + T_new_ego[:, None, :3, 3],
            boxes[..., 3:6] * scale_of(T_new_ego)[:, None, None],
            (turn + handed * boxes[..., 6])[..., None],
            boxes[..., 7:9] @ linear[:, :2, :2],
        ],
        dim=-1,
    )

"""Ground truth as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.losses.unjudged import Unjudged, collate_unjudged, transformed_boxes


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
        unjudged: where nothing is known, so that what a student says there is not judged; None where there is no such
            place.
        T_ego_recorded: (B, 4, 4) from the ego axes of the recordings to these, which augmentation changes; None where
            they are the same.
        told: (B, T) bool, objects whose class is told. Of others the box is learnt and what others say of them, by no
            loss that asks for ``classes``. None where all are told.
    """

    boxes: Tensor
    classes: Tensor
    points: list[Tensor]
    region_embeddings: Tensor | None = None
    region_views: Tensor | None = None
    unjudged: Unjudged | None = None
    T_ego_recorded: Tensor | None = None
    told: Tensor | None = None

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        return replace(
            self,
            boxes=self.boxes.to(device),
            classes=self.classes.to(device),
            points=[p.to(device) for p in self.points],
            region_embeddings=None if self.region_embeddings is None else self.region_embeddings.to(device),
            region_views=None if self.region_views is None else self.region_views.to(device),
            unjudged=None if self.unjudged is None else self.unjudged.to(device),
            T_ego_recorded=None if self.T_ego_recorded is None else self.T_ego_recorded.to(device),
            told=None if self.told is None else self.told.to(device),
        )

    def told_alone(self) -> Targets:
        """The same but for objects whose class is not told, on which nothing is judged."""
        return self if self.told is None else self.without(~self.told)

    def without(self, which: Tensor) -> Targets:
        """The same but for objects ``which`` (B, T) bool, on which nothing is judged."""
        gone = which & (self.classes >= 0)
        objects = self.boxes, gone
        return replace(
            self,
            classes=torch.where(gone, -1, self.classes),
            unjudged=Unjudged.objects(*objects) if self.unjudged is None else self.unjudged.and_objects(*objects),
        )

    def transformed(self, T_new_ego: Tensor) -> Targets:
        """The same objects, points and places that are not judged, in other axes.

        Args:
            T_new_ego: (B, 4, 4) turns about the vertical, shifts, uniform scales and mirrors on vertical planes, in
                any combination: what they make of boxes are boxes. A velocity scales with the world.
        """
        linear, shift = T_new_ego[:, :3, :3].transpose(1, 2), T_new_ego[:, :3, 3]
        return replace(
            self,
            boxes=transformed_boxes(self.boxes, T_new_ego),
            points=[points @ linear[b] + shift[b] for b, points in enumerate(self.points)],
            unjudged=None if self.unjudged is None else self.unjudged.transformed(T_new_ego),
            T_ego_recorded=T_new_ego if self.T_ego_recorded is None else T_new_ego @ self.T_ego_recorded,
        )


def points_of(frames: Sequence[Frame]) -> list[Tensor]:
    """The LiDAR points (P, 3) of each frame in its ego frame, possibly none."""
    nothing = np.zeros((0, 3), np.float32)
    return [torch.from_numpy(np.asarray(frame.points.xyz if frame.points else nothing, np.float32)) for frame in frames]


def learnt(labels: Labels, range_m: float, min_visible_pixels: int) -> NDArray[np.bool_]:
    """(N,) which labels are targets: of one of the classes, within ``range_m`` of the vehicle, and covering at least
    ``min_visible_pixels`` or an unknown number."""
    near = np.hypot(*labels.boxes.centers[:, :2].T) <= range_m
    visible = (labels.visible_pixels < 0) | (labels.visible_pixels >= min_visible_pixels)
    return near & visible & (labels.class_ids != ABSENT)


def collate_targets(
    frames: Sequence[Frame],
    range_m: float,
    min_visible_pixels: int,
    regions: Sequence[SeenRegions] | None = None,
    told: Sequence[NDArray[np.bool_] | None] | None = None,
) -> Targets:
    """The objects that are ``learnt``.

    Those of none of the classes, what lies outside a frame's labelled region, and all of a frame
    without labels are not judged.
    ``regions`` gives for each frame what is seen in its labels' image regions, ``told`` (labels,) whether their class
    is told, None where all are.
    """
    boxes, classes = [], []
    kept: list[NDArray[np.bool_]] = []
    for frame in frames:
        if frame.labels is None:
            boxes.append(np.zeros((0, 9), np.float32))
            classes.append(np.zeros(0, np.int64))
            kept.append(np.zeros(0, np.bool_))
            continue
        b, labels = frame.labels.boxes, frame.labels
        keep = learnt(labels, range_m, min_visible_pixels)
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
    targets = Targets(padded, ids, points_of(frames), unjudged=collate_unjudged(frames))
    if told is not None and any(each is not None for each in told):
        targets.told = torch.ones_like(ids, dtype=torch.bool)
        for i, (known, keep) in enumerate(zip(told, kept, strict=True)):
            if known is not None:
                targets.told[i, : keep.sum()] = torch.from_numpy(known[keep])
    if regions is None:
        return targets
    embeddings = torch.full((len(boxes), most, regions[0].embeddings.shape[1]), torch.nan)
    views = torch.zeros_like(ids)
    for i, (seen, keep) in enumerate(zip(regions, kept, strict=True)):
        embeddings[i, : keep.sum()] = torch.from_numpy(seen.embeddings[keep])
        views[i, : keep.sum()] = torch.from_numpy(seen.views[keep])
    return replace(targets, region_embeddings=embeddings, region_views=views)

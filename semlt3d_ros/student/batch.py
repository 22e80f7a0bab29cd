"""Frames as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame


@dataclass
class Batch:
    """B frames of up to V views each; frames with fewer views are padded and masked.

    Attributes:
        images: (B, V, 3, H, W) uint8 RGB.
        intrinsics: (B, V, 3, 3) float32, ideal pinhole.
        T_ego_camera: (B, V, 4, 4) float32.
        valid: (B, V) bool, False where no image is.
        stamps: (B,) int64 nanoseconds.
        T_world_ego: (B, 4, 4) float64 ego poses in a fixed frame; NaN where there is no odometry.
    """

    images: Tensor
    intrinsics: Tensor
    T_ego_camera: Tensor
    valid: Tensor
    stamps: Tensor
    T_world_ego: Tensor

    def part(self, rows: slice) -> Batch:
        """Some of the frames."""
        return Batch(**{name: values[rows] for name, values in vars(self).items()})

    def at(self, rows: Tensor) -> Batch:
        """Those of the frames, by number."""
        return Batch(**{name: values[rows] for name, values in vars(self).items()})

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in vars(self)})


def collate(frames: Sequence[Frame], width: int, height: int) -> Batch:
    """Stack frames whose images were prepared to ``width`` x ``height`` pinhole views.

    Raises:
        ConfigurationError: a view has another size or is distorted; it was not prepared for this student.
    """
    views = max([1, *(len(frame.views) for frame in frames)])
    images = np.zeros((len(frames), views, height, width, 3), np.uint8)
    # Of views that are missing, too, since batch norm sees them: a focal length of one pixel would be a wild one.
    nominal = np.array([[width, 0.0, (width - 1) / 2], [0.0, width, (height - 1) / 2], [0.0, 0.0, 1.0]], np.float32)
    intrinsics = np.tile(nominal, (len(frames), views, 1, 1))
    poses = np.tile(np.eye(4, dtype=np.float32), (len(frames), views, 1, 1))
    valid = np.zeros((len(frames), views), np.bool_)
    for i, frame in enumerate(frames):
        for j, view in enumerate(frame.views):
            if view.image.shape != (height, width, 3) or not view.camera.is_pinhole:
                raise ConfigurationError(
                    f"camera '{view.name}': image {view.image.shape} is not the {height}x{width}x3 pinhole image this "
                    "student takes; prepare it with sensing.preparation and the detector's image_spec"
                )
            images[i, j], intrinsics[i, j], poses[i, j], valid[i, j] = (
                view.image,
                view.camera.K,
                view.T_ego_camera,
                True,
            )
    unknown = np.full((4, 4), np.nan)
    ego = np.stack([unknown if frame.T_world_ego is None else frame.T_world_ego for frame in frames])
    return Batch(
        torch.from_numpy(images).permute(0, 1, 4, 2, 3),
        torch.from_numpy(intrinsics),
        torch.from_numpy(poses),
        torch.from_numpy(valid),
        torch.tensor([frame.stamp for frame in frames], dtype=torch.int64),
        torch.from_numpy(ego.astype(np.float64)),
    )

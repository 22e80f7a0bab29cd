"""What published detectors have in common as whole networks: images and calibration in, boxes and a memory out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.student.backbone import make_backbone
from semlt3d_ros.student.features import normalize
from semlt3d_ros.student.published.config import PublishedConfig
from semlt3d_ros.student.published.memory import QueryMemory
from semlt3d_ros.student.published.stream_head import HeadOutput

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet's channels, RGB. Backbones that were trained on BGR have their first convolution turned at import."""


@dataclass
class Views:
    """The images of B frames, of V cameras each.

    Attributes:
        images: (B, V, 3, H, W) uint8 RGB.
        intrinsics: (B, V, 3, 3) float64, of images that ``sensing.bicubic`` has made.
        T_model_camera: (B, V, 4, 4) float64 cameras' optical frames to the model's frame.
        valid: (B, V) bool, False where no image is.
    """

    images: Tensor
    intrinsics: Tensor
    T_model_camera: Tensor
    valid: Tensor

    def T_model_image(self) -> Tensor:
        """(B, V, 4, 4) float32 from (u d, v d, d, 1) to points in the model's frame."""
        padded = F.pad(self.intrinsics.double(), (0, 1, 0, 1))
        padded[..., 3, 3] = 1.0
        return (self.T_model_camera.double() @ padded.inverse()).float()

    def to(self, device: torch.device | str) -> Views:
        """The same on another device."""
        return replace(self, **{name: values.to(device) for name, values in vars(self).items()})


@dataclass
class Motion:
    """How B frames follow those that the memory is of.

    Attributes:
        T_now_last: (B, 4, 4) float32 from the model's frame at the last image set to the present one.
        elapsed_s: (B,) float32 seconds between the two.
        continues: (B,) float32 1 where there was one, 0 where a stream begins; the others are identity and 0 there.
    """

    T_now_last: Tensor
    elapsed_s: Tensor
    continues: Tensor


class PublishedModel(nn.Module):
    """A published detector.

    Attributes:
        family: what checkpoints call it.
        config: its shape.
        levels: numbers of the backbone's levels that are used.
        channels: of these.
    """

    family: ClassVar[str]
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: PublishedConfig, strides: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config.backbone)
        reductions, channels = self.backbone.feature_info.reduction(), self.backbone.feature_info.channels()
        self.levels = [reductions.index(stride) for stride in strides]
        self.channels = [channels[level] for level in self.levels]
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION), persistent=False)

    @abstractmethod
    def empty_memory(self, size: int = 1) -> QueryMemory:
        """The memory of ``size`` streams before their first frame."""

    @abstractmethod
    def forward(self, views: Views, memory: QueryMemory, motion: Motion) -> HeadOutput:
        """Detect objects.

        Args:
            views: what the cameras saw.
            memory: as the frame before has left it, or an empty one.
            motion: since that frame.
        """

    def maps(self, images: Tensor) -> list[Tensor]:
        """The backbone's levels (N, C, H / stride, W / stride) of normalised images (N, 3, H, W), finest first."""
        levels = self.backbone(images)
        return [levels[level] for level in self.levels]

    def normalised(self, images: Tensor) -> Tensor:
        """Images (B, V, 3, H, W) uint8 as the backbone takes them, (B V, 3, H, W)."""
        return normalize(images.flatten(0, 1), self.mean, self.deviation)

    def half_precision(self) -> torch.autocast:
        """On a GPU the images are looked at in half precision, as in training; heads always compute in single."""
        device = self.mean.device.type
        return torch.autocast(device, torch.float16, enabled=device == "cuda")

"""Images to features: a timm backbone, a feature pyramid, and what the calibration says about each cell."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.backbone import make_backbone
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.geometry import cell_centers


class ImageFeatures(nn.Module):
    """Backbone, pyramid and ray encoding.

    The encoding tells every cell its viewing direction relative to the camera and the ground, and the range at which
    the ray would meet the ground: monocular range is mostly read off there.

    Attributes:
        cache: gives the maps of a batch, or has them computed; for training on frozen features. None computes always.
    """

    _GEOMETRY = 6
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.cache: Callable[[Batch, Callable[[Batch], list[Tensor]]], list[Tensor]] | None = None
        self.backbone = make_backbone(config.backbone, config.pretrained, **config.backbone_args)
        reductions = self.backbone.feature_info.reduction()
        missing = {*config.strides, config.detail_stride or config.strides[0]} - set(reductions)
        if missing:
            raise ConfigurationError(f"backbone '{config.backbone}' has strides {reductions}, not {sorted(missing)}")
        self.strides = config.strides
        self._levels = [reductions.index(stride) for stride in config.strides]
        channels = self.backbone.feature_info.channels()
        self.pyramid = FeaturePyramidNetwork(
            [channels[level] for level in self._levels], config.width, norm_layer=nn.BatchNorm2d
        )
        self.details: Details | None = None
        if config.detail_stride:
            self._detail_level = reductions.index(config.detail_stride)
            within = config.strides[0] // config.detail_stride
            self.details = Details(channels[self._detail_level], within, config.width)
        self.geometry = nn.Sequential(
            nn.Linear(self._GEOMETRY, config.width), nn.ReLU(inplace=True), nn.Linear(config.width, config.width)
        )
        self.register_buffer("mean", torch.tensor(config.image_mean), persistent=False)
        self.register_buffer("deviation", torch.tensor(config.image_deviation), persistent=False)

    def forward(self, batch: Batch) -> list[Tensor]:
        """Feature maps of all views, finest first: (B, V, C, H / stride, W / stride) each."""
        return self._compute(batch) if self.cache is None else self.cache(batch, self._compute)

    def _compute(self, batch: Batch) -> list[Tensor]:
        views = batch.images.shape[:2]
        images = normalize(batch.images.flatten(0, 1), self.mean, self.deviation)
        maps = self.backbone(images.contiguous(memory_format=torch.channels_last))
        pyramid = self.pyramid({str(level): maps[level] for level in self._levels})
        features = []
        for stride, level in zip(self.strides, self._levels, strict=True):
            feature = pyramid[str(level)]
            if self.details is not None and level == self._levels[0]:
                feature = feature + self.details(maps[self._detail_level], feature)
            feature = feature.unflatten(0, views)
            encoding = self.geometry(self._cell_geometry(batch, feature.shape[-2], feature.shape[-1], stride))
            features.append(feature + encoding.permute(0, 1, 4, 2, 3))
        return features

    def _cell_geometry(self, batch: Batch, height: int, width: int, stride: int) -> Tensor:
        """(B, V, h, w, 6) numbers of order one about each cell's ray; they do not depend on the camera's azimuth."""
        pixels = cell_centers(height, width, stride, batch.images.device)
        focal = batch.intrinsics[..., (0, 1), (0, 1)][:, :, None, None]
        plane = (pixels - batch.intrinsics[..., None, None, :2, 2]) / focal
        rays = torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1)
        rays = rays / rays.norm(dim=-1, keepdim=True)
        down = -(rays @ batch.T_ego_camera[:, :, None, 2, :3, None])[..., 0]
        camera_height = batch.T_ego_camera[..., 2, 3][:, :, None, None].clamp_min(0.1)
        level = torch.sqrt((1.0 - down * down).clamp_min(1e-6))
        inverse_range = down / (level * camera_height)
        log_range = -inverse_range.clamp_min(1.0 / 80.0).log() / 4.0
        return torch.cat(
            [
                plane,
                down[..., None],
                (inverse_range * 5.0).clamp(-2.0, 2.0)[..., None],
                log_range[..., None],
                (focal[..., :1] / 200.0).log().expand_as(log_range[..., None]),
            ],
            dim=-1,
        )


class Details(nn.Module):
    """What a fine map shows within each cell of a coarser one.

    At first it says nothing, so that a trained student that is given it is the one that it was.

    Args:
        channels: of the fine map.
        within: its cells along each side of a coarse one.
        width: channels given out.
    """

    def __init__(self, channels: int, within: int, width: int) -> None:
        super().__init__()
        self.within = within
        self.read, self.say = nn.Conv2d(channels * within**2, width, 1), nn.Conv2d(width, width, 1)
        for values in self.say.parameters():
            nn.init.zeros_(values)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, width, h, w) for a fine map (N, C, H, W) and a coarse one (N, ..., h, w) of the same images."""
        height, width = (size * self.within for size in coarse.shape[-2:])
        filled = F.pad(fine, (0, width - fine.shape[-1], 0, height - fine.shape[-2]))
        said: Tensor = self.say(self.read(F.pixel_unshuffle(filled, self.within)).relu())
        return said


def normalize(images: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Images (N, 3, H, W) uint8 less ``mean`` (3,), divided by ``deviation`` (3,), float32, in channels-last memory.

    Whole rows at once: broadcasting three numbers along the innermost axis takes three times as long. Multiplying by
    the reciprocal takes a quarter of the time of dividing.
    """
    width = images.shape[-1]
    rows = images.permute(0, 2, 3, 1).flatten(2).float()
    rows = rows.sub_(mean.repeat(width)).mul_((1 / deviation).repeat(width))
    return rows.unflatten(2, (width, 3)).permute(0, 3, 1, 2)

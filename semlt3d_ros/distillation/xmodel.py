"""xModel-KD: what a LiDAR network says of a point is pulled to what an image says at its projection.

After the abstract of Pathmanathan et al. (arXiv 2605.30111): pretrained 2D and 3D backbones, and a fusion encoder
learnt by contrast, so that features of corresponding pixels and points agree across several views. What it does not
tell is filled with the field's standard parts: InfoNCE (van den Oord et al., 2018) over pairs of points and pixels, as
PPKT (Liu et al., 2021) and SLidR (Sautier et al., CVPR 2022) have it. It serves training: at work the LiDAR is alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.models import FeatureListNet
from torch import Tensor, nn

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.distillation.sampling import sampled
from semlt3d_ros.distillation.xmodel_settings import XModel
from semlt3d_ros.losses.term import Total, alone, counted_over_all
from semlt3d_ros.student.backbone import make_backbone
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.features import normalize
from semlt3d_ros.student.geometry import MIN_DEPTH_M, project

_HIDDEN_SHARE, _HIDDEN_M = 0.05, 0.5
"""A point is hidden where another one lies before it, nearer by this share of its depth and this much."""
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""ImageNet's, which timm's models take."""


@dataclass(frozen=True)
class Pairs:
    """M pairs of a point and a pixel in which it is seen.

    Attributes:
        point: (M,) index of the point; one that is seen in several views is in several pairs.
        image: (M,) index of the view among all of a batch, frame by frame.
        pixels: (M, 2) u and v.
    """

    point: Tensor
    image: Tensor
    pixels: Tensor

    def at(self, chosen: Tensor) -> Pairs:
        """Some of them, by number or mask."""
        return Pairs(self.point[chosen], self.image[chosen], self.pixels[chosen])


def seen_pairs(points: Tensor, cloud: Tensor, batch: Batch, cell: int) -> Pairs:
    """All pairs of points and the views that see them.

    A LiDAR sees over and around what hides things from a camera beside it. So in every cell of a view only points
    count that lie no farther behind the nearest one than a twentieth of their depth and half a metre.

    Args:
        points: (N, 3) in the ego frames.
        cloud: (N,) which frame of the batch each is of.
        batch: the views.
        cell: side of a cell in pixels.
    """
    views, (height, width) = batch.valid.shape[1], batch.images.shape[-2:]
    columns, rows = -(-width // cell), -(-height // cell)
    found = []
    for frame in range(len(batch.valid)):
        index = torch.nonzero(cloud == frame)[:, 0]
        one = batch.part(slice(frame, frame + 1))
        pixels, depth = project(points[None, index].float(), one.intrinsics, one.T_ego_camera)
        size = pixels.new_tensor([width, height])
        shown = (depth > MIN_DEPTH_M) & (pixels > -0.5).all(-1) & (pixels < size - 0.5).all(-1)
        view, place = torch.nonzero((shown & one.valid[..., None])[0], as_tuple=True)
        pixel, far = pixels[0, view, place], depth[0, view, place]
        at = ((pixel + 0.5) / cell).long()
        flat = (view * rows + at[:, 1]) * columns + at[:, 0]
        nearest = far.new_full((views * rows * columns,), torch.inf).scatter_reduce(0, flat, far, "amin")
        open_ = far * (1 - _HIDDEN_SHARE) - _HIDDEN_M <= nearest[flat]
        found.append(Pairs(index[place[open_]], frame * views + view[open_], pixel[open_]))
    return Pairs(*(torch.cat([getattr(each, name) for each in found]) for name in ("point", "image", "pixels")))


def spread_out(pairs: Pairs, cell: int, limit: int) -> Pairs:
    """At most ``limit`` of the pairs by chance, at most one in every cell of ``cell`` pixels of a view.

    The points near a LiDAR, of which a cell holds hundreds, would be told from each other otherwise.
    """
    order = torch.randperm(len(pairs.point), device=pairs.point.device)
    pairs = pairs.at(order)
    at = torch.cat([pairs.image[:, None], ((pairs.pixels + 0.5) / cell).long()], 1)
    _, number = torch.unique(at, dim=0, return_inverse=True)
    count = int(number.max()) + 1 if len(number) else 0
    first = number.new_full((count,), len(number)).scatter_reduce(
        0, number, torch.arange(len(number), device=number.device), "amin"
    )
    return pairs.at(first.sort().values[:limit])


def info_nce(
    points: Tensor, pixels: Tensor, identity: Tensor, temperature: float, excused: Tensor | None = None
) -> Tensor:
    """(M,) how badly each point is told from the others by its pixel: InfoNCE.

    Args:
        points, pixels: (M, C) features of pairs, of any length; their directions are compared.
        identity: (M,) index of the point of each pair: pixels of the same point in other views are no negatives.
        temperature: by which cosines are divided.
        excused: (M, M) bool, further pixels (columns) that are no negatives of a point (row).
    """
    logits = F.normalize(points.float(), dim=1) @ F.normalize(pixels.float(), dim=1).T / temperature
    other = identity[:, None] == identity
    if excused is not None:
        other = other | excused
    other = other & ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    return F.cross_entropy(
        logits.masked_fill(other, -torch.inf), torch.arange(len(logits), device=logits.device), reduction="none"
    )


class PixelFeatures(nn.Module):
    """An image encoder whose maps are looked up at pixels.

    Args:
        backbone: gives maps, finest first.
        strides: those of its maps that are looked at.
        mean, deviation: (3,) of its images, out of 255.
        learning: whether it learns along.

    Raises:
        ConfigurationError: it has no such maps.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        backbone: FeatureListNet,
        strides: tuple[int, ...],
        learning: bool = False,
        mean: tuple[float, ...] = _MEAN,
        deviation: tuple[float, ...] = _DEVIATION,
    ) -> None:
        super().__init__()
        there, channels = backbone.feature_info.reduction(), backbone.feature_info.channels()
        if missing := sorted(set(strides) - set(there)):
            raise ConfigurationError(f"xmodel: strides {missing} are none of the image encoder's, which are {there}")
        self.backbone, self.strides, self.learning = backbone, strides, learning
        self._levels = [there.index(stride) for stride in strides]
        self.width = sum(channels[level] for level in self._levels)
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation), persistent=False)
        self.requires_grad_(learning)

    def train(self, mode: bool = True) -> PixelFeatures:
        """Frozen, it stays as it works."""
        super().train(mode and self.learning)
        return self

    def forward(self, images: Tensor, image: Tensor, pixels: Tensor) -> Tensor:
        """(M, width) float32 features at pixels.

        Args:
            images: (N, 3, H, W) uint8.
            image: (M,) which of them.
            pixels: (M, 2) u and v.
        """
        with torch.set_grad_enabled(self.learning and torch.is_grad_enabled()):
            maps = self.backbone(normalize(images, self.mean, self.deviation))
            found = [
                F.normalize(sampled(maps[level].permute(0, 2, 3, 1).float(), image, pixels, stride), dim=1)
                for level, stride in zip(self._levels, self.strides, strict=True)
            ]
        return torch.cat(found, 1)


def timm_pixels(settings: XModel) -> PixelFeatures:
    """The timm model that a recipe names; raises ``ConfigurationError`` where there is none."""
    return PixelFeatures(make_backbone(settings.images, settings.pretrained), settings.strides, settings.learn_images)


class FusionEncoder(nn.Module):
    """Points and pixels in one space, where each point is pulled to its pixels.

    Args:
        point_width: channels of the points' features.
        pixels: the image encoder.
        settings: of the recipe.
    """

    def __init__(self, point_width: int, pixels: PixelFeatures, settings: XModel) -> None:
        super().__init__()
        self.settings, self.pixels = settings, pixels
        self.of_points = nn.Sequential(
            nn.Linear(point_width, settings.width), nn.ReLU(inplace=True), nn.Linear(settings.width, settings.width)
        )
        self.of_pixels = nn.Linear(pixels.width, settings.width)

    def forward(self, features: Tensor, points: Tensor, cloud: Tensor, batch: Batch, total: Total = alone) -> Tensor:
        """() the weighted contrast, the mean over the pairs of a step.

        Args:
            features: (N, point_width) of points.
            points: (N, 3) where they are in the ego frames.
            cloud: (N,) which frame of the batch each is of.
            batch: the views.
            total: sums over the processes that share a step.
        """
        settings, cell = self.settings, min(self.settings.strides)
        pairs = spread_out(seen_pairs(points, cloud, batch, cell), cell, settings.pairs)
        count = counted_over_all(len(pairs.point), total, features.device)
        shown, image = torch.unique(pairs.image, return_inverse=True)  # views that see nothing cost nothing
        if not len(shown):
            return features.sum() * 0.0
        seen = self.pixels(batch.images.flatten(0, 1)[shown], image, pairs.pixels)
        told = self.of_points(features[pairs.point])
        excused = None if settings.alike >= 1 else alike(seen.detach(), settings.alike)
        each = info_nce(told, self.of_pixels(seen), pairs.point, settings.temperature, excused)
        return settings.weight * each.sum() / count


def alike(features: Tensor, least: float) -> Tensor:
    """(M, M) bool, which of features (M, C) are more alike than a cosine of ``least``."""
    unit = F.normalize(features.float(), dim=1)
    return unit @ unit.T > least

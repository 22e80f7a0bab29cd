"""Denoising queries (DN-DETR): noised ground truth to restore, so that the decoder learns before matching settles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semlt3d_ros.losses.denoising_settings import DenoisingSettings
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.denoising_queries import BACKGROUND, NOTHING, DenoisingQueries
from semlt3d_ros.student.geometry import from_ray_frame, range_scale, ray_axes, to_ray_frame


class Denoiser(nn.Module):
    """Makes denoising queries; only training holds one, the student's checkpoint does not.

    Each group has one query to restore every object, followed by those that are background. These start between once
    and twice as far away as the others may, or as the object reaches. One that happens to start so close to any other
    object that it might as well be that one's is not judged.

    Args:
        classes: number of classes.
        width: channels of a query.
        settings: how many queries, how noisy, and what they are told.
    """

    reach: Tensor

    def __init__(self, classes: int, width: int, settings: DenoisingSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or DenoisingSettings()
        self.classes = classes
        self.labels = nn.Embedding(classes if self.settings.told_class else 1, width)
        reach = [self.settings.radial_noise, self.settings.tangential_noise, self.settings.vertical_noise]
        self.register_buffer("reach", torch.tensor(reach), persistent=False)

    def forward(self, targets: Targets) -> DenoisingQueries | None:
        """Noise the targets whose class is told; None if the batch holds no object at all."""
        targets = targets.told_alone()
        count = targets.classes.shape[1]
        if count == 0:
            return None
        groups, per_object = self.settings.groups, 1 + self.settings.negatives
        centers = targets.boxes[..., :3].repeat(1, groups, 1)
        references = self._displaced(centers, (torch.rand_like(centers) * 2 - 1) * self.reach)
        real = targets.classes >= 0
        objects = torch.where(real, torch.arange(count, device=real.device), NOTHING).repeat(1, groups)
        if per_object > 1:
            far, judged = self._negatives(targets)
            away = torch.where(judged, BACKGROUND, NOTHING)
            references = torch.cat([references.unflatten(1, (groups, count)), far.unflatten(1, (groups, -1))], 2)
            objects = torch.cat([objects.unflatten(1, (groups, count)), away.unflatten(1, (groups, -1))], 2)
            references, objects = references.flatten(1, 2), objects.flatten(1, 2)
        return DenoisingQueries(self._content(targets, groups * per_object), references, groups, objects)

    def _content(self, targets: Targets, copies: int) -> Tensor:
        """(B, copies * T, C) what the queries are told."""
        classes = targets.classes.clamp_min(0).repeat(1, copies)
        if not self.settings.told_class:
            return self.labels(torch.zeros_like(classes))
        flip = torch.rand(classes.shape, device=classes.device) < self.settings.label_noise
        return self.labels(torch.where(flip, torch.randint_like(classes, self.classes), classes))

    def _negatives(self, targets: Targets) -> tuple[Tensor, Tensor]:
        """Where background starts (B, groups * negatives * T, 3), and whether it certainly is background."""
        copies = self.settings.groups * self.settings.negatives
        boxes, real = targets.boxes.repeat(1, copies, 1), (targets.classes >= 0).repeat(1, copies)
        plane = torch.rand_like(boxes[..., :2]) * 2 - 1
        plane = plane / plane.abs().amax(-1, keepdim=True).clamp_min(1e-6) * (1 + torch.rand_like(plane[..., :1]))
        height = (torch.rand_like(plane[..., :1]) * 2 - 1) * self.reach[2]
        places = self._displaced(boxes[..., :3], torch.cat([plane * self._room(boxes), height], -1))
        near = _apart(places[:, :, None], targets.boxes[:, None]) < self._room(targets.boxes)[:, None]
        return places, real & ~(near.all(-1) & (targets.classes >= 0)[:, None]).any(-1)

    def _room(self, boxes: Tensor) -> Tensor:
        """(..., 2) how far around boxes (..., 9) all may be theirs, in the units of radial and tangential noise."""
        half = boxes[..., 3:5].amax(-1) / 2
        return torch.stack([half / range_scale(boxes), half], -1).maximum(self.reach[:2])

    @staticmethod
    def _displaced(centers: Tensor, noise: Tensor) -> Tensor:
        """Points (..., 3) off ``centers`` by radial noise, in units of ``range_scale``, tangential and vertical."""
        radial = noise[..., :1] * range_scale(centers)[..., None]
        shift = from_ray_frame(torch.cat([radial, noise[..., 1:2]], dim=-1), *ray_axes(centers))
        return centers + torch.cat([shift, noise[..., 2:]], dim=-1)


def _apart(points: Tensor, boxes: Tensor) -> Tensor:
    """(..., 2) distance of points (..., 3) from boxes (..., 9), in the units of their radial and tangential noise."""
    apart = to_ray_frame(points[..., :2] - boxes[..., :2], *ray_axes(boxes[..., :3])).abs()
    return torch.stack([apart[..., 0] / range_scale(boxes), apart[..., 1]], -1)

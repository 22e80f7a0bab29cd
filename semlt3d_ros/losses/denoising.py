"""Denoising queries (DN-DETR): noised ground truth to restore, so that the decoder learns before matching settles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.denoising_queries import DenoisingQueries
from semlt3d_ros.student.geometry import from_ray_frame, range_scale, ray_axes


class Denoiser(nn.Module):
    """Makes denoising queries; only training holds one, the student's checkpoint does not.

    Args:
        classes: number of classes.
        width: channels of a query.
        groups: noised copies of every object.
        label_noise: share of labels replaced by random ones.
        radial_noise: largest radial shift in units of ``range_scale`` (metres at the vehicle).
        tangential_noise: largest tangential shift in metres.
    """

    reach: Tensor

    def __init__(
        self,
        classes: int,
        width: int,
        groups: int = 3,
        label_noise: float = 0.25,
        radial_noise: float = 1.5,
        tangential_noise: float = 1.0,
    ) -> None:
        super().__init__()
        self.labels = nn.Embedding(classes, width)
        self.groups, self.label_noise = groups, label_noise
        self.register_buffer("reach", torch.tensor([radial_noise, tangential_noise, 0.5]), persistent=False)

    def forward(self, targets: Targets) -> DenoisingQueries | None:
        """Noise the targets; None if the batch holds no object at all."""
        if targets.boxes.shape[1] == 0:
            return None
        centers = targets.boxes[..., :3].repeat(1, self.groups, 1)
        classes = targets.classes.clamp_min(0).repeat(1, self.groups)
        noise = (torch.rand_like(centers) * 2 - 1) * self.reach
        radial = noise[..., :1] * range_scale(centers)[..., None]
        shift = from_ray_frame(torch.cat([radial, noise[..., 1:2]], dim=-1), *ray_axes(centers))
        references = centers + torch.cat([shift, noise[..., 2:]], dim=-1)
        flip = torch.rand(classes.shape, device=classes.device) < self.label_noise
        classes = torch.where(flip, torch.randint_like(classes, self.labels.num_embeddings), classes)
        return DenoisingQueries(self.labels(classes), references, self.groups)

"""How the denoising queries are made; for recipes, which are read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, share


@dataclass(frozen=True)
class DenoisingSettings(Checked):
    """Denoising queries of every object.

    Attributes:
        groups: groups of queries; those of one group do not see another's.
        told_class: whether a query is told its object's class, as in DN-DETR. Most of the loss of its class can then be
            saved by reading the query instead of the image; StreamPETR tells none.
        label_noise: share of the classes told that are random ones.
        negatives: queries in every group and of every object that are displaced by so much that they are background, as
            in DINO (Zhang et al., ICLR 2023) and Far3D.
        aligned: whether the denoising queries take part in the alignment loss.
        radial_noise: largest radial shift in units of ``range_scale`` (metres at the vehicle).
        tangential_noise: largest tangential shift in metres.
        vertical_noise: largest vertical shift in metres.
    """

    TITLE: ClassVar[str] = "denoising"
    CHECKS: ClassVar[Checks] = (
        *positive("groups", "radial_noise", "tangential_noise"),
        *not_negative("negatives", "vertical_noise"),
        *share("label_noise"),
    )

    groups: int = 3
    told_class: bool = True
    label_noise: float = 0.25
    negatives: int = 0
    aligned: bool = True
    radial_noise: float = 1.5
    tangential_noise: float = 1.0
    vertical_noise: float = 0.5

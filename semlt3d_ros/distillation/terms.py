"""The loss terms of a recipe's distillation."""

from __future__ import annotations

from torch import nn

from semlt3d_ros.distillation.cmkd import BevBranch, CmkdLoss
from semlt3d_ros.distillation.monostl import MonoStlLoss
from semlt3d_ros.distillation.regions import RegionLoss
from semlt3d_ros.distillation.samdistill import SamDistillLoss
from semlt3d_ros.distillation.settings import Distillation
from semlt3d_ros.losses.term import LossTerm
from semlt3d_ros.student.config import StudentConfig


def distillation_terms(
    settings: Distillation, config: StudentConfig, taught_width: int, sam_width: int = 0, language_width: int = 0
) -> nn.ModuleList:
    """The terms that a recipe asks for, with what they need besides the student, which learns along.

    Args:
        settings: of the recipe.
        config: of the student.
        taught_width: channels of the LiDAR teacher's features.
        sam_width: channels of SAM's; 0 without.
        language_width: of the CLIP that looks at image regions; 0 without.
    """
    terms: list[LossTerm] = []
    if settings.cmkd is not None:
        on_map = settings.cmkd.features or settings.cmkd.heat or settings.cmkd.boxes
        terms.append(CmkdLoss(settings.cmkd, BevBranch(config, taught_width) if on_map else None))
    if settings.monostl is not None:
        terms.append(MonoStlLoss(settings.monostl, config))
    if settings.samdistill is not None:
        terms.append(SamDistillLoss(settings.samdistill, config, taught_width, sam_width))
    if settings.regions is not None:
        terms.append(RegionLoss(settings.regions, config, language_width))
    return nn.ModuleList(terms)

"""How much each of a teacher's losses counts; for recipes, which are read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from semlt3d_ros.core.checks import Checked, Checks, not_negative


@dataclass(frozen=True)
class TeacherLossWeights(Checked):
    """Weights of the terms of the total loss.

    Attributes:
        heat: focal loss of the heat maps.
        boxes: L1 loss of the boxes.
        points: cross entropy of the classes of points.
    """

    TITLE: ClassVar[str] = "loss_weights"
    CHECKS: ClassVar[Checks] = not_negative("heat", "boxes", "points")

    heat: float = 1.0
    boxes: float = 0.25
    points: float = 1.0

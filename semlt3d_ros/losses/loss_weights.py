"""How much each loss counts; for recipes, which are read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from semlt3d_ros.core.checks import Checked, Checks, not_negative, rule


@dataclass(frozen=True)
class LossWeights(Checked):
    """Weights of the terms of the total loss.

    Attributes:
        classes: focal loss of the query classes.
        class_overlap: beta of the class-balanced loss (``losses.class_balance``), by which objects of rare classes
            count more in ``classes`` and ``alignment``; 0 lets all count alike. All labels are counted before the first
            step.
        hierarchy: focal loss of super-classes and of objects as such (``losses.hierarchy``); training alone says them.
        boxes: L1 loss of the box codes.
        scale: negative log-likelihood of the radial error under the predicted Laplace scale.
        denoising: all query losses of the denoising queries.
        heat: focal loss of the 2D heat maps.
        centers: L1 loss of 2D centre offset and log depth.
        depth: cross-entropy of the LiDAR depth bins.
        alignment: focal loss of the language-aligned logits (SemLT3D's L_contrast), on every layer.
        distillation: semantic projection distillation (L_KD).
        balance: load balance of the experts (L_bal).
        balanced: which queries are to be spread over the experts: all ``queries``, most of which are background, or
            those that answer to ``objects`` or are sure of something.
        temperature: of the similarity distributions that are distilled; the paper does not state one. None ties it to
            the CLIP's own scale, on which real ones are ten times as cold as the tiny one.
    """

    TITLE: ClassVar[str] = "loss_weights"
    CHECKS: ClassVar[Checks] = (
        *not_negative("classes", "boxes", "scale", "denoising", "heat", "centers", "depth"),
        *not_negative("alignment", "distillation", "balance", "hierarchy"),
        rule(lambda w: 0 <= w.class_overlap < 1, "class_overlap must be 0 or more and below 1, not {0.class_overlap}"),
        rule(lambda w: w.temperature is None or w.temperature > 0, "temperature must be positive, not {0.temperature}"),
        rule(lambda w: w.balanced in ("queries", "objects"), "balanced is {0.balanced!r}; use queries or objects"),
    )

    classes: float = 2.0
    class_overlap: float = 0.0
    hierarchy: float = 0.0
    boxes: float = 0.75
    scale: float = 0.1
    denoising: float = 1.0
    heat: float = 1.0
    centers: float = 1.0
    depth: float = 0.5
    alignment: float = 0.0
    distillation: float = 0.0
    balance: float = 0.01
    balanced: Literal["queries", "objects"] = "queries"
    temperature: float | None = 0.1

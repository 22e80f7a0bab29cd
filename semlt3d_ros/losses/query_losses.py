"""Losses of queries: their classes and boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from semlt3d_ros.losses.matcher import FOCAL_ALPHA, FOCAL_GAMMA, Matches
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.term import LossTerm, StepView, indices, over_layers
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import encode_boxes

_CODE_WEIGHTS = torch.tensor([1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.05, 0.05])


class ClassLoss(LossTerm):
    """Focal loss of the query classes, per matched object.

    Args:
        weight: how much it counts.
        of_classes: (n,) how much the query of an object of each class counts; None where all count alike.
    """

    of_classes: Tensor | None

    def __init__(self, weight: float, of_classes: Tensor | None = None) -> None:
        super().__init__(weight)
        self.register_buffer("of_classes", of_classes, persistent=False)

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``classes``."""
        return {"classes": over_layers(self._of_layers(view, [layer.logits for layer in view.layers]))}

    def _of_layers(self, view: StepView, logits: list[Tensor]) -> list[Tensor]:
        return [
            self.weight * focal_loss(values, view.targets, matches, counted, self.of_classes) / view.count
            for values, matches, counted in zip(logits, view.matches, view.counted, strict=True)
        ]


class AlignmentLoss(ClassLoss):
    """Focal loss of the language-aligned logits, per matched object (SemLT3D's L_contrast)."""

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``alignment``; nothing without language."""
        aligned = [layer.aligned for layer in view.layers if layer.aligned is not None]
        return {"alignment": over_layers(self._of_layers(view, aligned))} if aligned else {}


class BoxLoss(LossTerm):
    """L1 loss of the box codes, per matched object; numbers that are not known cost nothing."""

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``boxes``."""
        losses = []
        for layer, matches in zip(view.layers, view.matches, strict=True):
            error = code_errors(layer, view.targets, matches)
            losses.append(self.weight * ((error * _CODE_WEIGHTS.to(error.device)).sum() / view.count))
        return {"boxes": over_layers(losses)}


class ScaleLoss(LossTerm):
    """Negative log-likelihood of the radial error under the predicted Laplace scale, per matched object."""

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``scale``."""
        losses = []
        for layer, matches in zip(view.layers, view.matches, strict=True):
            error = code_errors(layer, view.targets, matches)[:, 0].detach()
            frame, query, _ = indices(matches)
            log_scale = layer.log_scale[frame, query].float().clamp(-4.0, 4.0)
            losses.append(self.weight * ((error * (-log_scale).exp() + log_scale).sum() / view.count))
        return {"scale": over_layers(losses)}


def focal_loss(
    logits: Tensor, targets: Targets, matches: Matches, counted: Tensor, of_classes: Tensor | None = None
) -> Tensor:
    """Sum of the focal loss of logits (B, Q, C) over the queries ``counted`` (B, Q).

    A matched one counts as often as ``of_classes`` (C,) says of its object's class.
    """
    frame, query, target = indices(matches)
    kind = targets.classes[frame, target]
    wanted = torch.zeros_like(logits, dtype=torch.float32)
    wanted[frame, query, kind] = 1.0
    each = sigmoid_focal_loss(logits.float(), wanted, FOCAL_ALPHA, FOCAL_GAMMA)
    rows = counted.to(each.dtype)
    if of_classes is not None:
        rows = rows.index_put((frame, query), rows[frame, query] * of_classes[kind])
    return (each * rows[..., None]).sum()


def code_errors(layer: LayerOutput, targets: Targets, matches: Matches) -> Tensor:
    """(M, 10) absolute errors of the box codes of matched queries; 0 where the truth is not known."""
    frame, query, target = indices(matches)
    codes = encode_boxes(targets.boxes[frame, target], layer.references[frame, query])
    error = (layer.codes[frame, query].float() - codes.nan_to_num()).abs()
    return torch.where(codes.isnan(), torch.zeros_like(error), error)

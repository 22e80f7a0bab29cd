"""Coarser classes learnt besides: what is rare alone is not rare as one of its super-class, or as an object.

LT3D's hierarchical loss (Peri et al., CoRL 2022): families of classes, and objects as such, are further outputs of the
same queries. Only training holds them; at run time the classes themselves are what counts.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.losses.matcher import FOCAL_ALPHA, FOCAL_GAMMA
from semlt3d_ros.losses.term import LossTerm, StepView, indices, over_layers
from semlt3d_ros.student.image_head import PRIOR_LOGIT


class HierarchyLoss(LossTerm):
    """Focal loss of a query's families of classes, and of its being an object at all, per matched object.

    Args:
        weight: how much it counts.
        classes: of the student, in the order of its logits; families are its super-classes of two classes or more.
        width: channels of a query.
    """

    above: Tensor

    def __init__(self, weight: float, classes: ClassList, width: int) -> None:
        super().__init__(weight)
        sizes = Counter(info.family for info in classes.classes)
        self.families = tuple(name for name, size in sizes.items() if size > 1)
        member = [[info.family == name for name in self.families] + [True] for info in classes.classes]
        self.register_buffer("above", torch.tensor(member, dtype=torch.float32), persistent=False)
        self.say = nn.Linear(width, len(self.families) + 1)
        nn.init.constant_(self.say.bias, PRIOR_LOGIT)

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """``hierarchy``."""
        losses = []
        for layer, matches, counted in zip(view.layers, view.matches, view.counted, strict=True):
            logits = self.say(layer.embeddings.float())
            frame, query, target = indices(matches)
            wanted = torch.zeros_like(logits)
            wanted[frame, query] = self.above[view.targets.classes[frame, target]]
            each = sigmoid_focal_loss(logits, wanted, FOCAL_ALPHA, FOCAL_GAMMA)
            losses.append(self.weight * (each * counted[..., None]).sum() / view.count)
        return {"hierarchy": over_layers(losses)}

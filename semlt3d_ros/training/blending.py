"""Weights between those that a run began with and those that it has learnt.

What a network learns on from a good start is found again, for the most part, half way there, while what it knew before
is hardly lost: Wortsman et al., Robust fine-tuning of zero-shot models (WiSE-FT), CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint

Weights = dict[str, Tensor]


def weights_of_start(model: nn.Module, start: Path) -> Weights:
    """Copies of the weights that a model has taken over from a checkpoint as they are, statistics included.

    Those of heads that were fitted to other classes are not among them: there is no way half between what has different
    meanings.
    """
    given = read_checkpoint(start).tensors
    own = model.state_dict()
    taken = {}
    for name, tensor in given.items():
        here = own.get(name)
        if here is None or here.shape != tensor.shape or not here.is_floating_point():
            continue
        if torch.equal(here.cpu(), tensor.to(here.dtype).cpu()):
            taken[name] = here.detach().clone()
    return taken


@torch.no_grad()
def blend(model: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Move a model's weights back towards those of its start.

    Args:
        model: what was learnt.
        start: as of ``weights_of_start``.
        share: of the start in each weight; 0 changes nothing, 1 undoes all.
    """
    for name, tensor in model.state_dict().items():
        if name in start:
            tensor.lerp_(start[name].to(tensor.device, tensor.dtype), share)

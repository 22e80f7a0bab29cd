"""Published checkpoints: what importers of all origins share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from semlt3d_ros.core.errors import ConfigurationError


def one_of_shared(tensors: Mapping[str, Tensor], lists: Sequence[str]) -> dict[str, Tensor]:
    """Tensors without the copies of modules that are stored once per layer though all layers share one.

    Args:
        tensors: by name.
        lists: names of the lists of such modules, such as ``cls_branches``.

    Raises:
        ConfigurationError: a copy is not equal to the first one.
    """
    kept: dict[str, Tensor] = {}
    pattern = re.compile(rf"^((?:.*\.)?(?:{'|'.join(lists)})\.)(\d+)(\..*)$")
    for key, tensor in tensors.items():
        match = pattern.match(key)
        if match is None or match[2] == "0":
            kept[key] = tensor
            continue
        first = tensors.get(f"{match[1]}0{match[3]}")
        if first is None or not torch.equal(first, tensor):
            raise ConfigurationError(
                f"'{key}' differs from layer 0's, but all layers of this model share their branches: the checkpoint is "
                "damaged, or of a variant with branches of their own, which is not supported"
            )
    return kept

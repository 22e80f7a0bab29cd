"""In what precision networks compute while they learn."""

from __future__ import annotations

import logging
from functools import cache
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

_log = logging.getLogger(__name__)


def autocast(device: str | torch.device, precision: Precision) -> torch.autocast:
    """A context in which networks compute as a recipe asks.

    bfloat16 is taken where the device has arithmetic for it. A processor without would emulate it, many times slower
    than float32, which is taken there instead; that is logged once.
    """
    kind = torch.device(device).type
    wanted = precision == "bfloat16"
    return torch.autocast(kind, torch.bfloat16, enabled=wanted and _computes_bfloat16(kind))


@cache
def _computes_bfloat16(kind: str) -> bool:
    if kind == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    elif kind == "cpu":
        able = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if torch.backends.mkldnn.is_available() else False
    else:
        able = True
    if not able:
        _log.warning("this %s has no arithmetic for bfloat16; float32 is taken instead", kind)
    return able

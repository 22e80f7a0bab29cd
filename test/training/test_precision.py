"""bfloat16 where there is arithmetic for it; a processor that would emulate it takes float32, and says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from semlt3d_ros.training import precision
from semlt3d_ros.training.precision import autocast


@pytest.mark.parametrize("able", [True, False])
def test_a_processor_that_would_emulate_takes_float32(able: bool, monkeypatch: Any, caplog: Any) -> None:
    precision._computes_bfloat16.cache_clear()
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: able, raising=False)
    layer, values = torch.nn.Linear(4, 4), torch.ones(2, 4)
    for _ in range(2):
        with autocast("cpu", "bfloat16"):
            assert layer(values).dtype == (torch.bfloat16 if able else torch.float32)
    with autocast("cpu", "float32"):
        assert layer(values).dtype == torch.float32
    told = [] if able else ["this cpu has no arithmetic for bfloat16; float32 is taken instead"]
    assert caplog.messages == told
    precision._computes_bfloat16.cache_clear()

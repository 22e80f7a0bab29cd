"""The bytes of a message's ``data`` field, whatever class holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def byte_buffer(data: Any) -> NDArray[np.uint8]:
    """A flat uint8 view of a NumPy array, ``array.array``, bytes or memoryview; nothing is copied."""
    return np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)

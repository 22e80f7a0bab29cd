"""Safetensors files that may be replaced at any moment: what is taken from one is taken from one reading of it."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError

_LENGTH_BYTES = 8


def read_tensor_file(path: Path) -> tuple[bytes, dict[str, str]]:
    """All bytes of a safetensors file, and the metadata in them.

    The file is opened once. ``safetensors.safe_open`` opens it by its name for the header and, for torch, once more for
    the tensors; what is renamed to that name in between would give the header of one file and the tensors of another.

    Returns:
        The content, for ``safetensors.torch.load`` or ``safetensors.numpy.load``, which check the rest of it; and the
        metadata, empty where there are none.

    Raises:
        OSError: the file cannot be read.
        SafetensorError: it has no header.
    """
    content = path.read_bytes()
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    try:
        header = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
        return content, dict(header.get("__metadata__") or {})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SafetensorError(f"it has no whole header: {error}") from error

"""What all checkpoints have in common: safetensors with a JSON header, of a student or of a published family."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from semlt3d_ros.checkpoints.shipped import no_checkpoint
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import write_whole
from semlt3d_ros.core.tensor_file import read_tensor_file

FORMAT = 1
ENTRY = "semlt3d"

M = TypeVar("M", bound=nn.Module)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file in one step.

    Raises:
        ConfigurationError: the place cannot be written, or the disk is full; an earlier file is unchanged.
    """
    # As bytes, since the library's own writing hides what the disk says.
    write_whole(path, save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, metadata))


def read_whole(path: Path) -> tuple[dict[str, str], dict[str, Tensor], str]:
    """Metadata, tensors, and the first ten digits of the SHA-256 of a file, from one reading of it.

    Raises:
        ConfigurationError: the file is absent, or is no safetensors file.
    """
    with explained(path):
        content, metadata = read_tensor_file(path)
        return metadata, load(content), hashlib.sha256(content).hexdigest()[:10]


def filled(model: M, tensors: dict[str, Tensor], path: Path) -> M:
    """A model with the weights of the checkpoint at ``path``, in evaluation mode.

    Raises:
        ConfigurationError: the tensors do not fit.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).strip().splitlines()[:2])
        raise ConfigurationError(f"checkpoint '{path}' does not fit its own config: {reason}") from error
    return model.eval()


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, whose tensors are not read; raises the same as ``read_whole``."""
    with explained(path), safe_open(path, framework="numpy") as file:
        return file.metadata() or {}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say what is the matter with a file that cannot be read."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        raise no_checkpoint(path) from error
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(f"checkpoint '{path}' is not a readable safetensors file ({error})") from error


def header_of(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """The header in a safetensors file's metadata, of any family.

    Raises:
        ConfigurationError: there is none that this version can read.
    """
    try:
        header = json.loads(metadata[ENTRY])
        number, _, _ = header["format"], header["name"], header["config"]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"checkpoint '{path}' has no semlt3d header; it is not a student of this package"
        ) from error
    if number != FORMAT:
        raise ConfigurationError(f"checkpoint '{path}' has format {number}; this version reads format {FORMAT}")
    return dict(header)


def family_of(path: Path) -> str:
    """The published family that a checkpoint is of; ``""`` for a student of this package.

    Raises:
        ConfigurationError: the file is absent, is no safetensors file, or has no header this version can read.
    """
    return str(header_of(path, metadata_of(path)).get("family", ""))

"""Language anchors: made by a CLIP, kept in a file that any program reads with NumPy alone.

The file is safetensors: tensor ``anchors`` (n, d) float32, and a JSON header (metadata entry ``semlt3d_anchors``) with
the format number, the names, the prompts they were made of, and the identity of the CLIP.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.outputs import write_whole
from semlt3d_ros.core.tensor_file import read_tensor_file
from semlt3d_ros.semantics.prompts import DEFAULT_TEMPLATES, prompts_for

FORMAT = 1
_ENTRY = "semlt3d_anchors"
_TENSOR = "anchors"


class TextEncoder(Protocol):
    """What anchors are made with; ``ClipEncoder`` is one."""

    @property
    def identity(self) -> str:
        """Name and hash of the weights."""

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) float32 rows of unit length."""


def make_anchors(
    encoder: TextEncoder,
    names: Sequence[str],
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    cache: Path | None = None,
    words: Mapping[str, str] | None = None,
) -> LanguageAnchors:
    """The anchors of class names: the mean of what their prompts embed to, brought back to unit length.

    Args:
        encoder: the CLIP.
        names: class names, all different.
        templates: sentences with one ``{}`` each.
        words: what to call some of the names in the templates.
        cache: a folder where anchors are kept, found again by names, prompts and the CLIP's identity.

    Raises:
        ConfigurationError: names or templates are not usable, or a prompt is longer than the CLIP reads.
    """
    prompts = prompts_for(names, templates, words)
    texts = tuple(text for group in prompts for text in group)
    kept = None
    if cache is not None:
        key = json.dumps([FORMAT, encoder.identity, list(names), texts]).encode()
        kept = cache / f"anchors-{hashlib.sha256(key).hexdigest()[:16]}.safetensors"
        if kept.is_file():
            try:
                return load_anchors(kept)
            except ConfigurationError:
                pass  # damaged; it is made and written anew
    once = {text: number for number, text in enumerate(dict.fromkeys(texts))}  # the same words are the same anchor
    rows = encoder.encode_text(tuple(once))[[once[text] for text in texts]]
    rows = rows.reshape(len(prompts), len(templates), -1).mean(axis=1)
    anchors = LanguageAnchors(tuple(names), rows, texts, encoder.identity)
    if kept is not None:
        save_anchors(kept, anchors)
    return anchors


def save_anchors(path: Path, anchors: LanguageAnchors) -> None:
    """Write anchors atomically: a reader sees the old file or the whole new one."""
    header = {
        "format": FORMAT,
        "names": list(anchors.names),
        "prompts": list(anchors.prompts),
        "source": anchors.source,
    }
    write_whole(path, save({_TENSOR: np.ascontiguousarray(anchors.embeddings)}, {_ENTRY: json.dumps(header)}))


def load_anchors(path: Path) -> LanguageAnchors:
    """Anchors from a file that ``save_anchors`` wrote. Needs neither torch nor open_clip.

    Raises:
        ConfigurationError: the file is absent, damaged, of another kind, or holds anchors that are not usable.
    """
    if not path.is_file():
        raise ConfigurationError(f"language anchors '{path}' do not exist; make them with 'semlt3d anchors NAME ...'")
    try:
        content, metadata = read_tensor_file(path)
        rows = load(content)[_TENSOR]
        header = json.loads(metadata[_ENTRY])
        number, source = header["format"], str(header["source"])
        names, prompts = (tuple(map(str, header[key])) for key in ("names", "prompts"))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"'{path}' is not a readable file of language anchors ({error}); make it again with 'semlt3d anchors'"
        ) from error
    if number != FORMAT:
        raise ConfigurationError(f"language anchors '{path}' have format {number}; this version reads format {FORMAT}")
    try:
        return LanguageAnchors(names, rows, prompts, source)
    except ConfigurationError as error:
        raise ConfigurationError(f"'{path}': {error}") from error

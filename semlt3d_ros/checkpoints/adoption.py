"""What a student takes over from a checkpoint that it learns on from, also where the checkpoint knows other classes.

Tensors go by name and shape. Where an axis of a tensor runs over the classes, it goes by the names of the classes: one
that the checkpoint knows is taken over wherever it stands, one that it does not know begins as what is like it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.checkpoints.checkpoint import Checkpoint, read_checkpoint
from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.taxonomy import class_list_of
from semlt3d_ros.student.decoder import DecoderLayer
from semlt3d_ros.student.experts import Experts
from semlt3d_ros.student.image_head import ImageHead
from semlt3d_ros.student.student import Student

_ANCHORS = "decoder.language_anchors"
_TEMPERATURE = 0.01
"""Of the softmax by which language says what a new class is like: that of the published CLIPs."""
_LEAST_SHARE = 0.05
"""Of a known class in the beginning of a new one, to be named."""


@dataclass(frozen=True)
class Adoption:
    """What came of it.

    Attributes:
        fresh: names of the student's tensors that begin afresh.
        known: classes that the checkpoint knows too.
        begun: by class that it does not know, what the class begins as, for people.
        dropped: classes that only the checkpoint knows.
    """

    fresh: tuple[str, ...]
    known: tuple[str, ...]
    begun: Mapping[str, str]
    dropped: tuple[str, ...]


def class_axes(student: Student) -> dict[str, int]:
    """The axis that runs over the classes, by name of the tensor; tensors without one are left out."""
    axes: dict[str, int] = {}
    for prefix, module in student.named_modules():
        if isinstance(module, ImageHead):
            axes |= {f"{prefix}.heat.weight": 0, f"{prefix}.heat.bias": 0}
        elif isinstance(module, DecoderLayer):
            last = f"{prefix}.classify.{len(module.classify) - 1}"
            axes |= {f"{last}.weight": 0, f"{last}.bias": 0}
        elif isinstance(module, Experts) and module.by_language:
            axes |= {f"{prefix}.router.0.weight": 0, f"{prefix}.router.0.bias": 0}
            axes[f"{prefix}.router.1.weight"] = 1
    return axes


def adopt(
    student: Student,
    path: Path,
    parts: Sequence[str] = (),
    anchors: LanguageAnchors | None = None,
    classes: ClassList | None = None,
) -> Adoption:
    """Take over the tensors of a checkpoint.

    A class that the checkpoint does not know begins as the mixture of known ones that language makes of its anchor,
    where the checkpoint and ``anchors`` are of the same CLIP; else as the mean of the known classes of its super-class;
    else afresh, as background.

    Args:
        student: takes them over.
        path: the checkpoint.
        parts: beginnings of tensor names; nothing given takes everything.
        anchors: of the student's classes; None for a student without language.
        classes: the student's, for their super-classes; None takes what is known by their names.

    Raises:
        ConfigurationError: the checkpoint cannot be read, or nothing of it fits.
    """
    checkpoint, own = read_checkpoint(path), student.state_dict()
    old, new = checkpoint.config.class_names, student.config.class_names
    mixture, begun = _beginnings(checkpoint, classes or class_list_of(new), anchors)
    axes = {} if old == new else class_axes(student)
    fitting = {}
    for key, value in checkpoint.tensors.items():
        if key not in own or not key.startswith(tuple(parts) or ""):
            continue
        if key == _ANCHORS and old != new:
            continue  # other names have other anchors, which are not learnt but made
        fits = _by_class(value, own[key], mixture, axes[key]) if key in axes else value
        if fits.shape == own[key].shape:
            fitting[key] = fits
    if not fitting:
        raise ConfigurationError(f"checkpoint '{path}': none of its tensors fits this student; start from another one")
    student.load_state_dict(fitting, strict=False)
    return Adoption(
        tuple(sorted(set(own) - set(fitting))),
        tuple(name for name in new if name in old),
        begun,
        tuple(name for name in old if name not in new),
    )


def _by_class(value: Tensor, own: Tensor, mixture: Tensor, axis: int) -> Tensor:
    """A tensor for the student's classes, those of them that are like nothing known as in its own one.

    A tensor whose other axes do not fit comes back as it is.
    """
    rows, fresh = value.movedim(axis, 0), own.movedim(axis, 0)
    if rows.shape[1:] != fresh.shape[1:]:
        return value
    mixed = (mixture.to(rows) @ rows.flatten(1)).reshape(fresh.shape) if rows.dim() > 1 else mixture.to(rows) @ rows
    like = mixture.any(1).reshape(-1, *[1] * (rows.dim() - 1))
    return torch.where(like, mixed, fresh).movedim(0, axis)


def _beginnings(
    checkpoint: Checkpoint,
    classes: ClassList,
    anchors: LanguageAnchors | None,
) -> tuple[Tensor, dict[str, str]]:
    """(new, old) shares of the checkpoint's classes in each of the student's, and what the new ones begin as."""
    old, names = checkpoint.config.class_names, classes.names
    similar = _by_language(checkpoint, names, anchors)
    mixture, begun = torch.zeros(len(names), len(old)), {}
    for row, (name, family) in enumerate((info.name, info.family) for info in classes.classes):
        relatives = [other.name for other in checkpoint.classes.classes if other.family == family]
        if name in old:
            mixture[row, old.index(name)] = 1.0
        elif similar is not None:
            mixture[row] = similar[row]
            order = similar[row].argsort(descending=True).tolist()
            named = [f"{old[c]} {similar[row, c]:.0%}" for c in order if similar[row, c] >= _LEAST_SHARE]
            begun[name] = f"what language finds it like: {', '.join(named)}"
        elif relatives:
            mixture[row, [old.index(other) for other in relatives]] = 1.0 / len(relatives)
            begun[name] = f"the mean of its super-class '{family}': {', '.join(relatives)}"
        else:
            begun[name] = "background"
    return mixture, begun


def _by_language(checkpoint: Checkpoint, names: Sequence[str], anchors: LanguageAnchors | None) -> Tensor | None:
    """(new, old) how much each class is like each of the checkpoint's; None where they cannot be compared."""
    known = checkpoint.tensors.get(_ANCHORS)
    if anchors is None or known is None or known.shape[-1] != anchors.dimension:
        return None
    if anchors.source and checkpoint.language_source and anchors.source != checkpoint.language_source:
        return None
    rows = torch.from_numpy(anchors.embeddings)[[anchors.names.index(name) for name in names]]
    return (F.normalize(rows, dim=-1) @ F.normalize(known.float(), dim=-1).T / _TEMPERATURE).softmax(-1)

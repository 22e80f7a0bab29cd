"""Published weights become checkpoints of this package: reading their files, and which importer knows them.

Files are read by ``torch.load(weights_only=True)``, which builds tensors and plain containers and calls nothing else.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from semlt3d_ros.core.classes import ClassList, load_class_list
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.published.model import PublishedModel
from semlt3d_ros.teacher.teacher import Teacher

ORIGINS = ("import_streampetr", "import_far3d", "import_centerpoint")
"""Modules here that know the checkpoints of one origin, in the order in which they are asked."""
_COUNTERS = ("n_averaged", "steps")
_WRAPPERS = ("state_dict", "model_state", "model", "ema_state_dict", "state_dict_ema", "module")
_PREFIXES = ("module.", "model.", "ema.")
_MOST_KEYS_SHOWN = 6


@dataclass(frozen=True)
class Choices:
    """What a file of weights does not say; None takes what was published with the model.

    Attributes:
        image_size: width and height of the images in pixels.
        T_ego_model: x, y, z in metres, roll, pitch, yaw in degrees.
        classes: in the order of the logits.
        channels: in which the images were fed, ``rgb`` or ``bgr``.
        memory_interval_s: least time between frames that are remembered, in seconds.
    """

    image_size: tuple[int, int] | None = None
    T_ego_model: tuple[float, float, float, float, float, float] | None = None
    classes: ClassList | None = None
    channels: str | None = None
    memory_interval_s: float = 0.0


@dataclass(frozen=True)
class Imported:
    """A model with the weights of a file.

    Attributes:
        model: in evaluation mode.
        classes: in the order of its logits.
        name: which published model it is.
        found: what the file says, by name.
        assumed: what it does not say, by name.
        used: tensors that were taken over.
        dropped: numbers of tensors that were not, by what they are.
    """

    model: PublishedModel
    classes: ClassList
    name: str
    found: dict[str, str]
    assumed: dict[str, str]
    used: int
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportedTeacher:
    """A LiDAR teacher with the weights of a file; attributes as of ``Imported``."""

    teacher: Teacher
    classes: ClassList
    name: str
    found: dict[str, str]
    assumed: dict[str, str]
    used: int
    dropped: dict[str, int] = field(default_factory=dict)


class Origin(Protocol):
    """What ``import_ORIGIN.py`` has."""

    def knows(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether these are the tensors of one of its models, by their names."""

    def convert(self, tensors: Mapping[str, Tensor], choices: Choices) -> Imported | ImportedTeacher:
        """The model; raises ``ConfigurationError`` where tensors are missing or do not fit."""


def import_weights(path: Path, choices: Choices) -> Imported | ImportedTeacher:
    """A model of this package with the weights of a published file.

    Raises:
        ConfigurationError: the file cannot be read, holds more than tensors, or is of no model that is known.
    """
    tensors = read_weights(path)
    for name in ORIGINS:
        origin: Origin = import_module(f"semlt3d_ros.checkpoints.{name}")  # type: ignore[assignment]
        if origin.knows(tensors):
            try:
                return origin.convert(tensors, choices)
            except ConfigurationError as error:
                raise ConfigurationError(f"'{path}': {error}") from error
    beginnings = list(dict.fromkeys(".".join(key.split(".")[:2]) for key in tensors))
    shown = ", ".join(beginnings[:_MOST_KEYS_SHOWN]) + (", ..." if len(beginnings) > _MOST_KEYS_SHOWN else "")
    raise ConfigurationError(
        f"'{path}' is of no model that is known here; it has {len(tensors)} tensors, whose names begin with {shown}"
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch checkpoint by name, without what wraps them; those of an average are taken where given.

    Raises:
        ConfigurationError: the file cannot be read, would run code if it were, or holds no tensors by name.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
    except FileNotFoundError as error:
        raise ConfigurationError(f"'{path}' does not exist; docs/weights.md says what to download") from error
    except pickle.UnpicklingError as error:
        raise ConfigurationError(
            f"'{path}' is refused, since reading it would run code that comes with it, or it is no PyTorch file at all "
            f"({_first_line(error)}); save its tensors alone, or get the file from its authors"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"'{path}' cannot be read as a PyTorch checkpoint ({_first_line(error)}); it may be cut off: download it "
            "again"
        ) from error
    return _without_prefix(_tensors_of(path, content))


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


def take_over(model: PublishedModel, tensors: Mapping[str, Tensor]) -> PublishedModel:
    """Give a model all its tensors, in single precision.

    Raises:
        ConfigurationError: some are missing, left over, or of another shape.
    """
    own = model.state_dict()
    missing = sorted(set(own) - set(tensors) - {key for key in own if key.endswith("num_batches_tracked")})
    unknown = sorted(set(tensors) - set(own))
    unfit = sorted(key for key in set(own) & set(tensors) if own[key].shape != tensors[key].shape)
    for keys, what in ((missing, "lacks"), (unknown, "has, besides what is known,"), (unfit, "has of another shape")):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ConfigurationError(f"it looks like a {model.family}, but {what} {', '.join(keys[:3])}{more}")
    strange = sorted(key for key in tensors if not torch.isfinite(tensors[key]).all())
    if strange:
        raise ConfigurationError(f"'{strange[0]}' holds numbers that are not finite; the file is damaged")
    model.load_state_dict({key: tensor.to(own[key].dtype) for key, tensor in tensors.items()}, strict=False)
    return model.eval()


def need(tensors: Mapping[str, Tensor], key: str, shape: tuple[int | None, ...]) -> Tensor:
    """A tensor of a shape, in which None stands for any number.

    Raises:
        ConfigurationError: it is missing, or has another shape.
    """
    if key not in tensors:
        raise ConfigurationError(f"it lacks '{key}'")
    found = tuple(tensors[key].shape)
    if len(found) != len(shape) or any(wanted not in (None, size) for size, wanted in zip(found, shape, strict=True)):
        wanted_text = " x ".join("any" if size is None else str(size) for size in shape)
        raise ConfigurationError(f"'{key}' has the shape {list(found)}, not {wanted_text}")
    return tensors[key]


def chosen_classes(choices: Choices, published: str, count: int) -> ClassList:
    """The classes of ``count`` logits: those that were chosen, or the list the model was published with.

    Raises:
        ConfigurationError: there are more or fewer of them.
    """
    classes = choices.classes or load_class_list(published)
    if len(classes) != count:
        raise ConfigurationError(
            f"it tells {count} classes apart, but list '{classes.name}' has {len(classes)}; name those it was trained "
            "for with --classes"
        )
    return classes


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def layers_in(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered parts there are behind ``prefix``."""
    return len({key.removeprefix(prefix).split(".")[0] for key in tensors if key.startswith(prefix)})


def _tensors_of(path: Path, content: Any) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            return _tensors_of(path, content[wrapper])
    entries = content if isinstance(content, Mapping) else {}
    tensors = {str(key): value for key, value in entries.items() if isinstance(value, Tensor) and key not in _COUNTERS}
    if not tensors:
        names = ", ".join(list(map(str, entries))[:_MOST_KEYS_SHOWN])
        raise ConfigurationError(
            f"'{path}' holds no tensors by name{f', but {names}' if names else ''}; a checkpoint's state_dict is wanted"
        )
    return tensors


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by their names in the network; a second set beside it is left out.

    mmcv's training keeps one as ``ema_...``: when it saves, the average is under the network's names.
    """
    others = {key: tensor for key, tensor in tensors.items() if not key.startswith("ema_")}
    if others and len(others) < len(tensors):
        return _without_prefix(others)
    for prefix in _PREFIXES:
        found = part(tensors, prefix)
        if found and len(found) == len(tensors):
            return _without_prefix(found)
    return tensors


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__

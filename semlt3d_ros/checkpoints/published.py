"""Checkpoints with the weights of published detectors: the same safetensors files, with the family in the header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from semlt3d_ros.checkpoints.file import ENTRY, FORMAT, filled, header_of, read_whole, write_tensors
from semlt3d_ros.checkpoints.shipped import TEACHER_FAMILY
from semlt3d_ros.core.classes import ClassList, class_list_from_json
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.published.config import PublishedConfig
from semlt3d_ros.student.published.families import CONFIGS, MODELS
from semlt3d_ros.student.published.model import PublishedModel


@dataclass(frozen=True)
class PublishedCheckpoint:
    """Everything in such a checkpoint, from one reading of the file.

    Attributes:
        path: where it was, for messages.
        header: what ``save_published`` wrote.
        config: the model's shape.
        classes: in the order of its logits.
        tensors: its weights by name.
        version: ``"<name>@<first ten digits of the file's SHA-256>"``.
    """

    path: Path
    header: dict[str, Any]
    config: PublishedConfig
    classes: ClassList
    tensors: dict[str, Tensor]
    version: str

    @property
    def family(self) -> str:
        """Which model it is of."""
        return str(self.header["family"])

    def model(self) -> PublishedModel:
        """The network with its weights, in evaluation mode, on the CPU.

        Raises:
            ConfigurationError: the tensors do not fit the config.
        """
        return filled(MODELS[self.family](self.config), self.tensors, self.path)


def save_published(
    path: Path, model: PublishedModel, classes: ClassList, name: str, provenance: dict[str, Any]
) -> None:
    """Write a published model's weights and header atomically.

    Args:
        path: the file.
        model: its weights and config.
        classes: in the order of its logits.
        name: goes into the model version.
        provenance: where the weights are from.

    Raises:
        ConfigurationError: the place cannot be written, or the disk is full; an earlier file is unchanged.
    """
    header = {
        "format": FORMAT,
        "name": name,
        "family": model.family,
        "config": model.config.to_dict(),
        "classes": classes.to_json(),
        "provenance": provenance,
    }
    write_tensors(path, model.state_dict(), {ENTRY: json.dumps(header)})


def read_published(path: Path) -> PublishedCheckpoint:
    """Read a checkpoint of a published detector, once and as a whole.

    Raises:
        ConfigurationError: the file is absent, is no such checkpoint, or is of a family that this version lacks.
    """
    metadata, tensors, digest = read_whole(path)
    header = header_of(path, metadata)
    family = header.get("family", "")
    if family not in CONFIGS:
        raise ConfigurationError(
            f"checkpoint '{path}' is of family '{family}'; this version knows {', '.join(CONFIGS)}"
            + ("; a LiDAR teacher is for semlt3d label --teacher, and for recipes" if family == TEACHER_FAMILY else "")
        )
    config = parse(CONFIGS[family], header["config"], f"checkpoint '{path}': config")
    classes = class_list_from_json(header.get("classes"), f"checkpoint '{path}': classes")
    if classes.names != config.class_names:
        raise ConfigurationError(f"checkpoint '{path}': its class list and its config name other classes")
    return PublishedCheckpoint(path, header, config, classes, tensors, f"{header['name']}@{digest}")

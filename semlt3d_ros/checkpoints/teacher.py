"""Checkpoints of LiDAR teachers: safetensors with a JSON header, as those of students."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semlt3d_ros.checkpoints.file import ENTRY, FORMAT, filled, header_of, read_whole, write_tensors
from semlt3d_ros.checkpoints.shipped import TEACHER_FAMILY
from semlt3d_ros.core.classes import ClassList, class_list_from_json
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import class_list_of
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import Teacher


def save_teacher(
    path: Path, teacher: Teacher, name: str, provenance: dict[str, Any], classes: ClassList | None = None
) -> None:
    """Write a teacher's weights and header atomically: a reader sees the old file or the whole new one.

    Args:
        path: the file.
        teacher: its weights and config.
        name: goes into the model version.
        provenance: where the weights are from.
        classes: the teacher's; what is known by their names unless given.

    Raises:
        ConfigurationError: the place cannot be written, or the disk is full; an earlier file is unchanged.
        ValueError: the classes are not the teacher's.
    """
    names = teacher.config.class_names
    classes = classes or class_list_of(names)
    if classes.names != names:
        raise ValueError(f"the teacher's classes are {', '.join(names)}, not {', '.join(classes.names)}")
    header = {
        "format": FORMAT,
        "family": TEACHER_FAMILY,
        "name": name,
        "config": teacher.config.to_dict(),
        "provenance": provenance,
        "classes": classes.to_json(),
    }
    write_tensors(path, teacher.state_dict(), {ENTRY: json.dumps(header)})


@dataclass(frozen=True)
class TeacherCheckpoint:
    """Everything in a teacher's checkpoint, from one reading of the file.

    Attributes:
        path: where it was, for messages.
        header: format, name, config, provenance and classes.
        config: of the teacher.
        classes: of the teacher, in the order of its config.
        tensors: its weights by name.
        version: ``"<name>@<first ten digits of the file's SHA-256>"``.
    """

    path: Path
    header: dict[str, Any]
    config: TeacherConfig
    classes: ClassList
    tensors: dict[str, Tensor]
    version: str

    def teacher(self, device: torch.device | str = "cpu") -> Teacher:
        """A teacher with its weights, in evaluation mode.

        Raises:
            ConfigurationError: its tensors do not fit its config.
        """
        return filled(Teacher(self.config), self.tensors, self.path).to(device)


def read_teacher(path: Path) -> TeacherCheckpoint:
    """Read a teacher's checkpoint, once and as a whole.

    Raises:
        ConfigurationError: the file is absent, is no safetensors file, or is of no teacher that this version can read.
    """
    metadata, tensors, digest = read_whole(path)
    header = header_of(path, metadata)
    if header.get("family") != TEACHER_FAMILY:
        raise ConfigurationError(
            f"checkpoint '{path}' is of a camera detector, not of a LiDAR teacher; give a teacher's"
        )
    try:
        config = parse(TeacherConfig, header["config"], "config")
        classes = class_list_from_json(header.get("classes"), "classes")
    except ConfigurationError as error:
        raise ConfigurationError(f"checkpoint '{path}': {error}") from error
    if classes.names != config.class_names:
        raise ConfigurationError(f"checkpoint '{path}': its class list and its config name other classes")
    return TeacherCheckpoint(path, header, config, classes, tensors, f"{header['name']}@{digest}")

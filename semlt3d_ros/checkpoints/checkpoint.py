"""Checkpoints: safetensors with a JSON header. Nothing is unpickled.

The header (metadata entry ``semlt3d``) holds the format number, a name, the student's config with the names of its
classes in the order of its logits, what else there is to know of them (``core.classes``), the provenance of the
weights, where its language anchors are from (the anchors themselves are among the tensors), and the calibration of its
confidences.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semlt3d_ros.checkpoints.file import ENTRY, FORMAT, filled, header_of, metadata_of, read_whole, write_tensors
from semlt3d_ros.checkpoints.shipped import TEACHER_FAMILY
from semlt3d_ros.core.classes import ClassList, class_list_from_json
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import class_list_of
from semlt3d_ros.student.confidence_calibration import Calibration
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student


def save_checkpoint(
    path: Path,
    student: Student,
    name: str,
    provenance: dict[str, Any],
    language: dict[str, Any] | None = None,
    calibration: Calibration | None = None,
    classes: ClassList | None = None,
) -> None:
    """Write a student's weights and header atomically: a reader sees the old file or the whole new one.

    Args:
        path: the file.
        student: its weights and config.
        name: goes into the model version.
        provenance: where the weights are from.
        language: for a student with language anchors, the ``source`` and the ``prompts`` they are from.
        calibration: of the confidences; without one they are given out as they are.
        classes: the student's; what is known by their names unless given.

    Raises:
        ConfigurationError: the place cannot be written, or the disk is full; an earlier file is unchanged.
        ValueError: the classes are not the student's.
    """
    names = student.config.class_names
    classes = classes or class_list_of(names)
    if classes.names != names:
        raise ValueError(f"the student's classes are {', '.join(names)}, not {', '.join(classes.names)}")
    header = {"format": FORMAT, "name": name, "config": student.config.to_dict(), "provenance": provenance}
    header["classes"] = classes.to_json()
    if language is not None:
        header["language"] = language
    if calibration is not None:
        header["calibration"] = calibration.to_json()
    write_tensors(path, student.state_dict(), {ENTRY: json.dumps(header)})


@dataclass(frozen=True)
class Checkpoint:
    """Everything in a checkpoint, from one reading of the file: a promotion in the meantime changes nothing of it.

    Attributes:
        path: where it was, for messages.
        header: format, name, config, provenance and what else ``save_checkpoint`` wrote.
        config: of the student.
        classes: of the student, in the order of its logits.
        tensors: its weights and language anchors, by name.
        version: ``"<name>@<first ten digits of the file's SHA-256>"``.
    """

    path: Path
    header: dict[str, Any]
    config: StudentConfig
    classes: ClassList
    tensors: dict[str, Tensor]
    version: str

    @property
    def name(self) -> str:
        """The first half of the version."""
        return str(self.header["name"])

    @property
    def language_source(self) -> str:
        """Identity of the CLIP that the language anchors are from; ``""`` where unknown."""
        return str((self.header.get("language") or {}).get("source", ""))

    def calibration(self) -> Calibration | None:
        """The calibration of its confidences, None where there is none.

        Raises:
            ConfigurationError: there is one that cannot be used.
        """
        values = self.header.get("calibration")
        try:
            return None if values is None else Calibration.from_json(values, len(self.config.class_names))
        except ConfigurationError as error:
            raise ConfigurationError(f"checkpoint '{self.path}': {error}") from error

    def student(self, device: torch.device | str = "cpu") -> Student:
        """A student with its weights, in evaluation mode.

        Raises:
            ConfigurationError: its tensors do not fit its config.
        """
        return filled(Student(self.config), self.tensors, self.path).to(device)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, once and as a whole.

    Raises:
        ConfigurationError: the file is absent, is no safetensors file, or has no header this version can read.
    """
    metadata, tensors, digest = read_whole(path)
    header, config = _header_of(path, metadata)
    return Checkpoint(path, header, config, _classes_of(path, header, config), tensors, f"{header['name']}@{digest}")


def load_student(path: Path, device: torch.device | str = "cpu") -> tuple[Student, str]:
    """A student in evaluation mode and its model version; raises the same as reading and making it."""
    checkpoint = read_checkpoint(path)
    return checkpoint.student(device), checkpoint.version


def read_config(path: Path) -> StudentConfig:
    """The student's config in a checkpoint, whose tensors are not read; raises the same as ``read_checkpoint``."""
    return _header_of(path, metadata_of(path))[1]


def read_classes(path: Path) -> ClassList:
    """The classes of a checkpoint, whose tensors are not read; raises the same as ``read_checkpoint``."""
    return _classes_of(path, *_header_of(path, metadata_of(path)))


def read_header(path: Path) -> dict[str, Any]:
    """A checkpoint's header, without the rest of the file; raises the same as ``read_checkpoint``."""
    return _header_of(path, metadata_of(path))[0]


def _header_of(path: Path, metadata: dict[str, str]) -> tuple[dict[str, Any], StudentConfig]:
    header = header_of(path, metadata)
    if header.get("family") == TEACHER_FAMILY:
        raise ConfigurationError(
            f"checkpoint '{path}' is of a LiDAR teacher, not of a camera student; it is for semlt3d label --teacher, "
            "for a recipe's distillation, and for recipes of teachers"
        )
    if header.get("family"):
        raise ConfigurationError(
            f"checkpoint '{path}' is a published {header['family']}: it can be run, evaluated and exported, but not "
            "be trained; use one of this package's own students here"
        )
    try:
        return header, replace(StudentConfig.from_dict(header["config"]), pretrained=False)
    except ConfigurationError as error:
        raise ConfigurationError(f"checkpoint '{path}': {error}") from error


def _classes_of(path: Path, header: dict[str, Any], config: StudentConfig) -> ClassList:
    """What the header says of the classes; of a checkpoint that is older, what is known by their names."""
    try:
        if "classes" not in header:
            return class_list_of(config.class_names)
        classes = class_list_from_json(header["classes"], "classes")
    except ConfigurationError as error:
        raise ConfigurationError(f"checkpoint '{path}': {error}") from error
    if classes.names != config.class_names:
        raise ConfigurationError(
            f"checkpoint '{path}': its classes are {', '.join(classes.names)}, but the logits of its config are "
            f"{', '.join(config.class_names)}"
        )
    return classes

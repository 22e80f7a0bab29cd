"""Checkpoints: safetensors with a JSON header. Nothing is unpickled.

The header (metadata entry ``semlt3d``) holds the format number, a name, the student's config with its class names, the
provenance of the weights, where its language anchors are from (the anchors themselves are among the tensors), and the
calibration of its confidences.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.student.calibration import Calibration
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student

FORMAT = 1
_ENTRY = "semlt3d"


def save_checkpoint(
    path: Path,
    student: Student,
    name: str,
    provenance: dict[str, Any],
    language: dict[str, Any] | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Write a student's weights and header atomically: a reader sees the old file or the whole new one.

    Args:
        path: the file.
        student: its weights and config.
        name: goes into the model version.
        provenance: where the weights are from.
        language: for a student with language anchors, the ``source`` and the ``prompts`` they are from.
        calibration: of the confidences; without one they are given out as they are.
    """
    header = {"format": FORMAT, "name": name, "config": student.config.to_dict(), "provenance": provenance}
    if language is not None:
        header["language"] = language
    if calibration is not None:
        header["calibration"] = calibration.to_json()
    write_tensors(path, student.state_dict(), {_ENTRY: json.dumps(header)})


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file under a temporary name, flush it to disk, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary, metadata)
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_header(path: Path) -> dict[str, Any]:
    """A checkpoint's header.

    Raises:
        ConfigurationError: the file is absent, is no safetensors file, or has no header this version can read.
    """
    if not path.is_file():
        raise ConfigurationError(f"checkpoint '{path}' does not exist; train one with 'semlt3d train RECIPE'")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(f"checkpoint '{path}' is not a readable safetensors file ({error})") from error
    try:
        header = json.loads(metadata[_ENTRY])
        number = header["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"checkpoint '{path}' has no semlt3d header; it is not a student of this package"
        ) from error
    if number != FORMAT:
        raise ConfigurationError(f"checkpoint '{path}' has format {number}; this version reads format {FORMAT}")
    return header


def calibration_of(header: dict[str, Any]) -> Calibration | None:
    """The calibration in a checkpoint's header, None where there is none.

    Raises:
        ConfigurationError: there is one that cannot be used.
    """
    values = header.get("calibration")
    return None if values is None else Calibration.from_json(values, len(header["config"]["class_names"]))


def adopt(student: Student, path: Path, parts: Sequence[str] = ()) -> list[str]:
    """Take over the tensors of a checkpoint that fit by name and shape; returns the names of the student's other ones.

    ``parts`` are beginnings of tensor names; nothing given takes everything.

    Raises:
        ConfigurationError: the checkpoint cannot be read, or nothing of it fits.
    """
    read_header(path)
    own = student.state_dict()
    with safe_open(path, framework="pt") as file:
        names = [key for key in file.keys() if key in own and key.startswith(tuple(parts) or "")]  # noqa: SIM118
        fitting = {
            key: file.get_tensor(key) for key in names if tuple(file.get_slice(key).get_shape()) == own[key].shape
        }
    if not fitting:
        raise ConfigurationError(f"checkpoint '{path}': none of its tensors fits this student; start from another one")
    student.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


def load_student(path: Path, device: torch.device | str = "cpu") -> tuple[Student, str]:
    """A student in evaluation mode and its model version, ``"<name>@<first ten digits of the file's SHA-256>"``.

    Raises:
        ConfigurationError: the file cannot be read, names other classes than this package's, or its tensors do not fit
            its config.
    """
    header = read_header(path)
    config = StudentConfig.from_dict({**header["config"], "pretrained": False})
    if config.class_names != CLASS_NAMES:
        unknown = sorted(set(config.class_names) - set(CLASS_NAMES))
        missing = sorted(set(CLASS_NAMES) - set(config.class_names))
        raise ConfigurationError(
            f"checkpoint '{path}' was made for other classes "
            f"(unknown: {unknown or 'none'}; missing: {missing or 'none'}; "
            f"order equal: {not unknown and not missing}); use one trained for: {', '.join(CLASS_NAMES)}"
        )
    student = Student(config)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    try:
        student.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()
        raise ConfigurationError(f"checkpoint '{path}' does not fit its own config: {' '.join(reason[:2])}") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return student.eval().to(device), f"{header['name']}@{digest[:10]}"

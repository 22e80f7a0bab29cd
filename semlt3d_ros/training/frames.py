"""The frames of a recipe's sources, for its student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.taxonomy import class_list_of
from semlt3d_ros.datasets.opening import Frames, Progress, tell_nobody
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.student.config import StudentConfig


def image_spec_of(student: StudentConfig) -> ImageSpec:
    """The images that a student takes."""
    return ImageSpec(student.image_width, student.image_height, student.top_crop)


def open_frames(
    specs: Sequence[DataSpec],
    folder: Path,
    student: StudentConfig,
    here: bool = True,
    progress: Progress = tell_nobody,
) -> Frames:
    """The frames of sources, prepared and labelled for a student; arguments and errors as of ``Frames``."""
    return Frames(specs, folder, image_spec_of(student), class_list_of(student.class_names), here, progress)

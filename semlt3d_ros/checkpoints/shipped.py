"""The checkpoint that comes with the package; for those who only need to know where it is, without torch."""

from __future__ import annotations

from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError

SHIPPED = "shipped"
"""In recipes, in place of the path of a checkpoint: the one that comes with the package."""


TEACHER_FAMILY = "teacher"
"""What the header of a LiDAR teacher's checkpoint says it is."""


def default_checkpoint() -> Path:
    """The checkpoint that comes with the package: trained on the simulated world only."""
    return Path(__file__).resolve().parent.parent / "weights" / "demo.safetensors"


def shipped_teacher() -> Path:
    """The LiDAR teacher that comes with the package: trained on the simulated world only."""
    return Path(__file__).resolve().parent.parent / "weights" / "teacher.safetensors"


def chosen_teacher(path: Path) -> Path:
    """The teacher that a recipe names."""
    return shipped_teacher() if str(path) == SHIPPED else path


def chosen_student(path: Path | None) -> Path | None:
    """The student that a recipe names, if it names one."""
    return default_checkpoint() if path is not None and str(path) == SHIPPED else path


def no_checkpoint(path: Path) -> ConfigurationError:
    """The error of a checkpoint that is not there."""
    return ConfigurationError(f"checkpoint '{path}' does not exist; train one with 'semlt3d train RECIPE'")


def chosen_checkpoint(path: Path | None) -> Path:
    """The checkpoint that was named, or the one that comes with the package.

    Raises:
        ConfigurationError: it is not there.
    """
    chosen = path or default_checkpoint()
    if not chosen.is_file():
        raise no_checkpoint(chosen)
    return chosen

"""The detector of a checkpoint, whatever it is of."""

from __future__ import annotations

from pathlib import Path

from semlt3d_ros.checkpoints.checkpoint import read_config
from semlt3d_ros.checkpoints.file import family_of
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.inference.published import PublishedDetector


def load_detector(path: Path, device: str = "cpu") -> FrameDetector:
    """A student of this package, or a published model, that looks at images of cameras.

    Raises:
        ConfigurationError: the checkpoint cannot be used or looks at something else, or the device is not there.
    """
    if family_of(path):
        return PublishedDetector.load(path, device)
    if read_config(path).input == "depth":
        raise ConfigurationError(
            f"checkpoint '{path}' looks at depth that a LiDAR has measured, not at images of cameras: it teaches "
            "students (distillation.monostl in recipes); give a student's checkpoint here"
        )
    return Detector.load(path, device)

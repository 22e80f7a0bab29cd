"""The detector of a checkpoint, whatever it is of."""

from __future__ import annotations

from pathlib import Path

from semlt3d_ros.checkpoints.file import family_of
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.published import PublishedDetector


def load_detector(path: Path, device: str = "cpu") -> Detector | PublishedDetector:
    """A student of this package, or a published model.

    Raises:
        ConfigurationError: the checkpoint cannot be used, or the device is not there.
    """
    return PublishedDetector.load(path, device) if family_of(path) else Detector.load(path, device)

"""Which checkpoint a node runs, and how the next one takes its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from semlt3d_ros.adaptation.models import CURRENT
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import CameraView, Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.semantics.anchors import load_anchors

OpenDetector = Callable[[Path | None, str], FrameDetector]
"""Loads the checkpoint at a path (None: the one that comes with the package) to a device."""


def checkpoint_path(parameters: DetectorParameters) -> Path | None:
    """The checkpoint that the parameters name; None for the one that comes with the package.

    Raises:
        ConfigurationError: the model folder is not there, or the checkpoint is not in it.
    """
    if not parameters.model_folder:
        return Path(parameters.checkpoint) if parameters.checkpoint else None
    folder = Path(parameters.model_folder)
    if not folder.is_dir():
        raise ConfigurationError(f"model_folder '{folder}' is not a folder; create it, or set it to ''")
    path = folder / (parameters.checkpoint or CURRENT)
    inside = folder.resolve()
    # Resolved, so that neither '..' nor a link leads to a file that nobody put among the models.
    if inside not in path.resolve().parents:
        raise ConfigurationError(f"checkpoint '{parameters.checkpoint}' is not in the model folder '{folder}'")
    return path


def load_detector(
    open_detector: OpenDetector, parameters: DetectorParameters, device: str, cameras: int
) -> FrameDetector:
    """Load, check and warm up the checkpoint that the parameters name, with its vocabulary and second opinion.

    Raises:
        ConfigurationError: the checkpoint, the device, the vocabulary or the second opinion cannot be used.
    """
    detector = open_detector(checkpoint_path(parameters), device)
    if parameters.second_opinion:
        from semlt3d_ros.inference.advised import advised  # with torch, which few of those who import this need

        detector = advised(detector, parameters.second_opinion, device)
    set_vocabulary(detector, parameters.vocabulary_file)
    try:
        # Twice: the first frame has no memory to read.
        for stamp in (0, 100_000_000):
            detector.detect(blank_frame(detector.image_spec, cameras, stamp))
    except Exception as error:
        raise ConfigurationError(f"model {detector.model_version} does not run on {device}: {error}") from error
    detector.reset()
    detector.memory_resets.clear()
    return detector


def set_vocabulary(detector: FrameDetector, file: str) -> None:
    """Give a detector the classes of a vocabulary file; ``""`` takes its own alone. Raises ``ConfigurationError``."""
    detector.set_vocabulary(load_anchors(Path(file)) if file else None)


def blank_frame(spec: ImageSpec, cameras: int, stamp: int) -> Frame:
    """A frame of black images, as large as the real ones and looking all around."""
    focal = spec.width / 2.0
    intrinsics = np.array([[focal, 0, spec.width / 2], [0, focal, spec.height / 2], [0, 0, 1.0]])
    camera = CameraModel(spec.width, spec.height, intrinsics)
    views = []
    for index in range(cameras):
        angle = 2 * np.pi * index / cameras
        forward = np.array([np.cos(angle), np.sin(angle), 0.0])
        pose = np.eye(4)
        pose[:3, :3] = np.column_stack([np.cross(forward, (0.0, 0.0, 1.0)), (0.0, 0.0, -1.0), forward])
        pose[:3, 3] = (0.0, 0.0, 1.5)
        image = np.zeros((spec.height, spec.width, 3), np.uint8)
        views.append(CameraView(f"blank_{index}", stamp, image, camera, pose))
    return Frame(stamp, tuple(views), T_world_ego=np.eye(4))

"""Maps that take the distortion out of images."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.cameras import CameraModel


def undistortion(source: CameraModel, result: CameraModel, blank: int = 0) -> tuple[NDArray, NDArray]:
    """``cv2.remap``'s fixed-point maps from an image of ``source`` to one of ``result``.

    Args:
        source: with any distortion.
        result: an ideal pinhole; what it sees outside the source is black.
        blank: rows at the top of the result that are black too.
    """
    columns, rows = np.meshgrid(np.arange(result.width), np.arange(result.height))
    pixels, valid = source.project(result.unproject(np.stack([columns, rows], axis=-1)))
    valid[:blank] = False
    pixels[~valid] = -10.0
    return cv2.convertMaps(pixels[..., 0].astype(np.float32), pixels[..., 1].astype(np.float32), cv2.CV_16SC2)

"""Images as published detectors were trained on them: Pillow's bicubic scaling, then a crop.

Their intrinsics are multiplied by the scale and moved by the crop, without the half pixel by which scaling moves pixel
centres (BEVDet's and PETR's pipelines); the centre of the image's cell in column j, of stride s, is taken to lie at
s j + s / 2. Both are kept, since the weights have learnt with them.

Of a portrait image, such as that of Argoverse 2's front camera, the middle rows are taken, as by Far3D.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.sensing.undistortion import undistortion

_CACHED_CAMERAS = 32
_ROUNDING = 1e-6
"""What a product that should be a whole number of pixels may lack."""
_PORTRAIT_MARGIN = 50
"""Pixels that a portrait image is made wider than it was high, before as many columns are cut off."""


def bicubic_view(
    image: NDArray[np.uint8], camera: CameraModel, spec: ImageSpec
) -> tuple[NDArray[np.uint8], CameraModel]:
    """Scale and crop a whole image.

    Args:
        image: (H, W, 3) uint8 of ``camera``.
        camera: calibration at the size of the image; a distortion is taken out first, at that size.
        spec: the size wanted.

    Returns:
        The image (height, width, 3) uint8, a new array, and its camera after the convention of the published models.
    """
    if not camera.is_pinhole:
        maps = _maps(camera.width, camera.height, camera.K.tobytes(), camera.distortion_model, camera.D.tobytes())
        image = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if camera.height > camera.width:
        image, camera = _landscape(image, camera)
    scale = max(spec.height / camera.height, spec.width / camera.width)
    width, height = (int(pixels * scale + _ROUNDING) for pixels in (camera.width, camera.height))
    left, top = max(0, width - spec.width) // 2, height - spec.height
    return _scaled(image, camera, scale, (width, height), (left, top, spec.width, spec.height))


def _landscape(image: NDArray[np.uint8], camera: CameraModel) -> tuple[NDArray[np.uint8], CameraModel]:
    """The middle of a portrait image, as wide as that was high and as high as it was wide."""
    scale = round((camera.height + _PORTRAIT_MARGIN) / camera.width, 2)
    width, height = int(camera.width * scale), int(camera.height * scale)
    left, top = (width - camera.height) // 2, (height - camera.width) // 2
    return _scaled(image, camera, scale, (width, height), (left, top, camera.height, camera.width))


def _scaled(
    image: NDArray[np.uint8],
    camera: CameraModel,
    scale: float,
    whole: tuple[int, int],
    window: tuple[int, int, int, int],
) -> tuple[NDArray[np.uint8], CameraModel]:
    """The part (left, top, width, height) of an image that is scaled to the size ``whole``, and its camera."""
    left, top, width, height = window
    scaled = Image.fromarray(image).resize(whole, Image.Resampling.BICUBIC)
    K = camera.K * [[scale], [scale], [1.0]]
    K[0, 2] -= left
    K[1, 2] -= top
    return np.array(scaled.crop((left, top, left + width, top + height))), CameraModel(width, height, K)


@lru_cache(_CACHED_CAMERAS)
def _maps(width: int, height: int, K: bytes, model: str, D: bytes) -> tuple[NDArray, NDArray]:
    camera = CameraModel(width, height, np.frombuffer(K).reshape(3, 3), model, np.frombuffer(D))
    return undistortion(camera, camera.pinhole())

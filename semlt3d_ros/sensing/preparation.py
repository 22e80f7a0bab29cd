"""Camera images of any size and distortion become the pinhole images of one size that the student takes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import Frame, WholeImage
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.sensing.bicubic import bicubic_view
from semlt3d_ros.sensing.undistortion import undistortion

__all__ = ["ImagePreparation", "ImageSpec"]

Image = NDArray[np.uint8]

_CACHED_PLANS = 64
_SQUARE = 1.25
"""Most that fx and fy differ by, as a factor, in images that are left as they are."""


@dataclass(frozen=True)
class _Plan:
    """How one camera's images of one size are prepared.

    Attributes:
        reduced: (width, height) to shrink to by area first, or None.
        scaled: (width, height) of the whole image at the student's scale.
        top: row of the scaled image that becomes row 0; negative where rows are missing.
        blank: rows at the top of the result that are outside the source.
        maps: ``cv2.remap``'s fixed-point maps for distorted cameras.
        camera: the result's camera, an ideal pinhole.
    """

    reduced: tuple[int, int] | None
    scaled: tuple[int, int]
    top: int
    blank: int
    maps: tuple[NDArray, NDArray] | None
    camera: CameraModel


class ImagePreparation:
    """Undistorts, scales and crops in one pass over the small image.

    The image is scaled to the student's width with its aspect ratio kept, ``top_crop`` of it is cut off at the top, and
    rows are cropped or added (black) at the top so that the bottom stays. Pixels outside the source are black. Pixels
    that are far from square, as of images that are binned in one axis, become square. Plans are kept per calibration
    and image size, so that a changed calibration takes effect at once. A specification with ``bicubic`` resampling is
    met as its models' authors do (``sensing.bicubic``).
    """

    def __init__(self, spec: ImageSpec) -> None:
        self.spec = spec
        self._plans: OrderedDict[tuple, _Plan] = OrderedDict()

    @property
    def exact(self) -> bool:
        """Whether JPEGs must be decoded to the last bit as the models' authors do, and not as fast as can be."""
        return self.spec.resampling == "bicubic"

    def required_size(self, camera: CameraModel) -> tuple[int, int]:
        """(width, height) that a decoded image of ``camera`` needs at least, for a decoder that can scale."""
        if self.spec.resampling == "bicubic":
            return camera.width, camera.height
        return min(self.spec.width, camera.width), min(self._rows(camera), camera.height)

    def __call__(self, image: Image, camera: CameraModel) -> tuple[Image, CameraModel]:
        """Prepare one image.

        Args:
            image: (H, W, 3) uint8; the whole image of ``camera``, which a decoder may have scaled down.
            camera: the calibration at the camera's own size.

        Returns:
            The prepared image (height, width, 3) uint8, a new array, and its camera, an ideal pinhole.

        Raises:
            InputRejected: ``image_size``: the image is larger than the camera, or has another aspect ratio.
        """
        if self.spec.resampling == "bicubic":
            return bicubic_view(image, decoded_camera(camera, image.shape[1], image.shape[0]), self.spec)
        plan = self._plan(camera, image.shape[1], image.shape[0])
        if plan.reduced is not None:
            image = cv2.resize(image, plan.reduced, interpolation=cv2.INTER_AREA)
        if plan.maps is not None:
            return cv2.remap(image, *plan.maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), plan.camera
        if (image.shape[1], image.shape[0]) != plan.scaled:
            image = cv2.resize(image, plan.scaled, interpolation=cv2.INTER_LINEAR)
        result = np.zeros((self.spec.height, self.spec.width, 3), np.uint8)
        result[plan.blank :] = image[plan.top + plan.blank :]
        return result, plan.camera

    def prepared(self, frame: Frame) -> Frame:
        """A frame of whole images with each prepared, and kept beside; raises the same as for one image."""
        views = []
        for view in frame.views:
            image, camera = self(view.image, view.camera)
            views.append(replace(view, image=image, camera=camera, whole=WholeImage(view.image, view.camera)))
        return replace(frame, views=tuple(views))

    def _rows(self, camera: CameraModel) -> int:
        shape = camera.K[0, 0] / camera.K[1, 1]
        if 1 / _SQUARE < shape < _SQUARE:
            shape = 1.0
        return max(1, round(camera.height * shape * self.spec.width / camera.width))

    def _plan(self, camera: CameraModel, width: int, height: int) -> _Plan:
        calibration = (camera.width, camera.height, camera.K.tobytes(), camera.distortion_model, camera.D.tobytes())
        key = (*calibration, width, height)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._make_plan(decoded_camera(camera, width, height), self._rows(camera))
            if len(self._plans) > _CACHED_PLANS:
                self._plans.popitem(last=False)
        return plan

    def _make_plan(self, source: CameraModel, rows: int) -> _Plan:
        spec = self.spec
        # Bilinear sampling skips pixels when it shrinks by more than two; averaging goes first.
        factor = source.width // spec.width
        reduced = None
        if source.width > 2 * spec.width:
            down = max(1, round(factor * source.height * spec.width / (source.width * rows)))
            reduced = (round(source.width / factor), max(1, round(source.height / down)))
            source = source.resized(*reduced)
        top = rows - spec.height
        blank = min(max(0, round(spec.top_crop * rows) - top), spec.height)
        camera = source.pinhole().resized(spec.width, rows).cropped(0, top, spec.width, spec.height)
        maps = None if source.is_pinhole else undistortion(source, camera, blank)
        return _Plan(reduced, (spec.width, rows), top, blank, maps, camera)


def decoded_camera(camera: CameraModel, width: int, height: int) -> CameraModel:
    """The camera of its whole image after a decoder has scaled that to ``width`` x ``height``.

    A JPEG decoder scales by exactly n/8 and rounds the size up, so that its last row and column may reach beyond the
    image.

    Raises:
        InputRejected: ``image_size``: larger than the camera, or of another aspect ratio.
    """
    for eighths in range(8, 0, -1):
        if (width, height) == (-(-camera.width * eighths // 8), -(-camera.height * eighths // 8)):
            scale = eighths / 8
            K = camera.K * [[scale], [scale], [1.0]]
            K[:2, 2] += 0.5 * scale - 0.5  # pixel centres lie at integers
            return CameraModel(width, height, K, camera.distortion_model, camera.D)
    if width > camera.width or abs(height - camera.height * width / camera.width) > 1.0:
        raise InputRejected(
            "image_size",
            f"an image of {width}x{height} is not a scaled image of a {camera.width}x{camera.height} camera",
        )
    return camera.resized(width, height)

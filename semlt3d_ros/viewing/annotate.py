"""Boxes drawn into camera images."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import CameraView
from semlt3d_ros.viewing.projection import project_outlines
from semlt3d_ros.viewing.style import Color, Layer, detection_layer

Image = NDArray[np.uint8]

_SUBPIXEL_BITS = 4
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.36
"""Of images up to ``_FONT_WIDTH`` pixels wide; larger images are looked at from farther away."""
_FONT_WIDTH = 800
_LEAST_WIDTH = 448
"""Smaller images are enlarged: a screen would do that to the letters too."""


def annotate(view: CameraView, detections: Detections, score_threshold: float = 0.0) -> Image:
    """One camera's image with the boxes that it shows.

    Args:
        view: the image as the detector got it, with the camera that belongs to it; it stays as it is.
        detections: boxes in the ego frame at the frame's stamp, drawn in the colours of their classes, with class
            and score. What lies behind the camera is cut off in space, so the rest keeps its true outline.
        score_threshold: detections with a lower score are left out.

    Returns:
        (H, W, 3) uint8 RGB: the view's size, or a whole multiple of it with at least 448 columns.
    """
    height, width = view.image.shape[:2]
    times = -(-_LEAST_WIDTH // width)
    image = np.ascontiguousarray(view.image).copy()
    if times > 1:
        size = (width * times, height * times)
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        view = CameraView(view.name, view.stamp, image, view.camera.resized(*size), view.T_ego_camera)
    draw_layer(image, view, detection_layer(detections, score_threshold), thickness=2)
    return image


def draw_layer(image: Image, view: CameraView, layer: Layer, thickness: int, with_texts: bool = True) -> None:
    """Draw boxes into an image in place, the first one last.

    Args:
        image: (H, W, 3) uint8 RGB, contiguous.
        view: the camera that belongs to ``image``.
        layer: boxes in the ego frame, with colours and texts; faint ones get lines of one pixel.
        thickness: of the others' lines, in pixels.
        with_texts: write the texts above the boxes; faint ones have theirs in any case.
    """
    outlines = project_outlines(layer.boxes, view)
    for index in range(len(outlines))[::-1]:
        outline, color, faint = outlines[index], layer.colors[index], index in layer.faint
        if outline:
            draw_lines(image, outline, color, 1 if faint else thickness)
            if with_texts or faint:
                left, top = np.concatenate(outline).min(axis=0)
                draw_text(image, layer.texts[index], (left, top - 3), color)


def draw_lines(image: Image, polylines: list[NDArray[np.float64]], color: Color, thickness: int) -> None:
    """Draw polylines (K, 2), in pixels, into an image in place."""
    fixed = [np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32) for points in polylines]
    cv2.polylines(image, fixed, False, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_text(image: Image, text: str, at: tuple[float, float], color: Color) -> None:
    """Write a line into an image in place, its lower left corner at ``at`` or as near as the image has room for it."""
    height, width = image.shape[:2]
    scale = _FONT_SCALE * max(1.0, width / _FONT_WIDTH)
    thin = max(1, round(scale))
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, thin)
    place = (max(round(min(at[0], width - text_width)), 0), round(min(max(at[1], text_height + 2), height - 2)))
    for shade, thickness in (((0, 0, 0), 3 * thin), (color, thin)):
        cv2.putText(image, text, place, _FONT, scale, shade, thickness, cv2.LINE_AA)

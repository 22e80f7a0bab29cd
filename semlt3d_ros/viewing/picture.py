"""One frame as a plain picture: all images with outlines of boxes, and the view from above."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import CameraView, Frame, Labels
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.viewing.annotate import Image, draw_layer, draw_lines, draw_text
from semlt3d_ros.viewing.region import lines_from_above, lines_in_image
from semlt3d_ros.viewing.style import Layer, camera_rows, colors_of_points, detection_layer, truth_layer

_BACKGROUND = 24
_GAP = 4


def draw_frame(
    frame: Frame,
    detections: Detections | None = None,
    labels: Labels | None = None,
    score_threshold: float = 0.3,
    image_width: int = 480,
    range_m: float = 45.0,
) -> Image:
    """Draw one frame for documents and reports, without a viewer.

    Args:
        frame: images of any size, and points if there are any. Borders of its labelled region are drawn; what lies
            outside is paler, thin and ``"(not judged)"``.
        detections: drawn in the colour of their frequency group, with class and confidence.
        labels: ground truth, drawn thin and green, what is of no class grey; the frame's own unless given.
        score_threshold: detections with a lower confidence are left out.
        image_width: width of each camera's picture in pixels.
        range_m: metres from the ego vehicle to the edge of the view from above.

    Returns:
        (H, W, 3) uint8 RGB: cameras in two rows, ahead and back, the view from above to their right.
    """
    labels = frame.labels if labels is None else labels
    # Truth first, so that detections are drawn over it.
    layers = [] if labels is None else [(truth_layer(labels, frame.region), 1)]
    if detections is not None:
        layers.append((detection_layer(detections, score_threshold, frame, labels), 2))
    by_name = {view.name: view for view in frame.views}
    rows = [[by_name[name] for name in names] for names in camera_rows(frame.views) if names]
    drawn = [[_draw_camera(view, frame.region, layers, image_width) for view in row] for row in rows]
    height = sum(max(image.shape[0] for image in row) for row in drawn) + _GAP * max(len(drawn) - 1, 0)
    names = () if detections is None else detections.class_names
    above = _draw_from_above(frame, layers, height or image_width, range_m, names)
    if not drawn:
        return above
    width = max(sum(image.shape[1] + _GAP for image in row) for row in drawn)
    canvas = np.full((height, width + above.shape[1], 3), _BACKGROUND, np.uint8)
    top = 0
    for row in drawn:
        left = 0
        for image in row:
            canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
            left += image.shape[1] + _GAP
        top += max(image.shape[0] for image in row) + _GAP
    canvas[:, width:] = above
    return canvas


def _draw_camera(view: CameraView, region: LabelledRegion, layers: list[tuple[Layer, int]], width: int) -> Image:
    height = round(view.image.shape[0] * width / view.image.shape[1])
    image = cv2.resize(view.image, (width, height), interpolation=cv2.INTER_AREA)
    small = CameraView(view.name, view.stamp, image, view.camera.resized(width, height), view.T_ego_camera)
    for line in lines_in_image(region, small):
        draw_lines(image, [line.points], line.color, 1)
    for rank, (layer, thickness) in enumerate(layers):
        draw_layer(image, small, layer, thickness, with_texts=rank == len(layers) - 1)
    draw_text(image, view.name, (4, 12), (255, 255, 255))
    return image


def _draw_from_above(
    frame: Frame, layers: list[tuple[Layer, int]], size: int, range_m: float, class_names: Sequence[str]
) -> Image:
    """The ego vehicle in the middle, ahead is up, left is left."""
    canvas = np.full((size, size, 3), _BACKGROUND, np.uint8)
    scale = size / (2 * range_m)
    to_pixels = np.array([[0.0, -scale, size / 2], [-scale, 0.0, size / 2]])

    def place(points: NDArray) -> NDArray[np.float64]:
        return points[..., :2] @ to_pixels[:, :2].T + to_pixels[:, 2]

    for radius in np.arange(10.0, range_m, 10.0):
        cv2.circle(canvas, (size // 2, size // 2), round(radius * scale), (60, 60, 60), 1, cv2.LINE_AA)
    if frame.points is not None:
        column, row = np.floor(place(frame.points.xyz)).astype(np.int64).T
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        told = colors_of_points(frame.points, class_names)
        canvas[row[inside], column[inside]] = 150 if told is None else told[inside]
    for line in lines_from_above(frame.region, 2 * range_m):
        draw_lines(canvas, [place(line.points)], line.color, 1)
    for (boxes, colors, _, faint), thickness in layers:
        corners = boxes.corners()[:, :4]
        nose = boxes.centers + np.stack([np.cos(boxes.yaw), np.sin(boxes.yaw), 0 * boxes.yaw], 1) * boxes.sizes[:, :1]
        for index, color in enumerate(colors):
            ring = place(corners[index][[0, 1, 2, 3, 0]])
            heading = place(np.stack([boxes.centers[index], nose[index]]))
            draw_lines(canvas, [ring, heading], color, 1 if index in faint else thickness)
    ego = np.array([[2.0, 0.0], [-1.0, 1.0], [-1.0, -1.0], [2.0, 0.0]])
    draw_lines(canvas, [place(ego)], (255, 255, 255), 2)
    return canvas

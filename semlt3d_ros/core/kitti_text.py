"""KITTI's lines of text for labels and results (Geiger et al., CVPR 2012; its object and tracking development kits).

Boxes are given in the frame of the rectified camera 0 (x right, y down, z forward): the centre of the bottom face,
height, width and length in metres, and ``rotation_y``, the turn about the camera's y axis, 0 where the object heads
along x.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import EDGES, Boxes3D
from semlt3d_ros.core.rigid import Matrix

LEFT_OUT = "DontCare"
"""The type of rectangles of the image in which objects were not labelled; their 3D numbers mean nothing."""

T_BASE_CAMERA0: Matrix = rigid.transform(
    (1.08, 0.0, 1.65), np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
)
"""``base_link`` <- rectified camera 0: 1.65 m above the road and 1.08 m before the inertial unit, which stands over the
rear axle. With the axes of that camera, in which KITTI's boxes are upright, they stay exactly what they are."""

Window = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

_NUMBERS = 14
_ALPHA_UNKNOWN = -10.0


@dataclass(frozen=True)
class KittiObject:
    """One line.

    Attributes:
        type: such as ``Car``.
        window: left, top, right, bottom in pixels, in the image of camera 2.
        size: height, width, length in metres.
        location: centre of the bottom face in the frame of the rectified camera 0, metres.
        rotation_y: radians about the y axis of that frame.
        truncated: share of the object outside the image, -1 where unknown.
        occluded: 0 fully visible, 1 partly, 2 largely occluded, 3 unknown; -1 where not given.
        alpha: rotation_y less the direction in which the object is seen, radians.
        score: confidence of a result; NaN in a label.
        frame, track: of the tracking benchmark; -1 elsewhere.
    """

    type: str
    window: Window
    size: tuple[float, float, float]
    location: tuple[float, float, float]
    rotation_y: float
    truncated: float = -1.0
    occluded: int = -1
    alpha: float = _ALPHA_UNKNOWN
    score: float = math.nan
    frame: int = -1
    track: int = -1

    @property
    def labelled(self) -> bool:
        """Whether it is an object at all."""
        return self.type != LEFT_OUT

    @property
    def visibility(self) -> float:
        """Share of it that can be seen; NaN where KITTI only says that something hides a part of it."""
        if self.occluded == 0 and self.truncated >= 0:
            return max(0.0, 1.0 - self.truncated)
        return math.nan


def parse_line(line: str, tracking: bool = False) -> KittiObject:
    """One line of a label or result file.

    Args:
        line: its text.
        tracking: whether frame and track number come first.

    Raises:
        ValueError: words are missing or no numbers, or they make no box.
    """
    words = line.split()
    lead = 2 if tracking else 0
    if len(words) not in (lead + _NUMBERS + 1, lead + _NUMBERS + 2):
        shape = "frame, track, " if tracking else ""
        raise ValueError(
            f"{len(words)} words, expected {shape}type, {_NUMBERS} numbers and perhaps a score: '{line[:60]}'"
        )
    try:
        frame, track = (int(float(word)) for word in words[:2]) if tracking else (-1, -1)
        values = [float(word) for word in words[lead + 1 :]]
        occluded = int(values[1])
    except (ValueError, OverflowError):
        raise ValueError(f"not a number where one is expected: '{line[:60]}'") from None
    found = KittiObject(
        words[lead],
        (values[3], values[4], values[5], values[6]),
        (values[7], values[8], values[9]),
        (values[10], values[11], values[12]),
        values[13],
        values[0],
        occluded,
        values[2],
        values[14] if len(values) > _NUMBERS else math.nan,
        frame,
        track,
    )
    if not np.isfinite(found.window).all():
        raise ValueError(f"the rectangle in the image is not finite: '{line[:60]}'")
    if found.labelled:
        box = boxes_from([found], np.eye(4))
        if not box.physical().all() or min(found.size) <= 0:
            raise ValueError(f"place and size make no box: '{line[:60]}'")
    return found


def format_line(found: KittiObject) -> str:
    """The line of an object; a result's ends with its score. No precision is lost, as far as boxes have any."""
    numbers = [found.alpha, *found.window, *found.size, *found.location, found.rotation_y]
    if not math.isnan(found.score):
        numbers.append(found.score)
    track = f"{found.frame} {found.track} " if found.frame >= 0 else ""
    truncated = f"{found.truncated:.2f}" if found.truncated >= 0 else "-1"
    return f"{track}{'_'.join(found.type.split())} {truncated} {found.occluded} " + " ".join(
        f"{number:.6f}" for number in numbers
    )


def boxes_from(objects: Sequence[KittiObject], T_target_camera: Matrix) -> Boxes3D:
    """The boxes of objects, without velocities.

    Args:
        objects: labelled objects.
        T_target_camera: (4, 4) wanted frame (z up) <- rectified camera 0.
    """
    count = len(objects)
    sizes = np.array([each.size for each in objects], np.float64).reshape(count, 3)
    turn = np.array([each.rotation_y for each in objects], np.float64)
    centers = np.array([each.location for each in objects], np.float64).reshape(count, 3)
    centers[:, 1] -= sizes[:, 0] / 2
    heading = np.stack([np.cos(turn), np.zeros(count), -np.sin(turn)], axis=1) @ T_target_camera[:3, :3].T
    return Boxes3D(
        rigid.apply(T_target_camera, centers),
        sizes[:, [2, 1, 0]],
        np.arctan2(heading[:, 1], heading[:, 0]),
        np.full((count, 2), np.nan),
    )


def objects_from(
    boxes: Boxes3D,
    types: Sequence[str],
    scores: Iterable[float],
    T_camera_source: Matrix,
    projection: NDArray[np.float64],
    image_size: tuple[int, int],
) -> list[KittiObject]:
    """Boxes as KITTI's objects; those of which the image shows nothing are left out, as KITTI knows none of them.

    Args:
        boxes: N boxes in a frame whose z axis points up.
        types: N types.
        scores: N confidences.
        T_camera_source: (4, 4) rectified camera 0 <- frame of the boxes.
        projection: (3, 4) the rectified camera 0's points to pixels of camera 2 (KITTI's P2).
        image_size: width and height in pixels.
    """
    found = []
    windows = windows_of(boxes, T_camera_source, projection, image_size)
    centers = rigid.apply(T_camera_source, boxes.centers)
    forward = np.stack([np.cos(boxes.yaw), np.sin(boxes.yaw), np.zeros(len(boxes))], axis=1)
    heading = forward @ T_camera_source[:3, :3].T
    for row, (name, score) in enumerate(zip(types, scores, strict=True)):
        window = windows[row]
        if window is None:
            continue
        (x, y, z), (length, width, height) = centers[row], boxes.sizes[row]
        turn = math.atan2(-heading[row, 2], heading[row, 0])
        alpha = float(rigid.wrap_angle(turn - math.atan2(x, z)))
        place = (float(x), float(y + height / 2), float(z))
        size = (float(height), float(width), float(length))
        found.append(KittiObject(name, window, size, place, turn, alpha=alpha, score=float(score)))
    return found


def windows_of(
    boxes: Boxes3D, T_camera_source: Matrix, projection: NDArray[np.float64], image_size: tuple[int, int]
) -> list[Window | None]:
    """Bounds of what the image shows of each box; None where it shows nothing. Arguments as of ``objects_from``."""
    corners = rigid.apply(T_camera_source, boxes.corners())
    return [_window(each, projection, image_size) for each in corners]


def _window(
    corners: NDArray[np.float64], projection: NDArray[np.float64], image_size: tuple[int, int]
) -> Window | None:
    """Bounds of what the image shows of a box; None where it shows nothing. What is behind the camera is cut off."""
    nearest = 0.1
    points = [corner for corner in corners if corner[2] >= nearest]
    if not points:
        return None
    for first, second in EDGES:
        a, b = corners[first], corners[second]
        if (a[2] < nearest) != (b[2] < nearest):
            points.append(a + (nearest - a[2]) / (b[2] - a[2]) * (b - a))
    pixels = np.column_stack([points, np.ones(len(points))]) @ projection.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    left, top = np.maximum(pixels.min(axis=0), 0.0)
    right, bottom = np.minimum(pixels.max(axis=0), np.array(image_size) - 1.0)
    return (float(left), float(top), float(right), float(bottom)) if left < right and top < bottom else None

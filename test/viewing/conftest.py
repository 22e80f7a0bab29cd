"""A rig of six cameras in a plain world: flat-coloured images, a few boxes and points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import CameraView, Frame, Labels, PointCloud
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES

HEADINGS = {
    "CAM_FRONT": 0.0,
    "CAM_FRONT_RIGHT": -55.0,
    "CAM_BACK_RIGHT": -110.0,
    "CAM_BACK": 180.0,
    "CAM_BACK_LEFT": 110.0,
    "CAM_FRONT_LEFT": 55.0,
}
OPTICAL_IN_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Optical axes (right, down, forward) in body axes (forward, left, up), REP-103."""


def make_view(name: str, degrees: float, width: int = 448, height: int = 256, shade: int = 90, **lens) -> CameraView:
    camera = CameraModel(width, height, np.array([[260.0, 0, 223.5], [0, 260.0, 127.5], [0, 0, 1]]), **lens)
    pose = rigid.planar(0.0, 0.0, np.radians(degrees), z=1.6) @ rigid.transform(rotation=OPTICAL_IN_BODY)
    return CameraView(name, 0, np.full((height, width, 3), shade, np.uint8), camera, pose)


@pytest.fixture
def view() -> Callable[..., CameraView]:
    """``view("CAM_FRONT", 0.0)``: a camera 1.6 m above the ego origin that looks that many degrees to the left."""
    return make_view


@pytest.fixture
def frame() -> Frame:
    """Six cameras, points on the ground, the ego vehicle at (100, 50) and turned by 0.5 rad."""
    rng = np.random.default_rng(0)
    xyz = np.concatenate([rng.uniform(-40, 40, (2000, 2)), rng.uniform(0, 2, (2000, 1))], axis=1).astype(np.float32)
    views = tuple(make_view(name, degrees) for name, degrees in HEADINGS.items())
    return Frame(1_000_000_000, views, T_world_ego=rigid.planar(100.0, 50.0, 0.5), points=PointCloud(xyz))


@pytest.fixture
def detections() -> Detections:
    """A car ahead, a child to the left, a bus behind; the last box is too uncertain to be shown."""
    boxes = Boxes3D(
        np.array([[15.0, 0.0, 0.8], [8.0, 9.0, 0.6], [-18.0, 0.0, 1.6], [10.0, 5.0, 0.5]]),
        np.array([[4.5, 1.9, 1.6], [0.5, 0.5, 1.2], [11.0, 2.9, 3.2], [1.0, 1.0, 1.0]]),
        np.array([0.3, 1.0, 0.1, 0.0]),
        np.array([[8.0, 1.0], [np.nan, np.nan], [0.0, 0.1], [3.0, 3.0]]),
    )
    confidences = np.full((4, len(CLASS_NAMES)), 0.05)
    for row, (name, score) in enumerate([("car", 0.9), ("child", 0.6), ("bus", 0.8), ("debris", 0.2)]):
        confidences[row, CLASS_INDEX[name]] = score
    return Detections(1_000_000_000, boxes, confidences)


@pytest.fixture
def labels(detections: Detections) -> Labels:
    """The same boxes, a little beside the detected ones."""
    boxes = detections.boxes.moved(rigid.planar(0.3, 0.2, 0.0))[:3]
    return Labels(boxes, np.array([CLASS_INDEX[name] for name in ("car", "child", "bus")]))

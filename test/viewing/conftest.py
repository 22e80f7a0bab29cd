"""A rig of six cameras in a plain world: flat-coloured images, a few boxes and points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rerun.chunk import RrdReader

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import CameraView, Frame, Labels, PointCloud
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import StampedTransform
from semlt3d_ros.messages.encode import (
    encode_camera_info,
    encode_compressed_image,
    encode_labels,
    encode_long_tail,
    encode_point_cloud,
    encode_transforms,
)

HEADINGS = {
    "CAM_FRONT": 0.0,
    "CAM_FRONT_RIGHT": -55.0,
    "CAM_BACK_RIGHT": -110.0,
    "CAM_BACK": 180.0,
    "CAM_BACK_LEFT": 110.0,
    "CAM_FRONT_LEFT": 55.0,
}
PERIOD_NS = 700_000_000

OPTICAL_IN_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Optical axes (right, down, forward) in body axes (forward, left, up), REP-103."""


def make_view(name: str, degrees: float, width: int = 448, height: int = 256, shade: int = 90, **lens) -> CameraView:
    camera = CameraModel(width, height, np.array([[260.0, 0, 223.5], [0, 260.0, 127.5], [0, 0, 1]]), **lens)
    pose = rigid.planar(0.0, 0.0, np.radians(degrees), z=1.6) @ rigid.transform(rotation=OPTICAL_IN_BODY)
    return CameraView(name, 0, np.full((height, width, 3), shade, np.uint8), camera, pose)


@pytest.fixture(scope="session")
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


@pytest.fixture
def write_drive(tmp_path: Path, frame: Frame, labels: Labels) -> Callable[[int], Path]:
    """``write_drive(count)``: a bag of the six cameras, points, transforms and ground truth, 0.7 s between frames."""

    def write(count: int) -> Path:
        path = tmp_path / f"drive_{count}.mcap"
        with BagSink(path) as bag:
            mounts = [StampedTransform("base_link", view.name, 0, view.T_ego_camera) for view in frame.views]
            mounts.append(StampedTransform("base_link", "lidar", 0, np.eye(4)))
            bag.write(topics.TF_STATIC, topics.TF_TYPE, encode_transforms(mounts), 0)
            for index in range(count):
                stamp = frame.stamp + index * PERIOD_NS
                pose = StampedTransform("odom", "base_link", stamp, frame.T_world_ego @ rigid.planar(2.0 * index, 0, 0))
                bag.write(topics.TF, topics.TF_TYPE, encode_transforms([pose]), stamp)
                for view in frame.views:
                    info = encode_camera_info(view.camera, stamp, view.name)
                    bag.write(topics.camera_info_topic(view.name), topics.CAMERA_INFO_TYPE, info, stamp)
                    image = encode_compressed_image(view.image, stamp, view.name)
                    bag.write(topics.camera_image_topic(view.name), topics.COMPRESSED_IMAGE_TYPE, image, stamp)
                cloud = encode_point_cloud(frame.points, stamp, "lidar")
                bag.write(topics.POINTS, topics.POINT_CLOUD_TYPE, cloud, stamp)
                truth = encode_labels(labels, stamp, "base_link")
                bag.write(topics.TRUTH_LONG_TAIL, topics.LONG_TAIL_TYPE, truth, stamp)
        return path

    return write


@pytest.fixture
def drive_bag(write_drive: Callable[[int], Path]) -> Path:
    """Three frames."""
    return write_drive(3)


@pytest.fixture
def detections_bag(tmp_path: Path, frame: Frame, detections: Detections) -> Path:
    """Detections of the first and the last of the three frames, recorded much later."""
    path = tmp_path / "detections.mcap"
    with BagSink(path) as bag:
        for stamp in (frame.stamp, frame.stamp + 2 * PERIOD_NS):
            message = encode_long_tail(replace(detections, stamp=stamp), "base_link")
            bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, stamp + 10**18)
    return path


@pytest.fixture
def logged() -> Callable[[Path], dict[str, list[dict]]]:
    """``logged(path)``: entity path to the rows of a recording, in time order, each a dictionary of components."""

    def read(path: Path) -> dict[str, list[dict]]:
        rows: dict[str, list[dict]] = {}
        for chunk in RrdReader(path).stream().to_chunks():
            rows.setdefault(str(chunk.entity_path), []).extend(chunk.to_record_batch().to_pylist())
        for entity_rows in rows.values():
            entity_rows.sort(key=lambda row: str(row.get("time")))
        return rows

    return read

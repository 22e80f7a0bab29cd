"""A small rig of cameras, and its messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.faults import Fault
from semlt3d_ros.core.frame import Frame, Labels, PointCloud
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import StampedTransform
from semlt3d_ros.messages.typestore import deserialize
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import CameraConfig, Rig

# A busy machine must not fail a test: time is bounded for whole tests only.
settings.register_profile("patient", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_700_000_000 * SECOND


@dataclass
class Drive:
    """Messages of a vehicle with cameras A, B and C that goes along +x at 10 m/s."""

    names: tuple[str, ...] = ("A", "B", "C")
    camera: CameraModel = field(
        default_factory=lambda: CameraModel(64, 48, np.array([[50.0, 0, 31.5], [0, 50.0, 23.5], [0, 0, 1]]))
    )

    def round(self, index: int, start: int = START) -> list[Any]:
        """What belongs to one set of ten a second."""
        stamp = start + index * 100 * MS
        return [self.tf(stamp), *self.images(stamp)]

    def ready(self) -> list[Any]:
        """What a set needs beforehand."""
        return [self.static(), *self.infos()]

    @staticmethod
    def told(builder: FrameBuilder, reason: str) -> list[Fault]:
        """The faults of a reason."""
        return [fault for fault in builder.faults if fault.reason == reason]

    @property
    def rig(self) -> Rig:
        cameras = tuple(
            CameraConfig(name, topics.camera_image_topic(name), topics.camera_info_topic(name)) for name in self.names
        )
        return Rig(cameras, anchor=self.names[0])

    @property
    def T_base_camera(self) -> rigid.Matrix:
        rotation = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
        return rigid.transform((1.0, 0.0, 1.5), rotation)

    def pose(self, stamp: int) -> rigid.Matrix:
        return rigid.planar(10.0 * (stamp - START) / SECOND, 0.0, 0.0)

    def static(self, frames: tuple[str, ...] = ()) -> tuple[str, str, Any]:
        frames = frames or self.names
        links = [StampedTransform("base_link", name, 0, self.T_base_camera) for name in frames]
        links.append(StampedTransform("base_link", "lidar", 0, rigid.transform((0.0, 0.0, 2.0))))
        return topics.TF_STATIC, topics.TF_TYPE, encode.encode_transforms(links)

    def tf(self, stamp: int) -> tuple[str, str, Any]:
        link = StampedTransform("odom", "base_link", stamp, self.pose(stamp))
        return topics.TF, topics.TF_TYPE, encode.encode_transforms([link])

    def info(self, name: str, camera: CameraModel | None = None, stamp: int = START) -> tuple[str, str, Any]:
        message = encode.encode_camera_info(camera or self.camera, stamp, name)
        return topics.camera_info_topic(name), topics.CAMERA_INFO_TYPE, message

    def infos(self) -> list[tuple[str, str, Any]]:
        return [self.info(name) for name in self.names]

    def image(self, name: str, stamp: int, shade: int = 128, contrast: int = 40) -> tuple[str, str, Any]:
        """Dark at the left, bright at the right, ``shade`` on average."""
        slope = np.linspace(shade - contrast, shade + contrast, self.camera.width)
        image = np.broadcast_to(slope[None, :, None], (self.camera.height, self.camera.width, 3)).astype(np.uint8)
        message = encode.encode_compressed_image(image, stamp, name)
        return topics.camera_image_topic(name), topics.COMPRESSED_IMAGE_TYPE, message

    def images(self, stamp: int) -> list[tuple[str, str, Any]]:
        return [self.image(name, stamp) for name in self.names]

    def cloud(self, stamp: int) -> tuple[str, str, Any]:
        cloud = PointCloud(
            np.array([[5.0, 0.0, 0.0], [0.0, 3.0, 1.0]], np.float32),
            np.array([0.2, 0.4], np.float32),
            np.array([0.0, 0.01], np.float32),
        )
        return topics.POINTS, topics.POINT_CLOUD_TYPE, encode.encode_point_cloud(cloud, stamp, "lidar")

    def labels(self, stamp: int) -> tuple[str, str, Any]:
        boxes = Boxes3D(np.array([[8.0, 1.0, 1.0]]), np.array([[4.0, 2.0, 1.5]]), np.zeros(1), np.zeros((1, 2)))
        encoded = encode.encode_labels(Labels(boxes, np.array([3])), stamp, "base_link")
        return topics.TRUTH_LONG_TAIL, topics.LONG_TAIL_TYPE, deserialize(encoded, topics.LONG_TAIL_TYPE)


def _fed(builder: FrameBuilder, messages: list[tuple[str, str, Any]]) -> list[Frame]:
    return [frame for message in messages for frame in builder.add(*message)]


@pytest.fixture
def drive() -> Drive:
    return Drive()


@pytest.fixture
def feed():
    """Adds messages to a builder; gives all frames that come out."""
    return _fed

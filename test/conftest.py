"""What tests of several rooms share: a tiny two-camera recording, and a ROS domain of this run's own."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import StampedTransform

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A busy machine is no fault of what is tested.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

CAMERAS = ("CAM_FRONT", "CAM_BACK")
CAMERA = CameraModel(64, 48, np.array([[50.0, 0.0, 31.5], [0.0, 50.0, 23.5], [0.0, 0.0, 1.0]]))
OPTICAL = rigid.transform(rotation=[[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""A camera's optical frame (z forward, x right, y down) in a body frame (REP-103)."""
START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
Message = tuple[str, str, object, int]


def stamp_of_set(index: int) -> int:
    return START + index * PERIOD


def static_messages() -> list[Message]:
    """Calibration: transforms of the cameras, and their camera_info."""
    mounts = [
        StampedTransform(topics.BASE_FRAME, name, START, rigid.planar(1.0, 0.0, heading, 1.5) @ OPTICAL)
        for name, heading in zip(CAMERAS, (0.0, np.pi), strict=True)
    ]
    messages: list[Message] = [(topics.TF_STATIC, topics.TF_TYPE, encode.encode_transforms(mounts), START)]
    for name in CAMERAS:
        info = encode.encode_camera_info(CAMERA, START, name)
        messages.append((topics.camera_info_topic(name), topics.CAMERA_INFO_TYPE, info, START))
    return messages


def pose_message(stamp: int) -> Message:
    pose = StampedTransform(
        topics.FIXED_FRAME, topics.BASE_FRAME, stamp, rigid.planar((stamp - START) * 5e-9, 0.0, (stamp - START) * 1e-10)
    )
    return (topics.TF, topics.TF_TYPE, encode.encode_transforms([pose]), stamp)


def image_message(name: str, index: int) -> Message:
    random = np.random.default_rng([index, CAMERAS.index(name)])
    image = np.kron(random.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    stamp = stamp_of_set(index)
    message = encode.encode_compressed_image(image, stamp, name)
    return (topics.camera_image_topic(name), topics.COMPRESSED_IMAGE_TYPE, message, stamp)


def set_messages(index: int) -> list[Message]:
    """What belongs to one set: the ego pose, and an image of each camera."""
    return [pose_message(stamp_of_set(index)), *(image_message(name, index) for name in CAMERAS)]


class Recording:
    """Makes bags of the tiny rig."""

    cameras = CAMERAS
    camera = CAMERA
    start = START
    period = PERIOD
    stamp_of_set = staticmethod(stamp_of_set)
    static_messages = staticmethod(static_messages)
    pose_message = staticmethod(pose_message)
    image_message = staticmethod(image_message)
    set_messages = staticmethod(set_messages)

    @staticmethod
    def write(path: Path, messages: list[Message]) -> Path:
        with BagSink(path) as sink:
            for topic, type_name, message, stamp in messages:
                sink.write(topic, type_name, message, stamp)
        return path

    @staticmethod
    def of_sets(path: Path, count: int) -> Path:
        messages = static_messages()
        for index in range(count):
            messages += set_messages(index)
        return Recording.write(path, messages)


@pytest.fixture(scope="session")
def recording() -> type[Recording]:
    return Recording


@pytest.fixture(scope="session")
def published_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StreamPETR's checkpoint as its authors' training writes them: small but for its ResNet-50, weights by rule."""
    from bench.parity.checkpoints import write_streampetr

    shape = {"queries": 12, "propagated": 4, "remembered": 4, "memory_length": 16, "layers": 2}
    return write_streampetr(tmp_path_factory.mktemp("published") / "small_streampetr.pth", **shape)


@pytest.fixture(scope="session")
def small_student(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Makes the checkpoint of a small student, another one for each seed."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def made(seed: int) -> Path:
        import torch

        from bench.small_robot import STUDENT
        from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
        from semlt3d_ros.student.student import Student

        path = folder / f"small{seed}.safetensors"
        if not path.exists():
            torch.manual_seed(seed)
            small = replace(STUDENT, image_width=64, image_height=32, top_crop=0.0)
            save_checkpoint(path, Student(small), f"small{seed}", {})
        return path

    return made


@pytest.fixture(scope="session")
def domain() -> int:
    """A ROS domain of this test run's own."""
    return 1 + os.getpid() % 100


@pytest.fixture(scope="session")
def disk_of() -> Callable[[int], AbstractContextManager[None]]:
    """``disk_of(size)``: a context in which no file can grow beyond ``size`` bytes, as on a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited

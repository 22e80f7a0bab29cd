"""A tiny two-camera recording, and detector nodes in processes of their own."""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.data.bags import BagSink
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import StampedTransform, stamp_of
from semlt3d_ros.messages.typestore import deserialize, message_class, serialize
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.port import RELIABLE, QoS
from semlt3d_ros.nodes.detector import DetectorNode
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.lockstep import PROGRESS
from semlt3d_ros.sensing.rig import rig_from_topics

FAKE_NODE = Path(__file__).parent / "fake_node.py"
CAMERAS = ("CAM_FRONT", "CAM_BACK")
CAMERA = CameraModel(64, 48, np.array([[50.0, 0.0, 31.5], [0.0, 50.0, 23.5], [0.0, 0.0, 1.0]]))
START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
Message = tuple[str, str, object, int]


def stamp_of_set(index: int) -> int:
    return START + index * PERIOD


def static_messages() -> list[Message]:
    """Calibration: transforms of the cameras, and their camera_info."""
    mounts = [
        StampedTransform(topics.BASE_FRAME, name, START, rigid.planar(1.0, 0.0, heading))
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


@pytest.fixture
def recording() -> type[Recording]:
    return Recording


@pytest.fixture(scope="session")
def domain() -> int:
    """A ROS domain of this test run's own."""
    return 1 + os.getpid() % 100


@pytest.fixture
def join(domain: int) -> Iterator[Callable[..., DdsMiddleware]]:
    """Makes participants, and shuts them down afterwards."""
    with ExitStack() as stack:

        def make(name: str = "test") -> DdsMiddleware:
            middleware = DdsMiddleware(name, domain)
            stack.callback(middleware.shutdown)
            return middleware

        yield make


@pytest.fixture(scope="session")
def fake_node() -> ModuleType:
    """The module ``fake_node.py``."""
    spec = spec_from_file_location("fake_node", FAKE_NODE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def node_process(domain: int) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a node with the fake detector in a process of its own; returns when it is ready."""
    processes: list[subprocess.Popen[str]] = []

    def start(*overrides: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(FAKE_NODE), str(domain), f"cameras:=[{', '.join(CAMERAS)}]", *overrides]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


class MemoryMiddleware:
    """The port without a network: the test hands messages in, and reads what was published."""

    def __init__(self) -> None:
        self.types = message_class
        self.logger = logging.getLogger("node")
        self.published: dict[str, list[Any]] = {}
        self.subscriptions: dict[str, SimpleNamespace] = {}
        self.timers: list[Callable[[], None]] = []
        self.clock = START
        self.followers = 1  # as in lockstep, nothing is superseded
        self._soon: queue.Queue[Callable[[], None]] = queue.Queue()

    def create_publisher(self, topic: str, type_name: str, qos: QoS = RELIABLE) -> Any:
        messages = self.published.setdefault(topic, [])
        matched = property(lambda _: self.followers if topic == PROGRESS else 1)
        kind = type(
            "Publisher",
            (),
            {"topic": topic, "publish": lambda _, message: messages.append(message), "matched": matched},
        )
        return kind()

    def create_subscription(
        self, topic: str, type_name: str, callback: Callable[[Any, int], None], qos: QoS = RELIABLE, raw: bool = False
    ) -> Any:
        take = callback if raw else lambda data, received: callback(deserialize(data, type_name), received)
        self.subscriptions[topic] = SimpleNamespace(callback=take, qos=qos, dropped=Counter(), matched=1)
        return self.subscriptions[topic]

    def create_timer(self, period_s: float, callback: Callable[[], None]) -> Any:
        self.timers.append(callback)
        return SimpleNamespace(cancel=lambda: None)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.put(callback)

    def now(self) -> int:
        return self.clock

    def feed(self, messages: list[Message]) -> None:
        """Hand in messages one by one, each 1 ms after the one before."""
        for topic, type_name, message, _ in messages:
            self.clock += 1_000_000
            data = message if isinstance(message, bytes) else serialize(message, type_name)
            if topic in self.subscriptions:
                self.subscriptions[topic].callback(data, self.clock - 500_000)

    def run(self, callbacks: int) -> None:
        """Run so many callbacks of ``call_soon``, waiting for each."""
        for _ in range(callbacks):
            self._soon.get(timeout=60)()


class LiveNode:
    """A node with the fake detector on ``MemoryMiddleware``; every set is finished before the next message."""

    def __init__(self, fake_node: ModuleType, **parameters: Any) -> None:
        self.middleware = MemoryMiddleware()
        self.detector = fake_node.FakeDetector()
        compressed = parameters.get("compressed", True)
        kind = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
        rig = rig_from_topics({topics.camera_image_topic(name, compressed): kind for name in CAMERAS} | {topics.TF: ""})
        self.node = DetectorNode(self.middleware, self.detector, rig, DetectorParameters(**parameters))

    def feed(self, messages: list[Message]) -> None:
        for message in messages:
            before = self.assembled
            self.middleware.feed([message])
            self.middleware.run(self.assembled - before)

    @property
    def assembled(self) -> int:
        return self.node._builder.frames_out

    @property
    def answers(self) -> list[int]:
        """Stamps of the published sets."""
        return [stamp_of(message) for message in self.middleware.published[topics.LONG_TAIL]]

    def stall(self, seconds: float) -> None:
        """Let time pass without messages, and without a player in lockstep."""
        self.middleware.followers = 0
        for _ in range(3):
            before = self.assembled
            self.middleware.timers[0]()
            self.middleware.run(self.assembled - before)
            self.middleware.clock += int(seconds * 5e8)

    def report(self) -> dict[str, dict[str, str]]:
        """The diagnostics as they would be published now: values by status name."""
        self.node.publish_report()
        statuses = self.middleware.published[topics.DIAGNOSTICS][-1].status
        return {
            status.name.removeprefix("semlt3d_detector: "): {
                "level": str(status.level),
                "message": status.message,
                **{value.key: value.value for value in status.values},
            }
            for status in statuses
        }


@pytest.fixture
def live_node(fake_node: ModuleType) -> Iterator[Callable[..., LiveNode]]:
    """Makes nodes, and closes them afterwards."""
    made: list[LiveNode] = []

    def make(**parameters: Any) -> LiveNode:
        made.append(LiveNode(fake_node, **parameters))
        return made[-1]

    yield make
    for node in made:
        assert node.node.close()

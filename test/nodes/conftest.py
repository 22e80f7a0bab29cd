"""Detector nodes in processes of their own, and on a middleware without a network."""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import stamp_of
from semlt3d_ros.messages.typestore import deserialize, message_class, serialize
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.names import resolve_name
from semlt3d_ros.middleware.port import RELIABLE, QoS
from semlt3d_ros.middleware.topic_requests import TopicParameters
from semlt3d_ros.nodes.detector import DetectorNode
from semlt3d_ros.nodes.detector_parameters import NODE_NAME
from semlt3d_ros.nodes.lockstep import PROGRESS

FAKE_NODE = Path(__file__).parent / "fake_node.py"
Message = tuple[str, str, object, int]


@pytest.fixture
def join(domain: int) -> Iterator[Callable[..., DdsMiddleware]]:
    """Makes participants, and shuts them down afterwards."""
    with ExitStack() as stack:

        def make(name: str = "test", *overrides: str) -> DdsMiddleware:
            middleware = DdsMiddleware(name, domain, parameter_overrides=overrides)
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
def node_process(domain: int, recording: Any) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a node with the fake detector in a process of its own; returns when it is ready."""
    processes: list[subprocess.Popen[str]] = []

    def start(*overrides: str) -> subprocess.Popen[str]:
        cameras = f"cameras:=[{', '.join(recording.cameras)}]"
        command = [sys.executable, str(FAKE_NODE), str(domain), cameras, *overrides]
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


class MemoryPublisher:
    def __init__(self, middleware: MemoryMiddleware, topic: str, type_name: str) -> None:
        self._middleware = middleware
        self.topic = topic
        self.type_name = type_name

    def publish(self, message: Any) -> None:
        read = deserialize(message, self.type_name) if isinstance(message, bytes) else message
        self._middleware.published[self.topic].append(read)

    @property
    def matched(self) -> int:
        return self._middleware.followers if self.topic == PROGRESS else self._middleware.listeners[self.topic]

    def close(self) -> None:
        self._middleware.listeners[self.topic] = 0


class MemoryMiddleware:
    """The port without a network: the test hands messages in, and reads what was published."""

    def __init__(self, start: int, *overrides: str) -> None:
        self.types = message_class
        self.node_name = NODE_NAME
        self.logger = logging.getLogger("node")
        self.overrides = overrides
        self.published: dict[str, list[Any]] = {}
        self.subscriptions: dict[str, SimpleNamespace] = {}
        self.listeners: dict[str, int] = {}
        self.triggers: dict[str, Callable[[Any], None]] = {}
        self.timers: dict[float, Callable[[], None]] = {}
        self.clock = start
        self.followers = 1  # as in lockstep, nothing is superseded
        self.stopped = False
        self._soon: queue.Queue[Callable[[], None]] = queue.Queue()

    def create_publisher(self, topic: str, type_name: str, qos: QoS = RELIABLE) -> Any:
        topic = resolve_name(topic, self.node_name)
        self.published.setdefault(topic, [])
        unheard = 0 if "/debug/" in topic else 1
        self.listeners.setdefault(topic, unheard)
        return MemoryPublisher(self, topic, type_name)

    def create_subscription(
        self, topic: str, type_name: str, callback: Callable[[Any, int], None], qos: QoS = RELIABLE, raw: bool = False
    ) -> Any:
        topic = resolve_name(topic, self.node_name)
        take = callback if raw else lambda data, received: callback(deserialize(data, type_name), received)
        self.subscriptions[topic] = SimpleNamespace(
            callback=take, qos=qos, dropped=Counter(), matched=1, close=lambda: self.subscriptions.pop(topic)
        )
        return self.subscriptions[topic]

    def create_trigger(self, name: str, callback: Callable[[Any], None]) -> None:
        self.triggers[name] = callback

    def declare_parameters(self, kind: type, accept: Any) -> Any:
        return TopicParameters(self, kind, accept, (), self.overrides)

    def create_timer(self, period_s: float, callback: Callable[[], None]) -> Any:
        self.timers[period_s] = callback
        return SimpleNamespace(cancel=lambda: self.timers.pop(period_s, None))

    def poll(self) -> None:
        """Call the timer that is called most often."""
        self.timers[min(self.timers)]()

    def ask(self, name: str) -> tuple[bool, str]:
        """Pull a trigger and wait for its answer."""
        answers: list[tuple[bool, str]] = []
        self.triggers[name](lambda successful, text: answers.append((successful, text)))
        while not answers:
            self.run(1)
        return answers[0]

    def stop(self) -> None:
        self.stopped = True

    def stamp(self) -> int:
        return self.clock

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

    def __init__(self, fake_node: ModuleType, recording: Any, **parameters: Any) -> None:
        parameters = {"cameras": list(recording.cameras), "device": "cpu", **parameters}
        overrides = [f"{name}:={yaml.safe_dump(value, default_flow_style=True)}" for name, value in parameters.items()]
        self.middleware = MemoryMiddleware(recording.start, *(text.removesuffix("...\n") for text in overrides))
        self.opened: list[tuple[Path | None, str]] = []
        self.next_detectors: list[Any] = [fake_node.FakeDetector()]
        self.detector = self.next_detectors[0]
        self.node = DetectorNode(self.middleware, self._open)

    def start(self) -> LiveNode:
        for transition in ("configure", "activate"):
            self.node.lifecycle.run(transition)
        self.detector.resets = 0
        return self

    @contextmanager
    def held(self) -> Iterator[threading.Event]:
        """Holds the detector in its next set until the context ends; gives what tells that it has begun."""
        started, release = threading.Event(), threading.Event()
        detect = self.detector.detect

        def wait(frame: Any) -> Any:
            started.set()
            assert release.wait(60)
            return detect(frame)

        self.detector.detect = wait
        try:
            yield started
        finally:
            release.set()
            self.detector.detect = detect

    def _open(self, path: Path | None, device: str) -> Any:
        self.opened.append((path, device))
        if isinstance(self.next_detectors[0], Exception):
            raise self.next_detectors.pop(0)
        return self.next_detectors.pop(0)

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
            self.middleware.poll()
            self.middleware.run(self.assembled - before)
            self.middleware.clock += int(seconds * 5e8)

    def report(self) -> dict[str, dict[str, str]]:
        """The diagnostics as they would be published now: values by status name."""
        self.node.publish_report()
        statuses = self.middleware.published[topics.DIAGNOSTICS][-1].status
        return {
            status.name.removeprefix("semlt3d: "): {
                "level": str(status.level),
                "message": status.message,
                **{value.key: value.value for value in status.values},
            }
            for status in statuses
        }


@pytest.fixture
def live_node(fake_node: ModuleType, recording: Any) -> Iterator[Callable[..., LiveNode]]:
    """Makes nodes, and closes them afterwards."""
    made: list[LiveNode] = []

    def make(start: bool = True, **parameters: Any) -> LiveNode:
        made.append(LiveNode(fake_node, recording, **parameters))
        return made[-1].start() if start else made[-1]

    yield make
    for node in made:
        assert node.node.close()


@pytest.fixture
def versions(tmp_path: Path, small_student: Callable[[int], Path]) -> SimpleNamespace:
    """A model folder in which ``old`` runs; ``kinds`` says what others do."""
    from semlt3d_ros.adaptation.models import ModelStore  # imports torch

    store = ModelStore(tmp_path / "models")
    old, new, newer = (store.add(small_student(seed), {}).name for seed in (1, 2, 3))
    store.promote(old)
    store.confirm()

    def kinds(**by_seed: str) -> None:
        names = {"new": new, "newer": newer, "old": old}
        (store.folder / "kinds.json").write_text(json.dumps({names[name]: kind for name, kind in by_seed.items()}))

    kinds()
    return SimpleNamespace(store=store, old=old, new=new, newer=newer, kinds=kinds)


@pytest.fixture
def memory(recording: Any) -> Callable[..., MemoryMiddleware]:
    """Makes middlewares without a network, of parameters as ``name:=value``."""
    return lambda *overrides: MemoryMiddleware(recording.start, *overrides)

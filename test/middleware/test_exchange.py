"""Messages between two processes, over sockets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rosbags.interfaces import Nodetype

from semlt3d_ros.messages.typestore import deserialize, message_class, serialize, type_store
from semlt3d_ros.middleware.port import LATCHED, Middleware, QoS

Join = Callable[..., Middleware]
Peer = Callable[[dict], None]

TYPES = (
    "builtin_interfaces/msg/Time",
    "diagnostic_msgs/msg/DiagnosticArray",
    "nav_msgs/msg/Odometry",
    "rosgraph_msgs/msg/Clock",
    "semlt3d_ros/msg/LongTailDetectionArray",
    "sensor_msgs/msg/CameraInfo",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/PointCloud2",
    "std_msgs/msg/Empty",
    "std_msgs/msg/String",
    "tf2_msgs/msg/TFMessage",
    "vision_msgs/msg/Detection3DArray",
    "visualization_msgs/msg/MarkerArray",
)
DEEP = QoS(depth=100)
_TEXTS = ("", "a", "câmera", "x" * 300)


def random_message(type_name: str, random: np.random.Generator) -> Any:
    """A message with random content in every field."""
    _, fields = type_store().fielddefs[type_name]
    return message_class(type_name)(**{name: _value(description, random) for name, description in fields})


def _value(description: Any, random: np.random.Generator) -> Any:
    kind, detail = description
    if kind == Nodetype.NAME:
        return random_message(detail, random)
    if kind == Nodetype.BASE:
        return _base_value(detail[0], random)
    element, count = detail
    length = count if kind == Nodetype.ARRAY else int(random.integers(0, 4))
    if element[0] == Nodetype.BASE and element[1][0] not in ("string", "bool"):
        kind_of_number = {"byte": "uint8", "char": "uint8", "octet": "uint8"}.get(element[1][0], element[1][0])
        return (100 * random.random(length)).astype(kind_of_number)
    return [_value(element, random) for _ in range(length)]


def _base_value(name: str, random: np.random.Generator) -> Any:
    if name == "string":
        return _TEXTS[random.integers(len(_TEXTS))]
    if name == "bool":
        return bool(random.integers(2))
    if name.startswith("float"):
        return float(np.float32(random.normal()))
    return int(random.integers(0, 100))


def test_every_type_arrives_byte_for_byte(join: Join, peer: Peer) -> None:
    topics = {f"/echo/t{number}": type_name for number, type_name in enumerate(TYPES)}
    peer({"echo": topics})
    middleware = join()
    random = np.random.default_rng(1)
    sent: dict[str, list[bytes]] = {}
    received: dict[str, list[bytes]] = {topic: [] for topic in topics}
    publishers = []
    subscriptions = []
    for topic, type_name in topics.items():
        publishers.append(middleware.create_publisher(topic, type_name, DEEP))
        take = received[topic].append
        subscriptions.append(
            middleware.create_subscription(
                topic + "_back", type_name, lambda data, _, take=take: take(data), DEEP, raw=True
            )
        )
    assert middleware.spin(lambda: all(end.matched for end in (*publishers, *subscriptions)), 60)
    for publisher in publishers:
        messages = [random_message(publisher.type_name, random) for _ in range(5)]
        sent[publisher.topic] = [serialize(message, publisher.type_name) for message in messages]
        for message in messages:
            publisher.publish(message)
    assert middleware.spin(lambda: all(len(data) == 5 for data in received.values()), 60)
    for topic, type_name in topics.items():
        for before, after in zip(sent[topic], received[topic], strict=True):
            assert after[: len(before)] == before
            assert len(after) - len(before) < 4  # DDS pads to four bytes
            assert serialize(deserialize(after, type_name), type_name) == before


def test_six_cameras_with_large_images_arrive_complete(join: Join, peer: Peer) -> None:
    sizes = {f"/camera{number}": 200_000 + number for number in range(6)}
    rounds = 20
    middleware = join()
    received: dict[str, list[int]] = {topic: [] for topic in sizes}

    def check(topic: str, message: Any) -> None:
        number = message.header.stamp.nanosec
        assert len(message.data) == sizes[topic]
        assert (message.data == number % 256).all()
        received[topic].append(number)

    for topic in sizes:
        middleware.create_subscription(
            topic, "sensor_msgs/msg/CompressedImage", lambda message, _, topic=topic: check(topic, message)
        )
    peer({"flood": list(sizes.items()), "count": rounds, "period_s": 0.1})
    assert middleware.spin(lambda: sum(map(len, received.values())) == rounds * len(sizes), 60)
    assert all(numbers == list(range(rounds)) for numbers in received.values())
    assert not middleware.errors


def test_latched_messages_reach_those_who_come_late(join: Join) -> None:
    early = join("early")
    publisher = early.create_publisher("/latched", "std_msgs/msg/String", LATCHED)
    for text in ("first", "second"):
        publisher.publish(message_class("std_msgs/msg/String")(data=text))
    received = []
    late = join("late")
    late.create_subscription(
        "/latched", "std_msgs/msg/String", lambda message, _: received.append(message.data), LATCHED
    )
    assert late.spin(lambda: len(received) == 2, 60)
    assert received == ["first", "second"]


def test_reliable_publisher_reaches_a_best_effort_subscriber(join: Join, peer: Peer) -> None:
    peer({"echo": {"/best": "std_msgs/msg/String"}})
    middleware = join()
    received = []
    publisher = middleware.create_publisher("/best", "std_msgs/msg/String")
    middleware.create_subscription(
        "/best_back", "std_msgs/msg/String", lambda message, _: received.append(message.data), QoS(reliable=False)
    )
    assert middleware.spin(lambda: publisher.matched > 0, 60)
    middleware.create_timer(0.05, lambda: publisher.publish(message_class("std_msgs/msg/String")(data="hello")))
    assert middleware.spin(lambda: "hello" in received, 60)


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [
        (
            ["/mismatch_a", "std_msgs/msg/String", {"reliable": False}],
            QoS(),
            "offers (best_effort, volatile) but the subscription requests (reliable, volatile)",
        ),
        (
            ["/mismatch_b", "std_msgs/msg/String", {}],
            LATCHED,
            "offers (reliable, volatile) but the subscription requests (reliable, transient_local)",
        ),
        (["/mismatch_c", "std_msgs/msg/Empty", {}], QoS(), "publisher of type std_msgs/msg/Empty cannot be matched"),
    ],
)
def test_endpoints_that_cannot_match_are_named(
    join: Join, peer: Peer, caplog: pytest.LogCaptureFixture, theirs: list, ours: QoS, words: str
) -> None:
    peer({"publish": [theirs]})
    middleware = join()
    with caplog.at_level(logging.WARNING, logger="test"):
        subscription = middleware.create_subscription(theirs[0], "std_msgs/msg/String", lambda *_: None, ours)
        assert middleware.spin(lambda: words in caplog.text, 60)
    assert f"topic {theirs[0]}: " in caplog.text
    assert subscription.matched == 0


def test_leaving_is_noticed(join: Join) -> None:
    staying, leaving = join("staying"), join("leaving")
    publisher = staying.create_publisher("/leaving", "std_msgs/msg/String")
    leaving.create_subscription("/leaving", "std_msgs/msg/String", lambda *_: None)
    assert staying.spin(lambda: publisher.matched == 1, 60)
    leaving.shutdown()
    assert staying.spin(lambda: publisher.matched == 0, 60)

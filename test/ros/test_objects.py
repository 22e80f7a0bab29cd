"""Autoware's objects, received with the classes of Autoware's own package."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode_objects import LABELS
from semlt3d_ros.messages.typestore import type_store
from semlt3d_ros.middleware.port import QoS
from semlt3d_ros.nodes.objects_file import CLASSES

messages = pytest.importorskip("autoware_perception_msgs.msg")
rclpy = pytest.importorskip("rclpy")


class Subscriber:
    """A plain node of rclpy, as Autoware's are."""

    def __init__(self, domain: int) -> None:
        self.received: list[Any] = []
        self._context = rclpy.context.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node("tracker", context=self._context)
        self._node.create_subscription(messages.DetectedObjects, topics.OBJECTS, self.received.append, 1)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def poll(self) -> list[Any]:
        self._executor.spin_once(timeout_sec=0)
        return self.received

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.mark.parametrize("name", ["DetectedObject", "DetectedObjectKinematics", "DetectedObjects", "Shape"])
def test_our_definitions_are_those_of_the_installed_package(name: str) -> None:
    ours = {field for field, _ in type_store().fielddefs[f"autoware_perception_msgs/msg/{name}"][1]}
    assert ours == set(getattr(messages, name).get_fields_and_field_types())
    assert {label: getattr(messages.ObjectClassification, label) for label in LABELS} == LABELS


def test_a_graph_sees_the_type_and_hash_of_the_installed_package(
    graph: Any, detector: Callable[..., Any], ros2: Callable[..., str]
) -> None:
    detector()
    graph.until(lambda: graph.value("lifecycle", "state") == "active")
    subscriber = Subscriber(graph.middleware._context.get_domain_id())
    try:
        graph.until(lambda: subscriber.poll() or True)
        told = ros2("topic", "info", "-v", topics.OBJECTS)
    finally:
        subscriber.close()
    hashes = {line.split()[-1] for line in told.splitlines() if "hash" in line}
    assert told.count("Endpoint type: PUBLISHER") == told.count("Endpoint type: SUBSCRIPTION") == 1, told
    assert len(hashes) <= 1, told  # Humble tells none


def test_objects_reach_a_subscriber_of_autowares_own_classes(graph: Any, detector: Callable[..., Any]) -> None:
    detector()
    graph.until(lambda: graph.value("lifecycle", "state") == "active")
    detections: list[Any] = []
    graph.listen(topics.DETECTIONS, topics.DETECTION_3D_TYPE, detections.append)
    subscriber = Subscriber(graph.middleware._context.get_domain_id())
    try:
        graph.send(*graph.recording.static_messages())
        for _ in range(40):
            graph.drive(1)
            if subscriber.poll() and detections:
                break
        graph.until(subscriber.poll)
        message = subscriber.received[-1]
    finally:
        subscriber.close()
    assert message.header.frame_id == topics.BASE_FRAME and message.objects
    by_stamp = {item.header.stamp.nanosec: item for item in detections}
    others = by_stamp[message.header.stamp.nanosec].detections
    assert len(message.objects) == len(others)
    for item, other in zip(message.objects, others, strict=True):
        best = other.results[0].hypothesis
        assert item.existence_probability == pytest.approx(best.score, abs=1e-6)
        assert LABELS[CLASSES[best.class_id]] in [entry.label for entry in item.classification]
        assert sum(entry.probability for entry in item.classification) == pytest.approx(1.0, abs=1e-5)
        position = item.kinematics.pose_with_covariance.pose.position
        assert (position.x, position.y, position.z) == (
            other.bbox.center.position.x,
            other.bbox.center.position.y,
            other.bbox.center.position.z,
        )
        assert item.shape.type == messages.Shape.BOUNDING_BOX and item.shape.dimensions.x == other.bbox.size.x
        assert item.kinematics.has_position_covariance and item.kinematics.has_twist
        assert all(map(math.isfinite, item.kinematics.pose_with_covariance.covariance))


def test_ros2_topic_echo_shows_them(graph: Any, detector: Callable[..., Any], ros_environment: dict[str, str]) -> None:
    detector()
    graph.until(lambda: graph.value("lifecycle", "state") == "active")
    graph.send(*graph.recording.static_messages())
    echo = subprocess.Popen(
        ["ros2", "topic", "echo", "--once", topics.OBJECTS, topics.OBJECTS_TYPE],
        env=ros_environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(100):
        graph.drive(1)
        if echo.poll() is not None:
            break
    said, _ = echo.communicate(timeout=10)
    for words in ("existence_probability:", "classification:", "orientation_availability: 1", "has_twist: true"):
        assert words in said


def test_the_node_without_ros_offers_them_too(graph: Any) -> None:
    """By its definition; a node on DDS is none of rclpy's."""
    from semlt3d_ros.middleware.dds import DdsMiddleware
    from semlt3d_ros.middleware.dds_types import type_hash

    domain = graph.middleware._context.get_domain_id()
    other = DdsMiddleware("without_ros", domain)
    subscriber = Subscriber(domain)
    try:
        publisher = other.create_publisher(topics.OBJECTS, topics.OBJECTS_TYPE, QoS(1))
        objects = other.types(topics.OBJECTS_TYPE)
        header = other.types("std_msgs/msg/Header")(
            stamp=other.types("builtin_interfaces/msg/Time")(sec=7, nanosec=8), frame_id="base_link"
        )
        graph.until(lambda: subscriber.poll() or publisher.matched)
        publisher.publish(objects(header=header, objects=[]))
        graph.until(subscriber.poll)
        infos = subscriber._node.get_publishers_info_by_topic(topics.OBJECTS)
    finally:
        subscriber.close()
        other.shutdown()
    assert subscriber.received[0].header.stamp.nanosec == 8
    hashes = [str(info.topic_type_hash) for info in infos if hasattr(info, "topic_type_hash")]
    assert all(type_hash(topics.OBJECTS_TYPE).removeprefix("RIHS01_") in text for text in hashes), hashes

"""Finds what goes wrong silently in a ROS 2 graph: endpoints that never match, and two nodes of one name."""

from __future__ import annotations

import logging
from typing import Any

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from semlt3d_ros.middleware.mismatch import mismatch
from semlt3d_ros.middleware.port import QoS


class GraphWatch:
    """Looks at the graph from time to time; warns once about each fault.

    rmw's own events tell neither who does not match nor why, and another type not at all on every distribution.
    """

    def __init__(self, node: Any, logger: logging.Logger) -> None:
        self._node = node
        self._logger = logger
        self._subscribed: dict[str, tuple[str, QoS]] = {}
        self._published: dict[str, tuple[str, QoS]] = {}
        self._warned: set[str] = set()

    def add_subscription(self, topic: str, type_name: str, qos: QoS) -> None:
        """Watch the publishers of a topic that is subscribed to."""
        self._subscribed[topic] = (type_name, qos)

    def forget_subscription(self, topic: str) -> None:
        """Watch a topic's publishers no longer."""
        self._subscribed.pop(topic, None)

    def add_publisher(self, topic: str, type_name: str, qos: QoS) -> None:
        """Watch the subscriptions of a topic that is published."""
        self._published[topic] = (type_name, qos)

    def publishers(self, topic: str) -> int:
        """Number of publishers that match our subscription of a topic."""
        ours = self._subscribed.get(topic)
        if ours is None:
            return 0
        return sum(not mismatch(topic, True, ours, _theirs(info)) for info in self._publishers_of(topic))

    def check(self) -> None:
        """Compare with everything that is in the graph now."""
        for topic, ours in self._subscribed.items():
            for info in self._publishers_of(topic):
                self._warn(mismatch(topic, True, ours, _theirs(info), _who(info)))
        for topic, ours in self._published.items():
            for info in self._node.get_subscriptions_info_by_topic(topic):
                self._warn(mismatch(topic, False, ours, _theirs(info), _who(info)))
        own = (self._node.get_name(), self._node.get_namespace())
        if self._node.get_node_names_and_namespaces().count(own) > 1:
            name = self._node.get_fully_qualified_name()
            self._warn(
                f"there is another node called {name}: its topics, services and parameters mix with ours; "
                "give one of them another name (launch argument name, or -r __node:=NAME)"
            )

    def _publishers_of(self, topic: str) -> list[Any]:
        return self._node.get_publishers_info_by_topic(topic)

    def _warn(self, text: str) -> None:
        if text and text not in self._warned:
            self._warned.add(text)
            self._logger.warning("%s", text)


def _theirs(info: Any) -> tuple[str, QoS]:
    profile = info.qos_profile
    return info.topic_type, QoS(
        reliable=profile.reliability == ReliabilityPolicy.RELIABLE,
        transient_local=profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )


def _who(info: Any) -> str:
    """The node's name; empty for an endpoint of plain DDS, which belongs to none."""
    return "" if info.node_name.startswith("_") else f"{info.node_namespace.rstrip('/')}/{info.node_name}"

"""Finds endpoints that use our topics but can never match: another type, or a QoS that does not fit."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
    DcpsEndpoint,
)
from cyclonedds.core import InstanceState, Policy, Qos, ReadCondition, SampleState, ViewState
from cyclonedds.domain import DomainParticipant

from semlt3d_ros.middleware.dds_types import dds_topic_name, ros_type_name
from semlt3d_ros.middleware.mismatch import mismatch
from semlt3d_ros.middleware.port import QoS

_ANY = SampleState.Any | ViewState.Any | InstanceState.Alive
_BATCH = 100
_REMEMBERED = 1000


class MismatchWatch:
    """Warns once about each remote endpoint that cannot be matched, naming both sides and what to change.

    Attributes:
        conditions: become triggered when there is something to ``check``.
    """

    def __init__(self, participant: DomainParticipant, logger: logging.Logger) -> None:
        self._logger = logger
        self._publishers = BuiltinDataReader(participant, BuiltinTopicDcpsPublication)
        self._subscribers = BuiltinDataReader(participant, BuiltinTopicDcpsSubscription)
        self.conditions = [ReadCondition(reader, _ANY) for reader in (self._publishers, self._subscribers)]
        self._subscribed: dict[str, tuple[str, str, QoS]] = {}
        self._published: dict[str, tuple[str, str, QoS]] = {}
        self._known: deque[tuple[DcpsEndpoint, bool]] = deque(maxlen=_REMEMBERED)

    def add_subscription(self, topic: str, type_name: str, qos: QoS) -> None:
        """Watch the publishers of a topic that is subscribed to."""
        self._subscribed[dds_topic_name(topic)] = (topic, type_name, qos)
        self._compare_known(dds_topic_name(topic))

    def add_publisher(self, topic: str, type_name: str, qos: QoS) -> None:
        """Watch the subscriptions of a topic that is published."""
        self._published[dds_topic_name(topic)] = (topic, type_name, qos)
        self._compare_known(dds_topic_name(topic))

    def check(self) -> None:
        """Compare the endpoints that were discovered since the last call."""
        for reader, publishes in ((self._publishers, True), (self._subscribers, False)):
            for endpoint in reader.take(N=_BATCH):
                if not isinstance(endpoint, DcpsEndpoint):
                    continue
                self._known.append((endpoint, publishes))
                self._compare(endpoint, publishes)

    def _compare_known(self, dds_topic: str) -> None:
        for endpoint, publishes in self._known:
            if endpoint.topic_name == dds_topic:
                self._compare(endpoint, publishes)

    def _compare(self, endpoint: DcpsEndpoint, publishes: bool) -> None:
        ours = (self._subscribed if publishes else self._published).get(endpoint.topic_name)
        if ours is None:
            return
        topic, type_name, qos = ours
        theirs = (ros_type_name(endpoint.type_name), _qos_of(endpoint.qos))
        fault = mismatch(topic, publishes, (type_name, qos), theirs)
        if fault:
            self._logger.warning("%s", fault)


def _qos_of(qos: Qos) -> QoS:
    reliability: Any = qos[Policy.Reliability]
    durability: Any = qos[Policy.Durability]
    return QoS(
        reliable=not isinstance(reliability, type(Policy.Reliability.BestEffort)),
        transient_local=not isinstance(durability, type(Policy.Durability.Volatile)),
    )

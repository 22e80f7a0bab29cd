"""The port on DDS, without ROS: Cyclone DDS with ROS 2's names and types, so that a ROS 2 graph sees our topics."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.messages.typestore import MessageTypes, deserialize, message_class, serialize
from semlt3d_ros.middleware.port import RELIABLE, Accept, Answer, Callback, P, QoS

try:
    from cyclonedds.core import (
        DDSException,
        GuardCondition,
        InstanceState,
        ReadCondition,
        SampleState,
        ViewState,
        WaitSet,
    )
    from cyclonedds.internal import InvalidSample
    from cyclonedds.pub import DataWriter
    from cyclonedds.sub import DataReader
    from cyclonedds.topic import Topic
except ImportError as error:
    raise ConfigurationError(
        "talking DDS without ROS needs the cyclonedds wheel; install it with: pip install 'semlt3d_ros[dds]'"
    ) from error

from semlt3d_ros.middleware.dds_domain import (
    checked_domain_id,
    create_participant,
    domain_id_from_environment,
    reader_qos,
    writer_qos,
)
from semlt3d_ros.middleware.dds_graph import MismatchWatch
from semlt3d_ros.middleware.dds_types import dds_topic_name, dds_type
from semlt3d_ros.middleware.guard import CallbackGuard
from semlt3d_ros.middleware.names import resolve_name
from semlt3d_ros.middleware.topic_requests import TopicParameters, serve_trigger

_LONGEST_WAIT_S = 0.2
"""Python runs signal handlers only between waits."""
_ANY_SAMPLE = SampleState.Any | ViewState.Any | InstanceState.Any


class DdsPublisher:
    """See ``port.Publisher``."""

    def __init__(self, writer: DataWriter, topic: str, type_name: str, logger: logging.Logger) -> None:
        self.topic = topic
        self.type_name = type_name
        self._writer: DataWriter | None = writer
        self._logger = logger

    def publish(self, message: Any) -> None:
        """See the port."""
        if self._writer is None:
            raise RuntimeError(f"topic {self.topic}: the publisher is closed")
        data = message if isinstance(message, (bytes, memoryview)) else serialize(message, self.type_name)
        try:
            self._writer.write(dds_type(self.type_name)(bytes(data)))
        except DDSException as error:
            if error.code == DDSException.DDS_RETCODE_BAD_PARAMETER:
                raise InputRejected(
                    "corrupt_message", f"topic {self.topic}: {len(data)} bytes are not a {self.type_name}"
                ) from error
            if error.code != DDSException.DDS_RETCODE_TIMEOUT:
                raise
            self._logger.warning("topic %s: a message is lost, the subscriber has not kept up for 1 s", self.topic)

    @property
    def matched(self) -> int:
        """Number of matched subscriptions."""
        return self._writer.get_publication_matched_status().current_count if self._writer is not None else 0

    def close(self) -> None:
        """See the port."""
        self._writer = None


class DdsSubscription:
    """See ``port.Subscription``."""

    def __init__(
        self,
        reader: DataReader,
        topic: str,
        type_name: str,
        callback: Callback,
        depth: int,
        raw: bool,
    ) -> None:
        self.topic = topic
        self.type_name = type_name
        self.dropped: Counter[str] = Counter()
        self.condition = ReadCondition(reader, _ANY_SAMPLE)
        self._reader = reader
        self._callback = callback
        self._depth = depth
        self._raw = raw
        self._pending: deque[tuple[int, int, bytes]] = deque()
        self.closed = False

    @property
    def matched(self) -> int:
        """Number of matched publishers."""
        return 0 if self.closed else len(self._reader.get_matched_publications())

    def close(self) -> None:
        """See the port; it leaves the graph before the executor waits again."""
        self.closed = True
        self._pending.clear()

    def release(self) -> None:
        """Delete the reader; nothing but ``matched`` and ``dropped`` may be used afterwards."""
        del self.condition, self._reader

    @property
    def oldest(self) -> int | None:
        """Source time of the oldest message that waits to be handled, nanoseconds; None when none waits."""
        return self._pending[0][0] if self._pending else None

    def collect(self) -> None:
        """Take what has arrived; more than ``depth`` waiting messages push out the oldest."""
        received = time.time_ns()
        for sample in self._reader.take(N=4 * self._depth + 20):
            if not isinstance(sample, InvalidSample):
                self._pending.append((sample.sample_info.source_timestamp, received, sample.data))
        while len(self._pending) > self._depth:
            self._pending.popleft()
            self.dropped["overflow"] += 1
        lost = self._reader.get_sample_lost_status().total_count
        if lost:
            self.dropped["lost"] = lost

    def handle_oldest(self) -> None:
        """Call back with the oldest waiting message; raises what the callback raises."""
        _, received, data = self._pending.popleft()
        if self._raw:
            self._callback(data, received)
            return
        try:
            message = deserialize(data, self.type_name)
        except InputRejected as error:
            self.dropped["malformed"] += 1
            raise InputRejected(error.reason, f"topic {self.topic}: {error}") from error
        self._callback(message, received)


class DdsTimer:
    """See ``port.Timer``."""

    def __init__(self, period_s: float, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.period_s = period_s
        self.next_time = time.monotonic() + period_s
        self.cancelled = False

    def cancel(self) -> None:
        """No further calls."""
        self.cancelled = True


class DdsMiddleware:
    """A DDS participant with a single-threaded executor; see ``port.Middleware``.

    Messages that wait are handled in the order in which they were published, over all topics.

    Args:
        name: the node's name.
        domain_id: the ROS domain; None takes ROS_DOMAIN_ID, or 0.
        parameter_files: parameters in ROS 2's YAML form; later files win.
        parameter_overrides: ``name:=value`` texts; they win over files.

    Attributes:
        errors: exceptions that left callbacks, by exception class.

    Raises:
        ConfigurationError: the domain or the network settings are not usable.
    """

    def __init__(
        self,
        name: str,
        domain_id: int | None = None,
        parameter_files: Iterable[Path] = (),
        parameter_overrides: Iterable[str] = (),
    ) -> None:
        self.types: MessageTypes = message_class
        self.node_name = name
        self._parameter_input = tuple(parameter_files), tuple(parameter_overrides)
        self.logger = logging.getLogger(name)
        self.domain_id = domain_id_from_environment() if domain_id is None else checked_domain_id(domain_id)
        self._guarded = CallbackGuard(self.logger)
        self.errors = self._guarded.errors
        try:
            self._participant = create_participant(self.domain_id)
        except DDSException as error:
            raise ConfigurationError(
                f"cannot join ROS domain {self.domain_id}: {error}; check CYCLONEDDS_URI, or take another ROS_DOMAIN_ID"
            ) from error
        self._waitset = WaitSet(self._participant)
        self._wake = GuardCondition(self._participant)
        self._waitset.attach(self._wake)
        self._watch = MismatchWatch(self._participant, self.logger)
        for condition in self._watch.conditions:
            self._waitset.attach(condition)
        self._topics: dict[tuple[str, str], Topic] = {}
        self._publishers: list[DdsPublisher] = []
        self._subscriptions: list[DdsSubscription] = []
        self._timers: list[DdsTimer] = []
        self._soon: deque[Callable[[], None]] = deque()
        self._stopped = False

    def create_publisher(self, topic: str, type_name: str, qos: QoS = RELIABLE) -> DdsPublisher:
        """See the port."""
        topic = resolve_name(topic, self.node_name)
        writer = DataWriter(self._participant, self._topic(topic, type_name), writer_qos(qos, type_name))
        self._watch.add_publisher(topic, type_name, qos)
        publisher = DdsPublisher(writer, topic, type_name, self.logger)
        # A writer leaves the graph when it is collected; it shall live as long as the middleware.
        self._publishers.append(publisher)
        return publisher

    def create_subscription(
        self, topic: str, type_name: str, callback: Callback, qos: QoS = RELIABLE, raw: bool = False
    ) -> DdsSubscription:
        """See the port."""
        topic = resolve_name(topic, self.node_name)
        reader = DataReader(self._participant, self._topic(topic, type_name), reader_qos(qos, type_name))
        subscription = DdsSubscription(reader, topic, type_name, callback, qos.depth, raw)
        self._waitset.attach(subscription.condition)
        self._subscriptions.append(subscription)
        self._watch.add_subscription(topic, type_name, qos)
        return subscription

    def create_trigger(self, name: str, callback: Callable[[Answer], None]) -> None:
        """See the port: as a pair of topics, ``<name>/request`` and ``<name>/result``."""
        serve_trigger(self, name, callback)

    def declare_parameters(self, kind: type[P], accept: Accept[P]) -> TopicParameters[P]:
        """See the port: read from files and overrides, changed over ``~/set_parameter``."""
        return TopicParameters(self, kind, accept, *self._parameter_input)

    def create_timer(self, period_s: float, callback: Callable[[], None]) -> DdsTimer:
        """See the port."""
        timer = DdsTimer(period_s, callback)
        self._timers.append(timer)
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See the port."""
        self._soon.append(callback)
        self._wake.set(True)

    def now(self) -> int:
        """See the port."""
        return time.time_ns()

    def stamp(self) -> int:
        """The wall clock: DDS alone has no simulated time."""
        return time.time_ns()

    def spin(self, until: Callable[[], bool] | None = None, timeout_s: float | None = None) -> bool:
        """See the port."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._stopped:
            if until is not None and until():
                return True
            remaining = _LONGEST_WAIT_S if end is None else end - time.monotonic()
            if remaining <= 0:
                return False
            self._step(min(remaining, _LONGEST_WAIT_S))
        return until is not None and until()

    @property
    def stopped(self) -> bool:
        """See the port."""
        return self._stopped

    def stop(self) -> None:
        """See the port."""
        # A flag and no Event, whose lock a signal handler could find held by the code that it interrupts.
        self._stopped = True
        self._wake.set(True)

    def shutdown(self) -> None:
        """See the port."""
        self._stopped = True
        self._publishers.clear()
        self._subscriptions.clear()
        self._timers.clear()
        self._topics.clear()
        # Deleting the participant deletes every entity below it, and tells the other side at once.
        participant, self._participant = self._participant, None
        if participant is not None:
            del self._waitset, self._wake, self._watch
            participant._delete(participant._ref)

    def _topic(self, topic: str, type_name: str) -> Topic:
        key = (topic, type_name)
        if key not in self._topics:
            self._topics[key] = Topic(self._participant, dds_topic_name(topic), dds_type(type_name))
        return self._topics[key]

    def _step(self, longest_s: float) -> None:
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        self._release_closed()
        busy = bool(self._soon) or any(subscription.oldest is not None for subscription in self._subscriptions)
        due_s = min((timer.next_time - time.monotonic() for timer in self._timers), default=longest_s)
        self._waitset.wait(0 if busy else int(1e9 * min(max(due_s, 0.0), longest_s)))
        self._wake.take()
        # An answer that is ready goes first: looking at every reader takes half a millisecond.
        while self._soon:
            self._guarded(self._soon.popleft())
        self._watch.check()
        for subscription in self._subscriptions:
            subscription.collect()
        for timer in self._timers:
            if time.monotonic() >= timer.next_time and not timer.cancelled:
                timer.next_time = time.monotonic() + timer.period_s
                self._guarded(timer.callback)
        waiting = [subscription for subscription in self._subscriptions if subscription.oldest is not None]
        if waiting:
            self._guarded(min(waiting, key=lambda subscription: subscription.oldest or 0).handle_oldest)

    def _release_closed(self) -> None:
        for subscription in [subscription for subscription in self._subscriptions if subscription.closed]:
            self._subscriptions.remove(subscription)
            self._waitset.detach(subscription.condition)
            subscription.release()

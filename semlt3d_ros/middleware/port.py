"""The port between nodes and a middleware: publishers, subscriptions, timers, a clock, and one executor.

All callbacks of one middleware object (subscriptions, timers, triggers, parameters, ``call_soon``) run one after the
other on the thread that calls ``spin``, as in a single-threaded ROS 2 executor, so a node needs no locks for what only
its callbacks touch. Only ``publish``, ``call_soon``, ``stop``, ``now``, ``stamp`` and an ``Answer`` may be called from
other threads.

Names are ROS 2's: absolute (``/camera/image``), relative to the node's namespace (``image``), or private to the node
(``~/image``).

An exception that leaves a callback is logged with its traceback and counted by the adapter; it never ends ``spin``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from semlt3d_ros.messages.typestore import MessageTypes


@dataclass(frozen=True)
class QoS:
    """The quality of service of one endpoint, by ROS 2's names.

    Attributes:
        depth: messages kept (history is always keep last). A subscription that is served too slowly drops its oldest
            messages and counts them as ``"overflow"``.
        reliable: RELIABLE, else BEST_EFFORT. A reliable subscription does not match a best-effort publisher.
        transient_local: late subscribers get the last ``depth`` messages. A transient-local subscription does not match
            a volatile publisher.
    """

    depth: int = 10
    reliable: bool = True
    transient_local: bool = False

    def __str__(self) -> str:
        durability = "transient_local" if self.transient_local else "volatile"
        return f"{'reliable' if self.reliable else 'best_effort'}, {durability}"


P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)

RELIABLE = QoS()
"""What nodes publish and subscribe with unless there is a reason not to."""

LATCHED = QoS(depth=100, transient_local=True)
"""What /tf_static uses: everybody gets everything, however late."""

SENSOR_DATA = QoS(depth=5, reliable=False)
"""What cameras are subscribed with: it matches publishers of either reliability."""


Callback = Callable[[Any, int], None]
"""Takes a message (or its CDR bytes) and the time it was received, nanoseconds of ``Middleware.now``."""

Answer = Callable[[bool, str], None]
"""Answers a trigger, once and from any thread: whether it succeeded, and one line that says what came of it."""

Accept = Callable[[P, frozenset[str]], None]
"""Takes all parameters as they would be and the names of those that change; raises ``ConfigurationError`` to refuse."""


class Publisher(Protocol):
    """Publishes messages of one type on one topic."""

    topic: str
    type_name: str

    def publish(self, message: Any) -> None:
        """Publish a message object, or its CDR serialisation as bytes. May be called from any thread.

        Bytes are checked, unless this package has written them (``Serialized``).

        Raises:
            InputRejected: ``corrupt_message``: the bytes are not a message of the topic's type.
        """

    @property
    def matched(self) -> int:
        """Number of subscriptions that receive what is published."""

    def close(self) -> None:
        """Leave the graph; publishing is an error from now on."""


class Subscription(Protocol):
    """Receives messages of one type from one topic.

    Attributes:
        dropped: messages that did not reach the callback, by reason: ``"overflow"``, ``"malformed"``, ``"lost"``.
    """

    topic: str
    type_name: str
    dropped: Counter[str]

    @property
    def matched(self) -> int:
        """Number of publishers that are received."""

    def close(self) -> None:
        """Leave the graph: no further calls."""


class Timer(Protocol):
    """Calls back periodically until cancelled."""

    def cancel(self) -> None:
        """No further calls."""


class ParameterSource(Protocol[P_co]):
    """The node's declared parameters."""

    def read(self) -> P_co:
        """All parameters as they are.

        Raises:
            ConfigurationError: lists everything that does not fit: unknown names, wrong types, values out of range.
        """


class Middleware(Protocol):
    """One participant in the graph, with its executor.

    Attributes:
        node_name: the node's name without namespace.
        types: gives the class of a message type name, such as ``"sensor_msgs/msg/Image"``.
        logger: where the node's log lines go.
    """

    node_name: str
    types: MessageTypes
    logger: logging.Logger

    def create_publisher(self, topic: str, type_name: str, qos: QoS = RELIABLE) -> Publisher:
        """A publisher; its ``topic`` is the resolved name.

        Raises:
            TypeNotInstalledError: the package that defines the type is not installed.
        """

    def create_subscription(
        self, topic: str, type_name: str, callback: Callback, qos: QoS = RELIABLE, raw: bool = False
    ) -> Subscription:
        """Call ``callback`` with every message received: a message object, or its CDR bytes when ``raw``."""

    def create_trigger(self, name: str, callback: Callable[[Answer], None]) -> None:
        """Offer ``std_srvs/Trigger``: ``callback`` gets the means to answer, at once or later.

        Where there are no services (see the adapter) the same is offered in another form.
        """

    def declare_parameters(self, kind: type[P], accept: Accept[P]) -> ParameterSource[P]:
        """Offer the fields of a parameter dataclass (``parameters.parameter``) to be read and changed.

        Args:
            kind: the dataclass.
            accept: called with every change that fits types and ranges, before it takes effect.
        """

    def create_timer(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` every ``period_s`` seconds of real time; calls missed while busy are not made up for."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called by the executor before any further message. May be called from any thread."""

    def now(self) -> int:
        """The machine's wall clock, integer nanoseconds since 1970: for measuring."""

    def stamp(self) -> int:
        """The graph's time, integer nanoseconds: for headers. Simulated time where the node is told to use it."""

    def spin(self, until: Callable[[], bool] | None = None, timeout_s: float | None = None) -> bool:
        """Run callbacks until ``until()`` holds, ``stop`` is called or ``timeout_s`` is over.

        Returns:
            Whether ``until()`` holds; False after ``stop`` or the timeout.
        """

    @property
    def stopped(self) -> bool:
        """Whether ``stop`` was called."""

    def stop(self) -> None:
        """Make ``spin`` return, now and in future. May be called from any thread and from signal handlers."""

    def shutdown(self) -> None:
        """Leave the graph and free everything. The object is of no use afterwards."""

"""Lockstep: a player that sends the next message only when the node is done with everything before.

The node keeps publishing, on ``PROGRESS``, how many messages it has handled of each topic it listens to, as a
``diagnostic_msgs/DiagnosticStatus`` with one value per topic. It publishes only while no set is being worked on, so a
count says: this message and all that came of it are done. The player needs to know nothing about sets, cameras or
drops, and a set that is never answered cannot hold it up.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from semlt3d_ros.messages.building import byte_value
from semlt3d_ros.middleware.port import Middleware, QoS

PROGRESS = "/semlt3d/progress"
PROGRESS_TYPE = "diagnostic_msgs/msg/DiagnosticStatus"
_QOS = QoS(depth=1, transient_local=True)


class ProgressReport:
    """The node's side.

    Args:
        middleware: publishes the report.
        topics: the topics the node listens to.
    """

    def __init__(self, middleware: Middleware, topics: tuple[str, ...]) -> None:
        self._handled: Counter[str] = Counter({topic: 0 for topic in topics})
        self._status = middleware.types(PROGRESS_TYPE)
        self._value = middleware.types("diagnostic_msgs/msg/KeyValue")
        self._publisher = middleware.create_publisher(PROGRESS, PROGRESS_TYPE, _QOS)
        self.publish()

    @property
    def followed(self) -> bool:
        """Whether a player walks in lockstep with this node; then time stands still between its messages."""
        return self._publisher.matched > 0

    def handled(self, topic: str) -> None:
        """Count one message of a topic as handled."""
        self._handled[topic] += 1

    def close(self) -> None:
        """Leave the graph."""
        self._publisher.close()

    def publish(self) -> None:
        """Tell the counts."""
        values = [self._value(key=topic, value=str(count)) for topic, count in self._handled.items()]
        self._publisher.publish(
            self._status(
                level=byte_value(self._status, 0),
                name="semlt3d progress",
                message="messages handled, by topic",
                hardware_id="",
                values=values,
            )
        )


class ProgressFollower:
    """The player's side.

    Args:
        middleware: receives the reports.
        answer_timeout_s: longest wait for one message to be handled, seconds of real time.
    """

    def __init__(self, middleware: Middleware, answer_timeout_s: float) -> None:
        self._middleware = middleware
        self._answer_timeout_s = answer_timeout_s
        self._handled: dict[str, int] = {}
        self._expected: dict[str, int] = {}
        self._subscription = middleware.create_subscription(PROGRESS, PROGRESS_TYPE, self._on_progress, _QOS)

    @property
    def known(self) -> bool:
        """Whether a node has reported."""
        return bool(self._handled)

    @property
    def gone(self) -> bool:
        """Whether the node that had reported has left."""
        return self.known and self._subscription.matched == 0

    def wait_for(self, topic: str) -> bool:
        """Wait until the message just sent on a topic is handled.

        Returns:
            False when the wait took too long, the node is gone, or the middleware was stopped. Topics the node does not
            listen to need no wait.
        """
        if topic not in self._handled:
            return True
        expected = self._expected[topic] = self._expected[topic] + 1
        end = time.monotonic() + self._answer_timeout_s
        while not self.gone and not self._middleware.stopped and time.monotonic() < end:
            # The short timeout lets a node that has left be noticed.
            if self._middleware.spin(until=lambda: self._handled[topic] >= expected, timeout_s=0.5):
                return True
        self._expected[topic] = self._handled[topic]
        return False

    def _on_progress(self, message: Any, _received: int) -> None:
        self._handled = {value.key: int(value.value) for value in message.values}
        for topic, count in self._handled.items():
            self._expected.setdefault(topic, count)

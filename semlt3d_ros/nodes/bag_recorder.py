"""Writes what is published on given topics into a rosbag2, byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.messages import topics as names
from semlt3d_ros.middleware.port import LATCHED, Middleware, QoS
from semlt3d_ros.nodes.signals import ended_by_signals

_QOS = QoS(depth=200)
_FLUSH_PERIOD_S = 1.0


class BagRecorder:
    """Records from the moment it exists; the log time of a message is when it was received.

    What was received more than a second ago survives the death of the process.

    Args:
        middleware: where from.
        sink: where to.
        topics: type name of each topic.
    """

    def __init__(self, middleware: Middleware, sink: BagSink, topics: Mapping[str, str]) -> None:
        self.recorded: Counter[str] = Counter()
        self._sink = sink
        middleware.create_timer(_FLUSH_PERIOD_S, sink.flush)
        for topic, type_name in topics.items():
            qos = LATCHED if topic in (names.TF_STATIC, names.LABEL_INFO) else _QOS
            middleware.create_subscription(topic, type_name, partial(self._write, topic, type_name), qos, raw=True)

    def _write(self, topic: str, type_name: str, data: bytes, received: int) -> None:
        self._sink.write(topic, type_name, data, received)
        self.recorded[topic] += 1


def run_recorder(out: Path, topics: Mapping[str, str], domain_id: int | None = None) -> int:
    """Record from DDS until SIGINT or SIGTERM; the recording is complete, and has its name, when this returns.

    Of a recorder that was killed, all but the last second is found under the unfinished name (see ``BagSink``).

    Args:
        out: an mcap file or a folder; it must not exist.
        topics: type name of each topic.
        domain_id: the ROS domain; None takes ROS_DOMAIN_ID, or 0.

    Returns:
        0.

    Raises:
        ConfigurationError: the recording exists, or a type is not known.
    """
    from semlt3d_ros.middleware.dds import DdsMiddleware

    with ended_by_signals() as ending:
        middleware = DdsMiddleware("semlt3d_recorder", domain_id)
        try:
            ending.stop(middleware)
            with BagSink(out) as sink:
                recorder = BagRecorder(middleware, sink, topics)
                middleware.logger.info("recording %d topics into %s", len(topics), out)
                middleware.spin()
            middleware.logger.info("recorded %d messages into %s", sum(recorder.recorded.values()), out)
        finally:
            ending.ignore()
            middleware.shutdown()
    return 0

"""A running vehicle in the viewer."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_labels, decode_long_tail
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import Rig
from semlt3d_ros.viewing.rerun_sink import RerunSink
from semlt3d_ros.viewing.server import ViewerServer
from semlt3d_ros.viewing.shown import Shown, interruptible

_MOST_WAITING = 20
_REMEMBERED = 64

MessageCallback = Callable[[Any, int], None]
"""Takes a message and the time it was received."""


class LiveFrames:
    """Frames from live messages, each given out once its detections are there.

    The detector answers a frame by a message of the same stamp, some time after the frame's images. An answer to a
    later frame means that the earlier ones get none, and so does a queue that has grown too long.

    Attributes:
        rejected: messages of detections and ground truth that could not be decoded, by reason.
    """

    def __init__(self, rig: Rig) -> None:
        self._builder = FrameBuilder(rig, with_points=True)
        self._labels_topic = rig.labels_topic
        self._waiting: OrderedDict[int, Frame] = OrderedDict()
        self._found: OrderedDict[int, Detections] = OrderedDict()
        self._truth: OrderedDict[int, Labels] = OrderedDict()
        self._last_stamp = 0
        self.rejected: Counter[str] = Counter()

    @property
    def topics(self) -> dict[str, str]:
        """The topics to subscribe to, each with its type name."""
        wanted = {**self._builder.topics, topics.LONG_TAIL: topics.LONG_TAIL_TYPE}
        if self._labels_topic:
            wanted[self._labels_topic] = topics.LONG_TAIL_TYPE
        return wanted

    @property
    def drops(self) -> Counter[str]:
        """Messages and sets that made no frame, by reason."""
        return self._builder.drops + self._builder.dropped_sets + self.rejected

    def add(self, topic: str, type_name: str, message: Any) -> list[Shown]:
        """Take one message and get the frames that can be shown now, oldest first."""
        try:
            if topic == topics.LONG_TAIL:
                detections = decode_long_tail(message)
                _remember(self._found, detections.stamp, detections)
            elif topic == self._labels_topic:
                labels, stamp = decode_labels(message)
                _remember(self._truth, stamp, labels)
            else:
                self._wait(self._builder.add(topic, type_name, message))
        except InputRejected as rejection:
            self.rejected[rejection.reason] += 1
        return self._ready()

    def _wait(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.stamp < self._last_stamp:
                self._found.clear()  # a replay starts over: answers of its first round are no answers now
            self._last_stamp = frame.stamp
            self._waiting[frame.stamp] = frame

    def _ready(self) -> list[Shown]:
        ready = []
        newest_answer = max(self._found, default=0)
        while self._waiting:
            stamp = next(iter(self._waiting))
            if stamp > newest_answer and len(self._waiting) <= _MOST_WAITING:
                break
            ready.append((self._waiting.pop(stamp), self._found.pop(stamp, None), self._truth.pop(stamp, None)))
        return ready


def view_live(
    subscribe: Callable[[str, str, MessageCallback], object],
    spin: Callable[[Callable[[], bool]], object],
    rig: Rig,
    save: Path | None = None,
    score_threshold: float = 0.3,
    open_browser: bool = True,
) -> int:
    """Show what runs, until SIGINT or SIGTERM; write a recording besides if asked to.

    Args:
        subscribe: ``subscribe(topic, type_name, callback)``, of any middleware.
        spin: ``spin(until)`` runs the callbacks until ``until()`` holds.
        rig: the vehicle's cameras and topics.
        save: an ``.rrd`` file to write.
        score_threshold: detections with a lower confidence are left out.
        open_browser: open the user's browser; the address is printed in any case.

    Returns:
        The number of frames shown.

    Raises:
        ConfigurationError: rerun is not installed.
    """
    frames, count = LiveFrames(rig), 0
    with interruptible() as stop, ViewerServer() as server:
        sink = RerunSink(save, server.data_url, score_threshold)

        def callback(topic: str, type_name: str) -> MessageCallback:
            def show(message: Any, received: int) -> None:
                nonlocal count
                for shown in frames.add(topic, type_name, message):
                    sink.add(*shown)
                    count += 1

            return show

        for topic, type_name in frames.topics.items():
            subscribe(topic, type_name, callback(topic, type_name))
        print(f"viewer: {server.page_url}", flush=True)
        if open_browser:
            server.open_browser()
        try:
            spin(stop.is_set)
        finally:
            sink.close()
    print(f"{count} frames", flush=True)
    return count


def _remember(memory: OrderedDict[int, Any], stamp: int, item: Any) -> None:
    memory[stamp] = item
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)

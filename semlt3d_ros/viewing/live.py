"""A running vehicle in the viewer."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import InputRejected, Semlt3dError
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_labels, decode_long_tail, decode_sample, stamp_of
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import Rig
from semlt3d_ros.viewing.rerun_sink import RerunSink
from semlt3d_ros.viewing.server import ViewerServer
from semlt3d_ros.viewing.shown import Shown, Tell, interruptible, tell_nothing

_MOST_WAITING = 20
_REMEMBERED = 64
_POLL_S = 0.1
_ANSWER_S = 3.0
"""Longest wait for an answer. A detector that is slower than that is not watched live."""

MessageCallback = Callable[[Any, int], None]
"""Takes a message and the time it was received."""


class LiveFrames:
    """Frames from live messages, each given out once its detections are there.

    The detector answers a frame by a message of the same stamp, some time after the frame's images. An answer to a
    later frame means that the earlier ones get none, and so does a queue that has grown too long, a wait of three
    seconds, or that there is no detector.

    Attributes:
        faults: what was wrong with messages of detections and ground truth.
    """

    def __init__(self, rig: Rig) -> None:
        self._builder = FrameBuilder(rig, with_points=True)
        self._labels_topic = rig.labels_topic
        self._waiting: OrderedDict[int, Frame] = OrderedDict()
        self._waiting_since: dict[int, int] = {}
        self._found: OrderedDict[int, Detections] = OrderedDict()
        self._truth: OrderedDict[int, Labels] = OrderedDict()
        self._regions: OrderedDict[int, LabelledRegion] = OrderedDict()
        self._last_stamp = 0
        self.faults = FaultLog()

    @property
    def topics(self) -> dict[str, str]:
        """The topics to subscribe to, each with its type name."""
        wanted = {**self._builder.topics, topics.LONG_TAIL: topics.LONG_TAIL_TYPE}
        if self._labels_topic:
            wanted[self._labels_topic] = topics.LONG_TAIL_TYPE
            wanted[topics.TRUTH_SAMPLE] = topics.SAMPLE_TYPE
        return wanted

    @property
    def rejected(self) -> Counter[str]:
        """What of detections and ground truth could not be used, by reason."""
        return sum((Counter({fault.reason: fault.count}) for fault in self.faults), Counter())

    @property
    def drops(self) -> Counter[str]:
        """Messages and sets that made no frame, by reason."""
        return self._builder.drops + self._builder.dropped_sets + self.rejected

    @property
    def all_faults(self) -> list[Fault]:
        """What was wrong with messages of all kinds."""
        return [*self._builder.faults, *self.faults]

    def add(self, topic: str, type_name: str, message: Any) -> list[Shown]:
        """Take one message and get the frames that can be shown now, oldest first."""
        if topic == topics.LONG_TAIL:
            detections = decode_long_tail(message, self.faults, topic)
            _remember(self._found, detections.stamp, detections)
        elif topic == self._labels_topic:
            labels, stamp = decode_labels(message, self.faults, topic)
            _remember(self._truth, stamp, labels)
        elif topic == topics.TRUTH_SAMPLE:
            try:
                _remember(self._regions, stamp_of(message), decode_sample(message).region)
            except InputRejected as error:
                self.faults.reject(topic, error)
        else:
            self._wait(self._builder.add(topic, type_name, message))
        return self._ready()

    def poll(self, now: int, detector: bool = True) -> list[Shown]:
        """Get the frames that have waited long enough. To be called again and again.

        Args:
            now: nanoseconds of any one clock.
            detector: whether there is one whose answers are worth a wait.
        """
        self._wait(self._builder.poll(now))
        overdue = 0
        for number, stamp in enumerate(self._waiting, start=1):
            since = self._waiting_since.setdefault(stamp, now)
            if not detector or now - since >= _ANSWER_S * 1e9:
                overdue = number
        return self._given_out(overdue)

    def flush(self) -> list[Shown]:
        """Get all that waits: nothing more will come."""
        self._wait(self._builder.flush())
        return self._given_out(len(self._waiting))

    def _wait(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.stamp < self._last_stamp:
                self._found.clear()  # a replay starts over: answers of its first round are no answers now
            self._last_stamp = frame.stamp
            self._waiting[frame.stamp] = frame

    def _ready(self) -> list[Shown]:
        newest_answer = max(self._found, default=0)
        ready = 0
        for number, stamp in enumerate(self._waiting, start=1):
            if stamp > newest_answer and len(self._waiting) - ready <= _MOST_WAITING:
                break
            ready = number
        return self._given_out(ready)

    def _given_out(self, count: int) -> list[Shown]:
        given_out = []
        for _ in range(count):
            stamp, frame = self._waiting.popitem(last=False)
            self._waiting_since.pop(stamp, None)
            frame = replace(frame, region=self._regions.pop(stamp, frame.region))
            given_out.append((frame, self._found.pop(stamp, None), self._truth.pop(stamp, None)))
        return given_out


class _LiveView:
    """What is received, on its way to the viewer."""

    def __init__(self, frames: LiveFrames, sink: RerunSink) -> None:
        self.count = 0
        self.received: Counter[str] = Counter()
        self._frames = frames
        self._sink = sink
        self._subscriptions: dict[str, Any] = {}

    def subscribe(self, subscribe: Callable[[str, str, MessageCallback], object]) -> None:
        """Ask for all topics."""
        for topic, type_name in self._frames.topics.items():
            self.received[topic] = 0
            self._subscriptions[topic] = subscribe(topic, type_name, self._callback(topic, type_name))

    def poll(self) -> None:
        """Show what need not wait any longer."""
        answers = getattr(self._subscriptions[topics.LONG_TAIL], "matched", None)
        self.show(self._frames.poll(time.monotonic_ns(), detector=answers is None or answers > 0))

    def show(self, frames: list[Shown]) -> None:
        """Show frames."""
        for shown in frames:
            self._sink.add(*shown)
            self.count += 1

    @property
    def faults(self) -> list[Fault]:
        """What was lost between the vehicle and the viewer."""
        faults = FaultLog()
        for topic, subscription in self._subscriptions.items():
            for reason, count in getattr(subscription, "dropped", Counter()).items():
                text = f"messages did not reach the viewer ({reason}); {self.received[topic]} did"
                faults.add(topic, reason, text, count)
        # Of what nobody has sent, the first line says it all.
        return [*faults, *(self._frames.all_faults if self.received.total() else ())]

    def _callback(self, topic: str, type_name: str) -> MessageCallback:
        def take(message: Any, _received: int) -> None:
            self.received[topic] += 1
            self.show(self._frames.add(topic, type_name, message))

        return take


def view_live(
    subscribe: Callable[[str, str, MessageCallback], object],
    spin: Callable[[Callable[[], bool]], object],
    rig: Rig,
    save: Path | None = None,
    score_threshold: float = 0.3,
    open_browser: bool = True,
    every: Callable[[float, Callable[[], None]], object] | None = None,
    tell: Tell = tell_nothing,
) -> int:
    """Show what runs, until SIGINT or SIGTERM; write a recording besides if asked to.

    Args:
        subscribe: ``subscribe(topic, type_name, callback)``, of any middleware. What it gives is asked, where it can
            tell, for ``matched`` and ``dropped`` as of the port's subscriptions.
        spin: ``spin(until)`` runs the callbacks until ``until()`` holds.
        rig: the vehicle's cameras and topics.
        save: an ``.rrd`` file to write.
        score_threshold: detections with a lower confidence are left out.
        open_browser: open the user's browser; the address is printed in any case.
        every: ``every(seconds, callback)``, a timer of the middleware; without one, frames wait for answers as long as
            others follow.
        tell: called at the end with what was wrong with messages, and what was lost.

    Returns:
        The number of frames shown.

    Raises:
        ConfigurationError: rerun is not installed.
        Semlt3dError: messages were received, but they made no frame.
    """
    with (
        interruptible() as stop,
        ViewerServer() as server,
        RerunSink(save, server.data_url, score_threshold) as sink,
    ):
        frames = LiveFrames(rig)
        view = _LiveView(frames, sink)
        view.subscribe(subscribe)
        if every is not None:
            every(_POLL_S, view.poll)
        print(f"viewer: {server.page_url}", flush=True)
        if open_browser:
            server.open_browser()
        spin(stop.is_set)
        view.show(frames.flush())
    print(f"{view.count} frames", flush=True)
    if not view.received.total():
        print(f"nothing was received on {', '.join(view.received)}; does the vehicle run in this ROS domain?")
        return view.count
    tell(view.faults, ())
    if not view.count:
        raise Semlt3dError(
            f"no frame could be made of {view.received.total()} messages: {FaultLog(view.faults).reasons()}"
        )
    return view.count


def _remember(memory: OrderedDict[int, Any], stamp: int, item: Any) -> None:
    memory[stamp] = item
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)

"""Plays a recording onto the middleware, at its own pace or in lockstep with the detector."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from semlt3d_ros.bags.message import BagMessage
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError, InputRejected, Semlt3dError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.messages import topics as names
from semlt3d_ros.messages.building import build_time
from semlt3d_ros.middleware.port import LATCHED, Middleware, Publisher, QoS
from semlt3d_ros.middleware.throttle import ThrottledLog
from semlt3d_ros.nodes.lockstep import ProgressFollower
from semlt3d_ros.nodes.signals import ended_by_signals

CLOCK = "/clock"
CLOCK_TYPE = "rosgraph_msgs/msg/Clock"
_DISCOVERY_QUIET_S = 0.5
_SILENT_WAIT_S = 2.0
_LONGEST_DISCOVERY_S = 5.0
_CLOCK_STEP_NS = 10_000_000
_QOS = QoS(depth=50)


@dataclass(frozen=True)
class PlayerOptions:
    """How to play.

    Attributes:
        rate: speed relative to the recording's, greater than 0.
        loop: start again at the end, until stopped.
        lockstep: send each message only when the detector has handled everything before; ``rate`` is then an upper
            limit.
        topics: what to play; None plays everything.
        wait_for_subscribers_s: how long to wait for somebody to listen, seconds of real time.
        answer_timeout_s: in lockstep, how long to wait for one message to be handled.
        late_after_s: a message sent later than this counts as late.
    """

    rate: float = 1.0
    loop: bool = False
    lockstep: bool = False
    topics: Collection[str] | None = None
    wait_for_subscribers_s: float = 60.0
    answer_timeout_s: float = 30.0
    late_after_s: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1000:
            raise ConfigurationError(f"the rate {self.rate:g} is not usable; give a factor greater than 0, such as 0.5")


@dataclass
class PlayerSummary:
    """What was played.

    Attributes:
        sent: messages sent, by topic.
        loops: how often the recording was played to its end.
        late: messages sent later than ``late_after_s`` behind the schedule (never counted in lockstep).
        rejected: messages that are damaged and were not sent.
        unanswered: in lockstep, messages that the detector had not handled in time.
        skipped_topics: topics whose type, or one of whose types, is not known.
        duration_s: real time it took, without the wait for subscribers.
        truncated: whether part of the recording is missing.
        faults: what was not sent, by topic.
        incomplete: what is missing of the recording.
    """

    sent: Counter[str] = field(default_factory=Counter)
    loops: int = 0
    late: int = 0
    rejected: int = 0
    unanswered: int = 0
    skipped_topics: tuple[str, ...] = ()
    duration_s: float = 0.0
    truncated: bool = False
    faults: FaultLog = field(default_factory=FaultLog)
    incomplete: FaultLog = field(default_factory=FaultLog)


class Player:
    """Plays one recording.

    Args:
        middleware: where to.
        bag: the recording.
        options: how.

    Raises:
        ConfigurationError: a topic asked for is not in the recording, or nothing in it can be played.
    """

    def __init__(self, middleware: Middleware, bag: Path, options: PlayerOptions = PlayerOptions()) -> None:
        self._middleware = middleware
        self._log = ThrottledLog(middleware.logger)
        self._bag = bag
        self._options = options
        self.summary = PlayerSummary()
        self._publishers = self._create_publishers()
        self._clock = middleware.create_publisher(CLOCK, CLOCK_TYPE)
        self._follower = ProgressFollower(middleware, options.answer_timeout_s) if options.lockstep else None

    def play(self, progress: Progress | None = None) -> PlayerSummary:
        """Play until the end, or until the middleware is stopped.

        Args:
            progress: shows how far it is.

        Raises:
            Semlt3dError: in lockstep, no detector answers, or it leaves.
        """
        self._wait_for_subscribers()
        begin = time.monotonic()
        while not self._middleware.stopped:
            self._play_once(progress)
            if not self._options.loop:
                break
        self.summary.duration_s = time.monotonic() - begin
        return self.summary

    def _create_publishers(self) -> dict[tuple[str, str], Publisher]:
        """A publisher for each topic and each type with which it was recorded."""
        with BagSource(self._bag) as source:
            available = dict(source.types)
        wanted = set(available) - {CLOCK} if self._options.topics is None else set(self._options.topics)
        missing = sorted(wanted - set(available))
        if missing:
            raise ConfigurationError(
                f"{self._bag} has no topic {', '.join(missing)}; it has {', '.join(sorted(available))}"
            )
        publishers: dict[tuple[str, str], Publisher] = {}
        skipped = []
        for topic, type_name in [(name, kind) for name in sorted(wanted) for kind in available[name]]:
            try:
                qos = LATCHED if topic == names.TF_STATIC else _QOS
                publishers[topic, type_name] = self._middleware.create_publisher(topic, type_name, qos)
            except ConfigurationError as error:
                self._middleware.logger.warning("topic %s is left out: %s", topic, error)
                self.summary.faults.add(topic, "type", f"its messages of {type_name} are not sent: {error}")
                skipped.append(topic)
        self.summary.skipped_topics = tuple(dict.fromkeys(skipped))
        if not publishers:
            raise ConfigurationError(f"{self._bag} has nothing that can be played")
        return publishers

    def _wait_for_subscribers(self) -> None:
        image_types = (names.IMAGE_TYPE, names.COMPRESSED_IMAGE_TYPE)
        images = [publisher for publisher in self._publishers.values() if publisher.type_name in image_types]
        awaited = images or list(self._publishers.values())
        follower = self._follower

        def anybody() -> bool:
            return any(publisher.matched for publisher in awaited) and (follower is None or follower.known)

        wait_s = self._options.wait_for_subscribers_s
        left_s = wait_s - _SILENT_WAIT_S
        found = self._middleware.spin(until=anybody, timeout_s=min(_SILENT_WAIT_S, wait_s))
        if not found and left_s > 0 and not self._middleware.stopped:
            self._middleware.logger.info(f"nobody listens yet; waiting up to {left_s:g} s")
            found = self._middleware.spin(until=anybody, timeout_s=left_s)
        if self._middleware.stopped:
            return
        if follower is not None and not follower.known and not found:
            raise Semlt3dError(
                f"no detector has answered within {self._options.wait_for_subscribers_s:g} s; start one with "
                "'semlt3d node' in the same ROS domain, or play without lockstep"
            )
        if not found:
            self._middleware.logger.warning("nobody listens to the recording's topics; playing anyway")
            return
        deadline = time.monotonic() + _LONGEST_DISCOVERY_S
        while self._somebody_comes() and not self._middleware.stopped and time.monotonic() < deadline:
            pass

    def _somebody_comes(self) -> bool:
        """Wait a moment for further subscribers.

        Discovery goes topic by topic, and a subscriber hears nothing before it has found the publisher too. Who begins
        before it is quiet loses the calibration of the first sets.
        """

        def matched() -> int:
            return sum(publisher.matched for publisher in self._publishers.values())

        known = matched()
        return self._middleware.spin(until=lambda: matched() != known, timeout_s=_DISCOVERY_QUIET_S)

    def _play_once(self, progress: Progress | None) -> None:
        with BagSource(self._bag) as source:
            try:
                self.summary.loops += self._play_source(source, progress)
            finally:
                self.summary.truncated, self.summary.incomplete = source.truncated, source.faults

    def _play_source(self, source: BagSource, progress: Progress | None) -> bool:
        """Whether it was played to its end."""
        begin, start = time.monotonic(), source.start
        task = self._show(progress, None, 0.0, max(source.end - start, 1))
        clock = None
        for message in source.messages(topics={topic for topic, _ in self._publishers}):
            if (message.topic, message.type_name) not in self._publishers:
                continue
            due = begin + (message.stamp - start) * 1e-9 / self._options.rate
            self._middleware.spin(timeout_s=due - time.monotonic())
            if self._middleware.stopped:
                return False
            if clock is None or not 0 <= message.stamp - clock < _CLOCK_STEP_NS:
                clock = message.stamp
                self._publish_clock(clock)
            self._send(message, due)
            self._show(progress, task, message.stamp - start)
        return True

    def _send(self, message: BagMessage, due: float) -> None:
        if self._follower is None and time.monotonic() - due > self._options.late_after_s:
            self.summary.late += 1
        try:
            self._publishers[message.topic, message.type_name].publish(message.data)
        except InputRejected as error:
            self.summary.rejected += 1
            self.summary.faults.reject(message.topic, error)
            self._log.warning(message.topic, str(error))
            return
        self.summary.sent[message.topic] += 1
        if self._follower is not None and not self._follower.wait_for(message.topic) and not self._middleware.stopped:
            if self._follower.gone:
                raise Semlt3dError(
                    f"the detector has left after {sum(self.summary.sent.values())} messages; see its log for the cause"
                )
            self.summary.unanswered += 1

    def _publish_clock(self, stamp: int) -> None:
        types = self._middleware.types
        self._clock.publish(types(CLOCK_TYPE)(clock=build_time(types, stamp)))

    def _show(
        self, progress: Progress | None, task: TaskID | None, done: float, total: float | None = None
    ) -> TaskID | None:
        if progress is None:
            return None
        if task is None:
            return progress.add_task(f"playing {self._bag.name}", total=total)
        progress.update(task, completed=done)
        return task


def run_player(
    bag: Path,
    rate: float = 1.0,
    loop: bool = False,
    lockstep: bool = False,
    domain_id: int | None = None,
    topics: Collection[str] | None = None,
    progress: bool = True,
) -> PlayerSummary:
    """Play a recording on DDS until its end or a signal.

    Args:
        bag: an mcap file or a rosbag2 folder.
        rate: speed relative to the recording's.
        loop: start again at the end.
        lockstep: wait for the detector after each message.
        domain_id: the ROS domain; None takes ROS_DOMAIN_ID, or 0.
        topics: what to play; None plays everything.
        progress: show a progress bar.

    Raises:
        Semlt3dError: the recording cannot be played, or in lockstep no detector answers.
    """
    from semlt3d_ros.middleware.dds import DdsMiddleware

    options = PlayerOptions(rate=rate, loop=loop, lockstep=lockstep, topics=topics)
    with ended_by_signals() as ending:
        middleware = DdsMiddleware("semlt3d_player", domain_id)
        try:
            player = Player(middleware, bag, options)
            ending.stop(middleware)
            with Progress(console=Console(stderr=True), transient=True) if progress else nullcontext() as bar:
                return player.play(bar)
        finally:
            ending.ignore()
            middleware.shutdown()

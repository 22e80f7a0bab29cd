"""A live run for the demo: detector node and player as processes on DDS, and a recording of what the node publishes."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.output import Progress
from semlt3d_ros.core.errors import Semlt3dError
from semlt3d_ros.nodes.detector_report import LATENCY, SETS

if TYPE_CHECKING:
    from semlt3d_ros.middleware.port import Middleware

_LAST_DOMAIN = 101
"""Higher domains' ports lie where Linux takes its own, ephemeral ones from."""
_LONGEST_RUN_S = 900.0
_SETTLE_S = 60.0
_STALLED_NS = 1_000_000_000
"""After so long without images the node has given up on every incomplete set."""
_STOP_S = 60.0
_SHOWN_LINES = 15
_RELIABLE = ("-p", "image_reliability:=reliable")
"""The player offers it, and then a busy machine makes images late but loses none."""


class ChildProcess:
    """One ``semlt3d`` command as a process of its own, its output in a log file."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self._log = log
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "semlt3d_ros.cli", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                # A Ctrl-C at the terminal reaches the demo alone, which then stops its children in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def failure(self, what: str) -> Semlt3dError:
        """The error to raise about this process; shows the end of its log on stderr."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        print(f"--- the end of {self._log} ---", *lines[-_SHOWN_LINES:], "---", sep="\n", file=sys.stderr)
        return Semlt3dError(f"the {self.name} {what}; the end of its log is above")

    def check(self) -> None:
        """Raise if it has ended badly.

        Raises:
            Semlt3dError: its exit status is not 0.
        """
        if self._process.poll():
            raise self.failure(f"ended with status {self._process.returncode}")

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Stop it, by force if it takes too long."""
        self.ask_to_stop()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def child(name: str, arguments: Sequence[str], log: Path) -> Iterator[ChildProcess]:
    """A child process that ends with the context, whatever happens."""
    process = ChildProcess(name, arguments, log)
    try:
        yield process
    finally:
        process.end()


@dataclass
class NodeReport:
    """What the detector node says about itself on ``/diagnostics``; the last message counts.

    Attributes:
        stamp: when it said so, nanoseconds; 0 before the first message.
        sets_in, sets_processed: camera sets that were assembled, and those answered.
        drops: sets that were not answered, by reason.
        latency_ms: ``p50`` and ``p99`` from a set's last image to its published answer; NaN before the first.
    """

    stamp: int = 0
    sets_in: int = 0
    sets_processed: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    latency_ms: dict[str, float] = field(default_factory=lambda: {"p50": float("nan"), "p99": float("nan")})

    def take(self, message: Any, received: int) -> None:
        """Read a DiagnosticArray; what other nodes say is left alone."""
        statuses = {status.name: {entry.key: entry.value for entry in status.values} for status in message.status}
        if SETS not in statuses:
            return
        sets, latency = statuses[SETS], statuses[LATENCY]
        self.stamp = received
        self.sets_in, self.sets_processed = int(sets["sets_in"]), int(sets["sets_processed"])
        self.drops = Counter(
            {key.removeprefix("drops."): int(value) for key, value in sets.items() if key.startswith("drops.")}
        )
        if self.sets_processed:
            self.latency_ms = {name: float(latency[f"latency_ms.{name}"]) for name in ("p50", "p99")}

    @property
    def settled(self) -> bool:
        """Whether every set that came in has been answered or dropped."""
        return self.stamp > 0 and self.sets_in == self.sets_processed + self.drops.total()


def free_domain() -> int:
    """A ROS domain in which nobody on this machine seems to be: its first participant's ports can be bound.

    Raises:
        Semlt3dError: there is none.
    """
    domains = list(range(1, _LAST_DOMAIN + 1))
    random.SystemRandom().shuffle(domains)
    for domain in domains:
        first_port = 7400 + 250 * domain + 10  # RTPS 2.3, 9.6.1.1: unicast discovery of participant 0
        try:
            for port in (first_port, first_port + 1):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return domain
    raise Semlt3dError(f"every ROS domain from 1 to {_LAST_DOMAIN} is in use here; end what is left running in them")


def isolate() -> None:
    """Keep this process and its children on loopback, in a domain of their own, whatever a user's settings say."""
    os.environ.pop("CYCLONEDDS_URI", None)
    os.environ.update(ROS_DOMAIN_ID=str(free_domain()), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")


def record_live_run(
    drive: Path, out: Path, rate: float, node_options: Sequence[str], sets: int, progress: Progress
) -> NodeReport:
    """Play a drive to a detector node, both processes of their own, and record what the node publishes.

    DDS stays on loopback, in a domain of its own. Logs of both processes go beside ``out``.

    Args:
        drive: the bag to play.
        out: the bag to record into; replaced if it exists.
        rate: speed relative to the drive's.
        node_options: further options of ``semlt3d node``.
        sets: camera sets in the drive.
        progress: told how many sets are answered.

    Returns:
        The node's last report, after everything was answered or dropped.

    Raises:
        Semlt3dError: a process ended badly or hangs.
    """
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.messages import topics
    from semlt3d_ros.middleware.dds import DdsMiddleware
    from semlt3d_ros.nodes.bag_recorder import BagRecorder

    isolate()
    recorded = (topics.DETECTIONS, topics.LONG_TAIL, topics.MARKERS, topics.LABEL_INFO, topics.DIAGNOSTICS)
    report = NodeReport()
    with ExitStack() as stack:
        sink = stack.enter_context(BagSink(out, overwrite=True))
        middleware = DdsMiddleware("semlt3d_demo")
        stack.callback(middleware.shutdown)
        recorder = BagRecorder(middleware, sink, {topic: topics.default_type(topic) or "" for topic in recorded})
        middleware.create_subscription(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE, report.take)
        middleware.create_timer(0.2, lambda: progress(recorder.recorded[topics.LONG_TAIL], sets))
        node = stack.enter_context(
            child("detector node", ["node", *_RELIABLE, *node_options], out.with_name("node.log"))
        )
        play = ["play", str(drive), "--rate", str(rate)]
        player = stack.enter_context(child("player", play, out.with_name("player.log")))
        if not middleware.spin(lambda: not (player.running and node.running), _LONGEST_RUN_S):
            raise player.failure(f"has not ended within {_LONGEST_RUN_S:.0f} s")
        _let_finish(middleware, node, player, report)
    return report


def _let_finish(middleware: Middleware, node: ChildProcess, player: ChildProcess, report: NodeReport) -> None:
    node.check()
    player.check()
    end = middleware.now()
    middleware.spin(lambda: not node.running or (report.settled and report.stamp > end + _STALLED_NS), _SETTLE_S)
    if not node.running:
        raise node.failure("ended by itself")
    node.ask_to_stop()
    if not middleware.spin(lambda: not node.running, _STOP_S):
        raise node.failure(f"has not stopped within {_STOP_S:.0f} s")
    # What it published last is still on its way.
    middleware.spin(timeout_s=0.5)
    node.check()
    if not report.stamp:
        raise node.failure("has never reported on /diagnostics")

"""The real detector and the real event recorder as processes of their own, and what they say on ``/diagnostics``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.nodes.detector_report import INPUT, LIFECYCLE, SETS
from semlt3d_ros.nodes.event_recorder_report import DISK, EVENTS
from semlt3d_ros.nodes.event_recorder_report import INPUT as RECORDER_INPUT

DETECTOR = "from semlt3d_ros.nodes.detector_main import run_detector as run"
RECORDER = "from semlt3d_ros.nodes.event_recorder_main import run_event_recorder as run"
_RUN = "{}; import sys; sys.exit(run((), sys.argv[2:], int(sys.argv[1])))"
START_S = 300.0
"""A machine that is busy takes its time to load a model."""
ALWAYS = "triggers: {always: {worth: 0.1}}\n"
"""A recording file with which everything is recorded."""


class Node:
    """A node in a process of its own."""

    def __init__(self, program: str, overrides: Iterable[str], domain_id: int) -> None:
        command = [sys.executable, "-c", _RUN.format(program), str(domain_id), *overrides]
        self.process = subprocess.Popen(command, env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)})

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def end(self) -> None:
        """End it in order, as an operator does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def detector(domain_id: int, checkpoint: str = "", threads: int = 1) -> Node:
    """The detector, on the CPU; the package's own checkpoint unless another one is named."""
    given = [f"checkpoint:={checkpoint or repr('')}", f"threads:={threads}", "device:=cpu"]
    return Node(DETECTOR, given, domain_id)


def recorder(domain_id: int, folder: Path, quota_gb: float = 0.1, event_s: float = 4.0) -> Node:
    """The event recorder, which records all the time, in events of a few seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder.parent / "recording.yaml"
    file.write_text(ALWAYS)
    given = [
        f"events:={folder / 'events'}",
        f"recording_file:={file}",
        f"pre_roll_s:={event_s / 4}",
        f"post_roll_s:={event_s / 4}",
        f"longest_s:={event_s}",
        f"quota_gb:={quota_gb}",
    ]
    return Node(RECORDER, given, domain_id)


class Diagnostics:
    """The last of what each status said."""

    def __init__(self, middleware: DdsMiddleware) -> None:
        self._middleware = middleware
        self.values: dict[str, dict[str, str]] = {}
        middleware.create_subscription(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE, self._hear)

    def _hear(self, message: Any, _: int) -> None:
        self.values |= {each.name: {value.key: value.value for value in each.values} for each in message.status}

    def forget(self) -> None:
        """What was said by nodes that are no more."""
        self.values.clear()

    def wait_for(self, *names: str) -> None:
        """Until each of these statuses was heard.

        Raises:
            RuntimeError: that takes too long.
        """
        if not self._middleware.spin(lambda: all(name in self.values for name in names), START_S):
            raise RuntimeError(f"no {', '.join(names)} within {START_S:g} s; see what the nodes have printed")

    def number(self, status: str, key: str) -> float:
        """A figure of a status; 0 where it was not said."""
        return float(self.values.get(status, {}).get(key, 0))

    def sets(self) -> dict[str, int]:
        """Sets of the detector since its start: in, processed, and lost by reason."""
        values = {**self.values.get(INPUT, {}), **self.values.get(SETS, {})}
        found = {name: int(values.get(name, 0)) for name in ("sets_in", "sets_processed", "sets_partial")}
        return found | {name: int(value) for name, value in values.items() if name.startswith(("drop", "missing."))}

    def events(self) -> dict[str, float]:
        """What the recorder has made since its start: events, deleted ones, messages lost, megabytes written."""
        dropped = sum(float(value) for name, value in self.values.get(RECORDER_INPUT, {}).items() if "dropped." in name)
        return {
            **{name: self.number(EVENTS, name) for name in ("events", "lost_events", "lost_messages")},
            **{name: self.number(DISK, name) for name in ("deleted", "written_mb", "used_gb", "kept")},
            "not_received": dropped,
        }


READY = (LIFECYCLE, SETS)
RECORDING = (EVENTS, DISK)

"""The real detector and the real event recorder as processes of their own, and what they say on ``/diagnostics``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from semlt3d_ros.commands.live_run import ChildProcess
from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.nodes.detector_report import INPUT, LIFECYCLE, SETS
from semlt3d_ros.nodes.event_recorder_report import DISK, EVENTS
from semlt3d_ros.nodes.event_recorder_report import INPUT as RECORDER_INPUT

START_S = 300.0
"""A machine that is busy takes its time to load a model."""
ALWAYS = "triggers: {always: {worth: 0.1}}\n"
"""A recording file with which everything is recorded."""


def scene_options(parser: argparse.ArgumentParser, rate_hz: float) -> None:
    """Which student sees what, how often: options that every bench of live nodes has."""
    parser.add_argument("--rate", type=float, default=rate_hz, help="sets in a second (default: %(default)s)")
    parser.add_argument("--checkpoint", default="", help="the student; the package's own if left out")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the student")
    parser.add_argument("--image-width", type=int, default=448, help="pixels of the images, which are 7 to 4")
    parser.add_argument("--beams", type=int, default=32, help="of the LiDAR")
    parser.add_argument("--drive", type=Path, help="folder that keeps the simulated drive for the next time")


def detector(folder: Path, checkpoint: str = "", threads: int = 1) -> ChildProcess:
    """The detector, on the CPU; the package's own checkpoint unless another one is named. Its log is in ``folder``."""
    given = (f"checkpoint:={checkpoint or repr('')}", f"threads:={threads}", "device:=cpu")
    return ChildProcess("detector node", ["node", *words_of(given)], folder / "detector.log")


def recorder(folder: Path, quota_gb: float = 0.1, event_s: float = 4.0) -> ChildProcess:
    """The event recorder, which records all the time, in events of a few seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recording.yaml"
    file.write_text(ALWAYS)
    given = (
        f"pre_roll_s:={event_s / 4}",
        f"post_roll_s:={event_s / 4}",
        f"longest_s:={event_s}",
        f"quota_gb:={quota_gb}",
    )
    command = ["record", str(folder / "events"), "--recording", str(file), *words_of(given)]
    return ChildProcess("event recorder", command, folder / "recorder.log")


def words_of(parameters: Iterable[str]) -> list[str]:
    """Parameters ``NAME:=VALUE`` as a command takes them."""
    return [word for each in parameters for word in ("-p", each)]


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

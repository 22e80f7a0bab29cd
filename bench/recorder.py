"""What recording costs the detector: its rate, the sets it loses and its latency, with and without the event recorder.

    python -m bench.recorder [--rate 5] [--seconds 30] [--rounds 3] [--checkpoint FILE] [--json]

One detector runs throughout, as it is, in a process of its own, on a simulated drive of six cameras and a LiDAR over
DDS. The event recorder, a third process, runs in every other turn, and records everything into short events. Latency
counts from the moment the last image of a set was given to the middleware until its detections are back.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.live_nodes import READY, RECORDING, Diagnostics, detector, recorder, scene_options
from bench.process_memory import holding
from bench.steady_drive import SteadyDrive, simulated
from semlt3d_ros.commands.live_run import isolate
from semlt3d_ros.middleware.dds import DdsMiddleware

WITHOUT, WITH = "without recording", "with recording"
_SETTLE_S = 5.0
_LATE_S = 2.0


class Turns:
    """A detector at work, measured in turns.

    Args:
        options: of the command.
        folder: for drive and events.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        isolate()
        bag = simulated(options.drive or folder, options.image_width, options.beams)
        self._detector = detector(folder, options.checkpoint, options.threads)
        self._middleware = DdsMiddleware("bench")
        self._said = Diagnostics(self._middleware)
        self._drive = SteadyDrive(self._middleware, bag, options.rate)
        self._turn = 0

    def __enter__(self) -> Turns:
        self._said.wait_for(*READY)
        self._drive.run(_SETTLE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._detector.end()
        self._middleware.shutdown()

    def measure(self, recording: bool) -> dict[str, Any]:
        """One turn."""
        node = None
        if recording:
            self._turn += 1
            place = self._folder / f"turn{self._turn}"
            node = recorder(place, event_s=self._options.event_s)
            self._said.forget()
            self._said.wait_for(*RECORDING)
        try:
            self._drive.run(_SETTLE_S)
            lost, events, cpu_s = self._lost(), Counter(self._said.events()), holding(self._detector.pid).cpu_s
            since = self._drive.run(self._options.seconds)
            self._middleware.spin(timeout_s=_LATE_S)
            sent, latencies = self._drive.heard.take(since)
            made = Counter(self._said.events())
            made.subtract(events)
            return {
                "sent": sent,
                "answered": len(latencies),
                "lost": dict(self._lost() - lost),
                "latency_s": latencies,
                "cpu_s": holding(self._detector.pid).cpu_s - cpu_s,
                "events": {name: made[name] for name in ("events", "written_mb", "lost_events", "lost_messages")},
            }
        finally:
            if node is not None:
                node.end()

    def _lost(self) -> Counter[str]:
        """Sets that the detector says it has lost, by reason, since its start."""
        return Counter({name: value for name, value in self._said.sets().items() if name.startswith("drops.")})


def summed(turns: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """All turns of one kind."""
    latencies = np.array([each for turn in turns for each in turn["latency_s"]])
    events: Counter[str] = sum((Counter(turn["events"]) for turn in turns), Counter())
    return {
        "sent": sum(turn["sent"] for turn in turns),
        "answered": sum(turn["answered"] for turn in turns),
        "rate_hz": sum(turn["answered"] for turn in turns) / (seconds * len(turns)),
        "lost": dict(sum((Counter(turn["lost"]) for turn in turns), Counter())),
        "latency_ms": {f"p{each}": float(np.percentile(latencies, each)) * 1e3 for each in (50, 99)},
        "cpu_ms_per_set": 1e3 * sum(turn["cpu_s"] for turn in turns) / max(len(latencies), 1),
        "turns_p99_ms": [float(np.percentile(turn["latency_s"], 99)) * 1e3 for turn in turns],
        "events": dict(events),
    }


def show(results: dict[str, dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title="the detector while everything is recorded, and while nothing is")
    for name in ("", *results, "ratio"):
        table.add_column(name, justify="right" if name else "left")

    def row(name: str, values: list[float], form: str) -> None:
        ratio = f"{values[1] / values[0]:.3f}" if values[0] else ""
        table.add_row(name, *(form.format(value) for value in values), ratio)

    both = list(results.values())
    row("sets sent", [each["sent"] for each in both], "{:.0f}")
    row("sets answered", [each["answered"] for each in both], "{:.0f}")
    row("sets that the detector lost", [sum(each["lost"].values()) for each in both], "{:.0f}")
    row("answers, Hz", [each["rate_hz"] for each in both], "{:.2f}")
    for percentile in ("p50", "p99"):
        row(f"latency {percentile}, ms", [each["latency_ms"][percentile] for each in both], "{:.1f}")
    row("detector's processor time for a set, ms", [each["cpu_ms_per_set"] for each in both], "{:.1f}")
    Console().print(table)
    print(
        "p99 by turns, ms:",
        {name: [round(each) for each in result["turns_p99_ms"]] for name, result in results.items()},
    )
    print("recorded meanwhile:", ", ".join(f"{name} {value:.0f}" for name, value in results[WITH]["events"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recorder", description=__doc__)
    scene_options(parser, rate_hz=5.0)  # at which the detector alone loses none
    parser.add_argument("--seconds", type=float, default=30.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns without and with recording")
    parser.add_argument("--event-s", type=float, default=4.0, help="length of the events that are written")
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    options = parser.parse_args()
    turns: dict[str, list[dict[str, Any]]] = {WITHOUT: [], WITH: []}
    with tempfile.TemporaryDirectory() as folder, Turns(options, Path(folder)) as measured:
        for number in range(options.rounds):
            # Each goes first in turn, so that what else the machine does favours neither.
            for recording in (False, True) if number % 2 == 0 else (True, False):
                turns[WITH if recording else WITHOUT].append(measured.measure(recording))
    results = {name: summed(each, options.seconds) for name, each in turns.items()}
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    main()

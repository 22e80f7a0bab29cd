"""Detector and event recorder at work for an hour: does memory stay as it is?

    python -m bench.soak --minutes 60 [--rate 10] [--checkpoint FILE] [-o PICTURE.png] [--json FILE]

Both nodes run as they are, each in a process of its own, on a simulated drive of six cameras and a LiDAR over DDS.
Everything is recorded into short events, and the quota is small: events are written and deleted all the time. The
verdict is the slope of memory over the last two thirds of the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.live_nodes import READY, RECORDING, Diagnostics, detector, recorder, scene_options
from bench.process_memory import holding, slope
from bench.steady_drive import SteadyDrive, simulated
from semlt3d_ros.commands.live_run import isolate
from semlt3d_ros.middleware.dds import DdsMiddleware

_SETTLE_S = 10.0
_SHARED = Path("/dev/shm")


def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run both nodes for so long; samples of what they hold and do, and the slopes."""
    isolate()
    bag = simulated(options.drive or folder, options.image_width, options.beams)
    nodes = {"detector": detector(folder, options.checkpoint, options.threads)}
    middleware = DdsMiddleware("bench")
    samples: list[dict[str, Any]] = []
    try:
        said = Diagnostics(middleware)
        drive = SteadyDrive(middleware, bag, options.rate)
        said.wait_for(*READY)
        nodes["recorder"] = recorder(folder / "soak", options.quota_gb)
        said.wait_for(*RECORDING)
        drive.run(_SETTLE_S)
        begin, first = time.monotonic(), said.sets()
        since = time.time_ns()
        while time.monotonic() - begin < 60 * options.minutes:
            drive.run(options.every)
            hours = (time.monotonic() - begin) / 3600
            sample = {"hours": hours, "shared_mib": _shared_mib(), "sets": said.sets(), "events": said.events()}
            samples.append(sample | {name: asdict(holding(node.pid)) for name, node in nodes.items()})
            _tell(sample, samples[-1])
            if options.json:
                options.json.write_text(json.dumps({"samples": samples}))
        middleware.spin(timeout_s=2.0)
        sent, latencies = drive.heard.take(since)
        return {
            "minutes": options.minutes,
            "rate_hz": sent / (60 * options.minutes),
            "sent": sent,
            "answered": len(latencies),
            "latency_ms": {f"p{each}": float(np.percentile(latencies, each)) * 1e3 for each in (50, 99)},
            "sets": {name: value - first.get(name, 0) for name, value in said.sets().items()},
            "events": said.events(),
            "slopes": _slopes(samples, tuple(nodes)),
            "samples": samples,
        }
    finally:
        for node in nodes.values():
            node.end()
        middleware.shutdown()


def _shared_mib() -> float:
    """What all processes of this machine have in its shared memory."""
    return sum(path.stat().st_size for path in _SHARED.glob("*") if path.is_file()) / 2**20


def _tell(sample: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
    memory = ", ".join(f"{name} {whole[name]['rss_mib']:.1f} MiB" for name in ("detector", "recorder"))
    print(
        f"{60 * sample['hours']:.1f} min: {memory}; {sample['sets']}; {sample['events']}", file=sys.stderr, flush=True
    )


def _slopes(samples: list[dict[str, Any]], nodes: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """MiB per hour over the last two thirds, and half the width of the 95 % interval, of each node."""
    late = samples[len(samples) // 3 :]
    hours = np.array([each["hours"] for each in late])
    return {name: slope(hours, np.array([each[name]["rss_mib"] for each in late])) for name in nodes}


def verdict(result: Mapping[str, Any], limit: float) -> tuple[bool, str]:
    """Whether memory is flat: no node's slope can be above ``limit`` MiB in an hour, its uncertainty included."""
    lines, flat = [], True
    for name, (grows, half) in result["slopes"].items():
        well = grows + half <= limit
        flat &= well
        word = (
            ("within the limit, but grows" if grows > half else "flat")
            if well
            else "grows"
            if grows - half > 0
            else "not told apart from flat; measure for longer"
        )
        lines.append(f"{name}: {grows:+.2f} ± {half:.2f} MiB/hour: {word}")
    return flat, "\n".join(lines)


def show(result: Mapping[str, Any]) -> None:
    """Print the table."""
    table = Table(
        title=f"{result['minutes']:g} min at {result['rate_hz']:.2f} Hz: {result['answered']} of {result['sent']} sets "
        f"answered, p50 {result['latency_ms']['p50']:.0f} ms, p99 {result['latency_ms']['p99']:.0f} ms"
    )
    samples = result["samples"]
    marks = [samples[round(share * (len(samples) - 1))] for share in (0, 1 / 3, 2 / 3, 1)]
    table.add_column("")
    for mark in marks:
        table.add_column(f"{60 * mark['hours']:.0f} min", justify="right")
    for node in result["slopes"]:
        for key, text in (("rss_mib", "resident MiB"), ("threads", "threads"), ("files", "open files")):
            table.add_row(f"{node}: {text}", *(f"{mark[node][key]:.4g}" for mark in marks))
        cpu = [f"{(each[node]['cpu_s'] - samples[0][node]['cpu_s']) / 60:.1f}" for each in marks]
        table.add_row(f"{node}: processor minutes", *cpu, end_section=True)
    table.add_row("shared memory MiB", *(f"{mark['shared_mib']:.1f}" for mark in marks))
    for key in ("events", "deleted", "lost_events", "lost_messages", "not_received", "written_mb", "used_gb"):
        table.add_row(f"events: {key}", *(f"{mark['events'][key]:.4g}" for mark in marks))
    Console().print(table)
    print("detector's sets:", ", ".join(f"{name} {value}" for name, value in result["sets"].items()))


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Memory of both nodes over time, and events written and deleted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(result["slopes"]) + 1, 1, figsize=(8, 7), sharex=True, layout="constrained")
    minutes = [60 * each["hours"] for each in result["samples"]]
    for axis, (name, (grows, half)) in zip(axes, result["slopes"].items(), strict=False):
        axis.plot(minutes, [each[name]["rss_mib"] for each in result["samples"]])
        axis.set_ylabel("resident MiB")
        axis.set_title(f"{name}: {grows:+.2f} ± {half:.2f} MiB/hour over the last two thirds", fontsize=10)
        axis.set_ylim(bottom=0)
    for key, text in (("events", "written"), ("deleted", "deleted to make room")):
        axes[-1].plot(minutes, [each["events"][key] for each in result["samples"]], label=text)
    axes[-1].set(xlabel="minutes", ylabel="events")
    axes[-1].legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: 5; the proof takes 60)")
    scene_options(parser, rate_hz=10.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two samples")
    parser.add_argument("--quota-gb", type=float, default=0.1, help="disk that events may take")
    parser.add_argument("--limit", type=float, default=10.0, help="MiB in an hour that still count as flat")
    parser.add_argument("-o", "--picture", type=Path, help="picture of memory over time")
    parser.add_argument("--json", type=Path, help="file for all samples, written while it runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = soak(options, Path(folder))
    show(result)
    flat, text = verdict(result, options.limit)
    print(text)
    if options.picture:
        draw(result, options.picture)
    if options.json:
        options.json.write_text(json.dumps(result))
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())

"""How much of the detector node's latency is not the model: a bag is played to a node in a process of its own.

The latency of a set counts from the arrival of its last image to the end of publishing, as the node itself measures it
(``nodes/statistics.py`` names the stages). What is not the model's forward pass is the price of the middleware, of
preparing images and of publishing. All boxes are published in all forms.

Two nodes are measured in turns: the node as it is, and one that builds its messages field by field, as is usual.

    python -m bench.node_latency [BAG] [--rate 1.0] [--lockstep] [--rounds 1] [--checkpoint FILE] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.nodes.detector_report import LATENCY, SETS
from semlt3d_ros.nodes.player import Player, PlayerOptions
from semlt3d_ros.nodes.statistics import STAGES

_RUN = "import sys; from semlt3d_ros.nodes.detector_main import run_detector; sys.exit(run_detector((), sys.argv[1:]))"
_BY_FIELD = """
from bench import encoding
from semlt3d_ros.nodes import outputs
outputs.encode_long_tail = encoding.long_tail_by_field
outputs.encode_detection3d = encoding.detection3d_by_field
outputs.encode_markers = encoding.markers_by_field
"""
NODES = {"field by field": _BY_FIELD + _RUN, "from arrays": _RUN}
"""By how they make messages: the programs of both nodes."""
_START_S = 300.0
_SETTLE_S = 3.0


def measure(
    program: str, bag: Path, rate: float, lockstep: bool, overrides: list[str], domain_id: int
) -> dict[str, Any]:
    """Play the bag to a node and read the node's last report."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    node = subprocess.Popen([sys.executable, "-c", program, *overrides], env=environment)
    middleware = DdsMiddleware("bench", domain_id)
    statuses: dict[str, dict[str, str]] = {}

    def take(message: Any, _: int) -> None:
        statuses.update({status.name: {entry.key: entry.value for entry in status.values} for status in message.status})

    try:
        middleware.create_subscription(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE, take)
        for topic in (topics.LONG_TAIL, topics.DETECTIONS, topics.MARKERS):
            middleware.create_subscription(topic, topics.default_type(topic) or "", lambda *_: None, raw=True)
        Player(middleware, bag, PlayerOptions(rate=rate, lockstep=lockstep, wait_for_subscribers_s=_START_S)).play()
        middleware.spin(timeout_s=_SETTLE_S)
    finally:
        node.terminate()
        node.wait()
        middleware.shutdown()
    return figures(statuses[SETS], statuses[LATENCY])


def figures(sets: dict[str, str], latency: dict[str, str]) -> dict[str, Any]:
    """The node's report as numbers; the share is that of the medians."""
    total = float(latency["latency_ms.p50"])
    forward = float(latency["forward_ms.p50"])
    return {
        "sets_in": int(sets["sets_in"]),
        "sets_processed": int(sets["sets_processed"]),
        "drops": {name.removeprefix("drops."): int(value) for name, value in sets.items() if name.startswith("drops.")},
        "latency_ms": {name: float(latency[f"latency_ms.{name}"]) for name in ("p50", "p99")},
        "stages_ms": {
            stage: {name: float(latency[f"{stage}_ms.{name}"]) for name in ("p50", "p99")} for stage in STAGES
        },
        "share_outside_forward": 1 - forward / total,
    }


def median_of(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each latency over several rounds; sets and drops are summed."""
    stages = {"end to end": [each["latency_ms"] for each in rounds]}
    stages.update({stage: [each["stages_ms"][stage] for each in rounds] for stage in STAGES})
    medians = {
        stage: {name: statistics.median(each[name] for each in values) for name in ("p50", "p99")}
        for stage, values in stages.items()
    }
    drops: Counter[str] = sum((Counter(each["drops"]) for each in rounds), Counter())
    return {
        "sets_in": sum(each["sets_in"] for each in rounds),
        "sets_processed": sum(each["sets_processed"] for each in rounds),
        "drops": dict(drops),
        "latency_ms": medians.pop("end to end"),
        "stages_ms": medians,
        "share_outside_forward": statistics.median(each["share_outside_forward"] for each in rounds),
    }


def show(results: dict[str, dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title=", ".join(f"{way}: {_sets(result)}" for way, result in results.items()))
    table.add_column("stage")
    for way in results:
        for percentile in ("p50", "p99"):
            table.add_column(f"{way}\n{percentile} ms", justify="right")
    for stage in (*STAGES, "end to end"):
        values = [{**result["stages_ms"], "end to end": result["latency_ms"]}[stage] for result in results.values()]
        table.add_row(
            stage,
            *(f"{each[name]:.2f}" for each in values for name in ("p50", "p99")),
            end_section=stage == STAGES[-1],
        )
    shares = [f"{100 * result['share_outside_forward']:.1f} %" for result in results.values()]
    table.add_row("outside the model", *(text for share in shares for text in (share, "")))
    Console().print(table)


def _sets(result: dict[str, Any]) -> str:
    return f"{result['sets_processed']} of {result['sets_in']} sets"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "bag",
        type=Path,
        nargs="?",
        default=Path("build/demo/drive.mcap"),
        help="bag with the default rig's topics (default: what make demo simulated)",
    )
    parser.add_argument("--rate", type=float, default=1.0, help="speed relative to the recording")
    parser.add_argument("--lockstep", action="store_true", help="wait for the node after each message")
    parser.add_argument("--rounds", type=int, default=1, help="how often to measure each node; medians are shown")
    parser.add_argument("--checkpoint", default="", help="checkpoint to run; the package's own if left out")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the model; 0 leaves it to torch")
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    options = parser.parse_args()
    overrides = [f"checkpoint:={options.checkpoint or repr('')}", f"threads:={options.threads}", "device:=cpu"]
    rounds: dict[str, list[dict[str, Any]]] = {way: [] for way in NODES}
    for number in range(options.rounds):
        for way, program in NODES.items():
            domain_id = 1 + (os.getpid() + number) % 100
            rounds[way].append(measure(program, options.bag, options.rate, options.lockstep, overrides, domain_id))
    results = {way: median_of(each) for way, each in rounds.items()}
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    main()

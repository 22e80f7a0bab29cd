"""How much of the detector node's latency is not the model: a bag is played to a node in a process of its own.

The latency of a set counts from the arrival of its last image to the end of publishing, as the node itself measures it
(``nodes/statistics.py`` names the stages). What is not the model's forward pass is the price of the middleware, of
preparing images and of publishing.

    python -m bench.node_latency BAG [--rate 1.0] [--lockstep] [--checkpoint FILE] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.nodes.detector_report import LATENCY, SETS
from semlt3d_ros.nodes.player import Player, PlayerOptions
from semlt3d_ros.nodes.statistics import STAGES

_NODE = "import sys; from semlt3d_ros.nodes.detector_main import run_detector; sys.exit(run_detector((), sys.argv[1:]))"
_START_S = 300.0
_SETTLE_S = 3.0


def measure(bag: Path, rate: float, lockstep: bool, overrides: list[str], domain_id: int) -> dict[str, Any]:
    """Play the bag to a node and read the node's last report."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    node = subprocess.Popen([sys.executable, "-c", _NODE, *overrides], env=environment)
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


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"{result['sets_processed']} of {result['sets_in']} sets", caption_justify="left")
    for heading in ("stage", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage, values in {**result["stages_ms"], "end to end": result["latency_ms"]}.items():
        table.add_row(stage, f"{values['p50']:.2f}", f"{values['p99']:.2f}")
    table.caption = (
        f"outside the model's forward pass: {100 * result['share_outside_forward']:.1f} % of the median latency"
    )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path, help="bag with the default rig's topics")
    parser.add_argument("--rate", type=float, default=1.0, help="speed relative to the recording")
    parser.add_argument("--lockstep", action="store_true", help="wait for the node after each message")
    parser.add_argument("--checkpoint", default="", help="checkpoint to run; the package's own if left out")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the model; 0 leaves it to torch")
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    options = parser.parse_args()
    overrides = [f"checkpoint:={options.checkpoint or repr('')}", f"threads:={options.threads}", "device:=cpu"]
    result = measure(options.bag, options.rate, options.lockstep, overrides, 1 + os.getpid() % 100)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


if __name__ == "__main__":
    main()

"""How long a user waits for help, for doctor, and to be told of a mistake: whole processes, in turns, medians.

The peers are Python itself, and Python with torch imported, which the commands that run a model cannot do without.

    python -m bench.startup [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from semlt3d_ros.cli import COMMANDS

PEERS = {"python": ["-c", "pass"], "python, torch imported": ["-c", "import torch"]}
CASES: dict[str, list[str]] = {
    "--help": ["--help"],
    "doctor": ["doctor"],
    **{f"{name} --help": [name, "--help"] for name in COMMANDS},
    "an unknown command": ["detekt"],
    "an unknown option": ["detect", "drive.mcap", "--outt", "out.mcap"],
    "detect: no such bag": ["detect", "none.mcap", "-o", "out.mcap"],
    "detect: not a bag": ["detect", "noise.mcap", "-o", "out.mcap"],
    "play: no such bag": ["play", "none.mcap"],
    "evaluate: no such bag": ["evaluate", "none.mcap", "--truth", "none.mcap"],
    "view: no such bag": ["view", "none.mcap", "--save", "out.rrd"],
    "import: no such folder": ["import", "pandaset", "none", "out.mcap"],
    "train: no such recipe": ["train", "none.yaml"],
    "train: a bad recipe": ["train", "bad.yaml"],
    "experiment: no such experiment": ["experiment", "none.yaml"],
    "model: a bad model": ["model", "bad.yaml"],
    "node: a parameter it does not have": ["node", "-p", "tolerence_s:=0.1"],
}


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Seconds by case: ``wall`` and ``cpu``, medians over the rounds."""
    commands = {name: [sys.executable, *words] for name, words in PEERS.items()}
    commands.update({name: [sys.executable, "-m", "semlt3d_ros.cli", *words] for name, words in CASES.items()})
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "noise.mcap").write_bytes(bytes(range(256)) * 10)
        (Path(folder) / "bad.yaml").write_text("name: bad\nlerning_rate: 1\n")
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(_timed(command, folder, environment))
    return {
        name: {"wall": statistics.median(wall for wall, _ in each), "cpu": statistics.median(cpu for _, cpu in each)}
        for name, each in times.items()
    }


def _timed(command: list[str], folder: str, environment: dict[str, str]) -> tuple[float, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def show(results: dict[str, dict[str, float]]) -> None:
    """Print the table."""
    table = Table(title="seconds until a process has ended")
    for heading in ("", "wall clock", "CPU"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, times in results.items():
        table.add_row(name, *(f"{times[kind]:.2f}" for kind in ("wall", "cpu")), end_section=name == list(PEERS)[-1])
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    options = parser.parse_args()
    results = measure(options.rounds)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    main()

"""Kills the loop (SIGKILL) at random moments, stage by stage, and looks after each whether anything was lost.

    python -m bench.faults --kills 50 [--stage recording labelling training judging promotion]

Kills are aimed: each stage is killed until so many fell in it. ``recording`` is the event recorder's process over DDS, killed
while an event is under way; ``labelling``, ``training`` and ``judging`` are a small robot's round; ``promotion`` is the model
store while it adds, promotes, confirms and rolls back. The exit status is 0 where nothing was lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from bench.faults.promotion import kill_promotions
from bench.faults.recording import kill_recorders
from bench.faults.rounds import STATES, kill_stage, robot

RECORDING, PROMOTION = "recording", "promotion"
STAGES = (*STATES, PROMOTION, RECORDING)


def main() -> int:
    """Kill, and tell where it fell."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10, help="in each stage (default: 10)")
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=STAGES, help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = [stage for stage in STAGES if stage in options.stage]
        # Rendering has threads, DDS too, and what is forked must have none: the robot first, the recorder last.
        settings = robot(folder / "robot") if set(wanted) & set(STATES) else None
        for stage in wanted:
            begin = time.monotonic()
            if stage == RECORDING:
                steps = kill_recorders(folder / stage, options.kills, options.seed)
            elif stage == PROMOTION:
                steps = kill_promotions(folder / stage, options.kills, options.seed)
            else:
                assert settings is not None
                steps = kill_stage(settings, stage, options.kills, options.seed)
            fell = {}
            for number, total in enumerate(steps):
                fell = dict(total)
                if number % 10 == 0:
                    print(f"{stage}: {fell}", file=sys.stderr, flush=True)
            print(f"{stage}: kills fell in {fell}, nothing was lost ({time.monotonic() - begin:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

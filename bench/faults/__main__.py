"""Kills the loop (SIGKILL) at random moments, stage by stage, and looks after each whether anything was lost.

    python -m bench.faults --kills 50 [--stage recording labelling training judging promotion disk]

Kills are aimed: each stage is killed until so many fell in it. ``recording`` is the event recorder's process over DDS,
killed while an event is under way; ``labelling``, ``training`` and ``judging`` are a small robot's round; ``promotion``
is the model store while it adds, promotes, confirms and rolls back. ``disk`` is a round on a disk that is full at every
write in turn; it is filled as often as there are writes. The exit status is 0 where nothing was lost.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.faults.disk import counted, fill_at_every_write
from bench.faults.promotion import kill_promotions
from bench.faults.recording import kill_recorders
from bench.faults.rounds import STATES, kill_stage, robot
from semlt3d_ros.adaptation.settings import LoopSettings

RECORDING, PROMOTION, DISK = "recording", "promotion", "disk"
STAGES = (*STATES, DISK, PROMOTION, RECORDING)


def _steps(
    stage: str, settings: LoopSettings | None, folder: Path, options: argparse.Namespace
) -> Iterator[Counter[str]]:
    """Inject faults; yields, after each or some, where they fell until then."""
    if stage == RECORDING:
        yield from kill_recorders(folder, options.kills, options.seed)
    elif stage == PROMOTION:
        yield from kill_promotions(folder, options.kills, options.seed)
    elif settings is not None and stage == DISK:
        for name in ("rounds", "labels"):
            shutil.rmtree(settings.work / name, ignore_errors=True)
        yield from counted(fill_at_every_write(settings))
    elif settings is not None:
        yield from kill_stage(settings, stage, options.kills, options.seed)


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
        settings = robot(folder / "robot") if set(wanted) & {*STATES, DISK} else None
        for stage in wanted:
            begin, fell = time.monotonic(), Counter[str]()
            for number, total in enumerate(_steps(stage, settings, folder / stage, options)):
                fell = total
                if number % 10 == 0:
                    print(f"{stage}: {dict(fell)}", file=sys.stderr, flush=True)
            took = time.monotonic() - begin
            print(f"{stage}: fell in {dict(fell)}, nothing was lost ({took:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

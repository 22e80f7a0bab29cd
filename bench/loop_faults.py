"""Kills the loop at random moments, again and again, and looks whether anything was lost.

    python -m bench.loop_faults --kills 50

A round of a small robot is begun; its process is killed (SIGKILL) at a moment drawn by chance, and begun again, until
the round has come to its end; then another one, until there were so many kills.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import torch

from bench.small_robot import SETTINGS, write_robot
from semlt3d_ros.adaptation.loop import run_round
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.adaptation.plan import Rounds
from semlt3d_ros.adaptation.settings import LoopSettings, load_settings
from semlt3d_ros.adaptation.status import Status, read_status

_LONGEST_DELAY_S = 0.3


def run_and_kill(settings: LoopSettings, after: int, delay_s: float) -> bool:
    """Go on with a round in a process that is killed; returns whether it came to its end before.

    Args:
        settings: of the loop.
        after: changes of the status after which it is killed; 0 lets it live.
        delay_s: so much later, so that it may be anywhere.
    """
    child = os.fork()
    if child == 0:
        seen = Counter[str]()

        def tell(_: Status) -> None:
            seen["told"] += 1
            if seen["told"] == after:
                threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()

        try:
            os.setpgid(0, 0)
            run_round(settings, tell)
        except BaseException as error:  # it is told by the status that is not there
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        os.killpg(child, signal.SIGKILL)  # what loads frames for it
    if os.WIFSIGNALED(status):
        return False
    assert os.WEXITSTATUS(status) == 0, "the loop ended with an error of its own"
    return True


def fingerprint(folder: Path) -> str:
    """Of everything in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def check_models(settings: LoopSettings, running: str) -> None:
    """What runs is a whole version, and the one that ran, unless a round has promoted another one."""
    store = ModelStore(settings.models)
    current = store.current()
    assert current is not None, "nothing runs any more"
    store.verify(current)
    known = {running, *(plan.running for plan, _ in Rounds(settings.work).all())}
    known |= {result.candidate for _, result in Rounds(settings.work).all() if result is not None}
    verdicts = settings.work.glob("rounds/*/verdict/verdict.json")
    assert current in known or any(current in path.read_text() for path in verdicts), f"{current} came from nowhere"


def kill_and_finish(settings: LoopSettings, kills: int, seed: int, most: int = 30) -> Counter[str]:
    """Kill a round so many times, then let it finish.

    Args:
        settings: of the loop, with events that are enough for a round.
        kills: at most so many; a round that has come to its end is not killed any more.
        seed: decides the moments.
        most: changes of the status that are waited for at most.

    Returns:
        In which states it was killed, and how often.

    Raises:
        AssertionError: something was lost.
    """
    random_ = random.Random(seed)
    running = ModelStore(settings.models).current() or ""
    events = fingerprint(settings.events)
    killed: Counter[str] = Counter()
    for _ in range(kills):
        if run_and_kill(settings, random_.randint(1, most), random_.uniform(0, _LONGEST_DELAY_S)):
            break
        killed[(read_status(settings.work) or Status()).state] += 1
        check_models(settings, running)
    else:
        assert run_and_kill(settings, 0, 0.0)
    rounds = Rounds(settings.work).all()
    plan, result = rounds[-1]
    assert result is not None and result.outcome in ("promoted", "rejected"), result
    assert [each.number for each, _ in rounds] == list(range(1, plan.number + 1)), "a round was begun twice"
    check_models(settings, running)
    assert fingerprint(settings.events) == events, "events were changed"
    return killed


def main() -> int:
    """Kill, and tell in which states."""
    parser = argparse.ArgumentParser(prog="python -m bench.loop_faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        # What renders has threads, which a fork of it would wait for in vain: it is done in a process of its own.
        making = multiprocessing.get_context("spawn").Process(target=write_robot, args=(Path(folder),))
        making.start()
        making.join()
        settings = load_settings(Path(folder) / SETTINGS)
        round_ = 0
        while total.total() < options.kills:
            # Labels are made anew each time, frames are kept: what is to be killed is what is made.
            for name in ("rounds", "labels"):
                shutil.rmtree(settings.work / name, ignore_errors=True)
            left = options.kills - total.total()
            total += kill_and_finish(settings, min(left, 12), options.seed + round_)
            round_ += 1
            print(f"{total.total()} kills: {dict(total)}", flush=True)
    print("nothing was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())

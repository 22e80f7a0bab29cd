"""Kills a round of the loop at random moments, and looks whether anything was lost."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.small_robot import SETTINGS, write_robot
from semlt3d_ros.adaptation.loop import run_round
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.adaptation.plan import Rounds
from semlt3d_ros.adaptation.settings import LoopSettings, load_settings
from semlt3d_ros.adaptation.status import Status, read_status

STATES = {"labelling": "replaying", "training": "training", "judging": "evaluating"}
"""Stages of a round, and what the status calls them."""
_LONGEST_DELAY_S = 0.3
_MOST_CHANGES = {"labelling": 12, "training": 7, "judging": 6}
"""Changes of the status within a stage that are waited for at most: about as many as there are."""
_KILLS_OF_A_ROUND = 12


def run_and_kill(settings: LoopSettings, after: int, delay_s: float, state: str = "") -> bool:
    """Go on with a round in a process that is killed; returns whether it came to its end before.

    Args:
        settings: of the loop.
        after: changes of the status after which it is killed; 0 lets it live.
        delay_s: so much later, so that it may be anywhere.
        state: count only changes while it is in this state; empty: all.
    """
    child = os.fork()
    if child == 0:
        seen = Counter[str]()

        def tell(status: Status) -> None:
            seen["told"] += not state or status.state == state
            if seen["told"] == after and not seen["set"]:
                seen["set"] = 1
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


def kill_and_finish(settings: LoopSettings, kills: int, seed: int, most: int = 30, state: str = "") -> Counter[str]:
    """Kill a round so many times, then let it finish.

    Args:
        settings: of the loop, with events that are enough for a round.
        kills: at most so many; a round that has come to its end is not killed any more.
        seed: decides the moments.
        most: changes of the status that are waited for at most.
        state: of the status, in which it is to be killed; empty: any.

    Returns:
        In which states it was killed, and how often.

    Raises:
        AssertionError: something was lost.
    """
    random_ = random.Random(seed)
    running = ModelStore(settings.models).current() or ""
    events = fingerprint(settings.events)
    killed: Counter[str] = Counter()
    ended = False
    for _ in range(kills):
        ended = run_and_kill(settings, random_.randint(1, most), random_.uniform(0, _LONGEST_DELAY_S), state)
        if ended:
            break
        killed[(read_status(settings.work) or Status()).state] += 1
        check_models(settings, running)
    assert ended or run_and_kill(settings, 0, 0.0)
    rounds = Rounds(settings.work).all()
    plan, result = rounds[-1]
    assert result is not None and result.outcome in ("promoted", "rejected"), result
    assert [each.number for each, _ in rounds] == list(range(1, plan.number + 1)), "a round was begun twice"
    check_models(settings, running)
    assert fingerprint(settings.events) == events, "events were changed"
    return killed


def robot(folder: Path) -> LoopSettings:
    """A small robot's loop, in a folder that is made.

    What renders has threads, which a fork of it would wait for in vain: it is made by a process of its own.
    """
    making = multiprocessing.get_context("spawn").Process(target=write_robot, args=(folder,))
    making.start()
    making.join()
    return load_settings(folder / SETTINGS)


def kill_stage(settings: LoopSettings, stage: str, kills: int, seed: int) -> Iterator[Counter[str]]:
    """Kill rounds in one stage until so many kills fell in it; yields, after each round, in which state kills fell.

    Raises:
        AssertionError: something was lost.
    """
    state, total, number = STATES[stage], Counter[str](), 0
    while total[state] < kills:
        # Labels are made anew each time, frames are kept: what is to be killed is what is made.
        for name in ("rounds", "labels"):
            shutil.rmtree(settings.work / name, ignore_errors=True)
        left = min(kills - total[state], _KILLS_OF_A_ROUND)
        total += kill_and_finish(settings, left, 1000 * seed + number, _MOST_CHANGES[stage], state)
        number += 1
        yield total

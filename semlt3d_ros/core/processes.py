"""Processes that work for a command."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started in the context do not hear Ctrl-C, which a terminal sends to all of them at once.

    Whoever started them hears it, at the end of the context at the latest, and ends them.
    """
    resource_tracker.ensure_running()  # its first start lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stand_back(idle: bool = True) -> None:
    """From now on this process, and all that it starts, comes after the others.

    Where the kernel groups processes by session, niceness counts within a session alone; the group's counts then.

    Args:
        idle: it gets only what nobody else wants; else a small share of a processor that others want too.
    """
    niceness = 19 if idle else 10
    with suppress(OSError):
        os.nice(niceness)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))
    if idle:
        with suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

"""Processes that work for a command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


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

"""One thread for the slow part of a node, with a hand-over that holds one job: the newest wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")


class LatestWorker(Generic[Job]):
    """Runs ``work(job)`` on its own thread, one job at a time.

    Args:
        name: of the thread.
        work: called on the worker's thread; it must not raise.
    """

    def __init__(self, name: str, work: Callable[[Job], None]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._next: Job | None = None
        self._closed = False
        # A daemon, so that work that never ends cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Job | None:
        """Hand over a job; returns the one that was still waiting, which will never be worked on."""
        with self._changed:
            superseded, self._next = self._next, job
            self._changed.notify()
        return superseded

    def close(self, timeout_s: float) -> bool:
        """Take no more jobs, wait for the one in progress; returns whether it ended within ``timeout_s`` seconds."""
        with self._changed:
            self._closed = True
            self._next = None
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next is not None)
                if self._closed:
                    return
                job, self._next = self._next, None
            assert job is not None
            self._work(job)

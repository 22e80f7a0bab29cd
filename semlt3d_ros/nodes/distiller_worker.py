"""The distiller's child process, as the node sees it: started, told to stop, ended by force, looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol


class Worker(Protocol):
    """What goes on with a round."""

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""

    @property
    def said(self) -> str:
        """The line it ended with; to be asked for once it has ended."""

    def ask_to_stop(self) -> None:
        """Tell it to save its state and end."""

    def kill(self) -> None:
        """End it, and all that it has started, on the spot."""


class ChildWorker:
    """A worker in a process, and a session, of its own.

    Args:
        settings: the loop's file of settings.
    """

    def __init__(self, settings: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "semlt3d_ros.nodes.distiller_child", str(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def status(self) -> int | None:
        """As of ``Worker``."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """As of ``Worker``."""
        self._end_others()
        assert self._process.stdout is not None and self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        lines = self._process.stdout.read().splitlines()
        self._process.stdout.close()
        return lines[-1] if lines else ""

    def ask_to_stop(self) -> None:
        """As of ``Worker``."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """As of ``Worker``."""
        self._end_others()
        self._process.wait()

    def _end_others(self) -> None:
        """End its session: it, if it still runs, and processes that load frames."""
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)

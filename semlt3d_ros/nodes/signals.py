"""Ending a process that runs a node, by SIGINT and SIGTERM, in order and whatever moment they come.

Ctrl-C reaches a launched node twice, from the terminal and from `ros2 launch`, and impatient users press it again: so
what is still being closed must not be disturbed by the next one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semlt3d_ros.middleware.port import Middleware

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """What the next signal does: at first, raise ``SystemExit(0)`` once, for long loading; see ``ended_by_signals``.

    Attributes:
        asked: whether a signal came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._act: Callable[[], None] = self._unwind

    def stop(self, middleware: Middleware) -> None:
        """From now on, signals make ``middleware.spin`` return; also one that came before and was swallowed."""
        self._act = middleware.stop
        if self.asked:
            middleware.stop()

    def ignore(self) -> None:
        """From now on, signals do nothing: the process is on its way out."""
        self._act = _nothing

    def take(self, *_: Any) -> None:
        """The signals' handler."""
        self.asked = True
        self._act()

    def _unwind(self) -> None:
        self._act = _nothing
        raise SystemExit(0)


@contextmanager
def ended_by_signals() -> Iterator[Ending]:
    """Within the context, SIGINT and SIGTERM end what runs here. For the main thread only.

    Afterwards the former handlers are back, unless a signal came: then the process is on its way out, and further ones
    do nothing until it is gone.

    Raises:
        SystemExit: at the first signal, with status 0, until the ``Ending`` is told otherwise.
    """
    ending = Ending()
    previous = {number: signal.signal(number, ending.take) for number in _SIGNALS}
    try:
        yield ending
    finally:
        ending.ignore()
        for number, former in previous.items():
            # Handlers of Python's own are gone before the interpreter is; this stays to the end.
            signal.signal(number, signal.SIG_IGN if ending.asked else former)


@contextmanager
def stopped_by_signals(middleware: Middleware) -> Iterator[None]:
    """``ended_by_signals`` for what only spins: SIGINT and SIGTERM make ``middleware.spin`` return."""
    with ended_by_signals() as ending:
        ending.stop(middleware)
        yield


def end_at_once_by_signals() -> None:
    """From now on SIGINT and SIGTERM end the process with status 0, on the spot: for a program's first lines.

    Nothing is open yet while modules are imported, and an exception would run into whatever imports them.
    """
    for number in _SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))


def _nothing() -> None:
    pass

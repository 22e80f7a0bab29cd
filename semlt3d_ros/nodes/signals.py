"""Ending a node by signal."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from semlt3d_ros.middleware.port import Middleware


@contextmanager
def stopped_by_signals(middleware: Middleware) -> Iterator[None]:
    """Within the context, SIGINT and SIGTERM make ``middleware.spin`` return. For the main thread only."""
    with _handled_by(lambda *_: middleware.stop()):
        yield


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within the context, SIGINT and SIGTERM end the process with status 0: for long loading, before any ``spin``.

    Raises:
        SystemExit: at the signal. For the main thread only.
    """

    def end(*_: Any) -> None:
        raise SystemExit(0)

    with _handled_by(end):
        yield


@contextmanager
def _handled_by(handler: Callable[..., Any]) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)

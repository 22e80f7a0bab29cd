"""Ending a node by signal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from semlt3d_ros.middleware.port import Middleware


@contextmanager
def stopped_by_signals(middleware: Middleware) -> Iterator[None]:
    """Within the context, SIGINT and SIGTERM make ``middleware.spin`` return. For the main thread only."""
    previous = {
        number: signal.signal(number, lambda *_: middleware.stop()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

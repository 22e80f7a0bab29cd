"""What the views of bags and of running vehicles share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame, Labels

Shown = tuple[Frame, Detections | None, Labels | None]
"""A frame, the detector's answer if there is one, ground truth if there is any."""


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that the viewer's server never outlives us."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

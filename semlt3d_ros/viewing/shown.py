"""What the views of bags and of running vehicles share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.faults import Fault
from semlt3d_ros.core.frame import Frame, Labels

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Shown = tuple[Frame, Detections | None, Labels | None]
"""A frame, the detector's answer if there is one, ground truth if there is any."""

Tell = Callable[[Iterable[Fault], Iterable[Fault]], None]
"""Takes what was wrong with messages, and what is missing of the input."""


def tell_nothing(faults: Iterable[Fault], incomplete: Iterable[Fault]) -> None:
    """For whoever asks the frames themselves."""


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and the end of the terminal set, so that the viewer's server never outlives us."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    # nohup has the end of the terminal ignored, and so it stays.
    ending = [number for number in _ENDING if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in ending}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

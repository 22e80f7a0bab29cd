"""The process that labels, trains and judges: ``python -m semlt3d_ros.nodes.distiller_child SETTINGS``.

The node starts it, in a session of its own, and stops it; it ends with the node, whose end of its standard input it
watches, whatever way that ends. All it makes is on the disk; its exit status and a line on its output say how it went.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from semlt3d_ros.core.processes import stand_back
from semlt3d_ros.nodes.signals import end_at_once_by_signals

if TYPE_CHECKING:
    from semlt3d_ros.adaptation.settings import LoopSettings

ENDED, REFUSED, WAITING, BUSY, INTERRUPTED = 0, 2, 3, 4, 130
"""Exit statuses: a round has ended, well or not; the settings do not fit; there is too little to learn from; another
distiller is at work; it was told to stop."""


def main(arguments: Sequence[str]) -> int:
    """Go on with one round."""
    end_at_once_by_signals()
    from semlt3d_ros.adaptation.alone import Busy
    from semlt3d_ros.adaptation.loop import run_round
    from semlt3d_ros.adaptation.settings import load_settings
    from semlt3d_ros.core.errors import ConfigurationError

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    try:
        settings = load_settings(Path(arguments[0]))
        keep_within(settings)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        status = run_round(settings)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Busy as error:
        print(error, flush=True)
        return BUSY
    except ConfigurationError as error:
        print(error, flush=True)
        return REFUSED
    print(status.message, flush=True)
    return WAITING if status.state == "idle" else ENDED


def keep_within(settings: LoopSettings) -> None:
    """Take no more of the machine than the settings allow."""
    import torch

    if settings.priority != "normal":
        stand_back(settings.priority == "idle")
    torch.set_num_threads(settings.threads)
    if settings.device.startswith("cuda") and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(settings.gpu_share)


def _end_with_parent() -> NoReturn:
    """Nobody must go on, or keep the folder, when the node is gone; what is half done is made again."""
    while os.read(0, 1024):
        pass
    if os.getpgrp() == os.getpid():  # the processes that load frames go too
        os.killpg(0, signal.SIGKILL)
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)

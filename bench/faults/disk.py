"""A disk that is full, or turns read-only, at every write of the loop in turn."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semlt3d_ros.adaptation.loop import run_round
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.adaptation.settings import LoopSettings
from semlt3d_ros.adaptation.status import STATUS
from semlt3d_ros.core.errors import ConfigurationError

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"os.rename": 1, "os.mkdir": 0, "os.symlink": 1, "os.truncate": 0}
"""What changes a file system, and which argument says where."""
_NOT_THE_LOOPS = ("lock", STATUS)
"""The lock is there before; the status is told of anyway, so that losing it loses nothing."""


@dataclass(frozen=True)
class Outcome:
    """How a call of the loop ended on such a disk.

    Attributes:
        state, message: of the status that it returned.
        refused: the place at which the disk refused first, relative to the robot; empty where nothing was refused.
    """

    state: str
    message: str
    refused: str = ""


class _Disk:
    """Refuses to write from a place on that nobody has passed yet; for the rest of this process."""

    def __init__(self, root: Path, within: Path, code: int, passed: Collection[str], wanted: str) -> None:
        self._root, self._within = str(root), str(within)
        self._code, self._passed, self._wanted = code, frozenset(passed), wanted
        self.refused = ""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            place, _, flags = arguments
            if not (isinstance(flags, int) and flags & _WRITES):
                return
        elif event in _CHANGES:
            place = arguments[_CHANGES[event]]
        else:
            return
        if isinstance(place, int):
            return
        path = os.path.abspath(os.fsdecode(place))
        if not path.startswith(self._within) or os.path.basename(path).split(".unf")[0] in _NOT_THE_LOOPS:
            return
        if event == "os.mkdir" and os.path.isdir(path):
            return
        name = f"{event} {os.path.relpath(path, self._root)}"
        if os.path.basename(path).startswith(STATUS.removesuffix(".json")):
            return
        if not self.refused and (name in self._passed or self._wanted not in name):
            return
        self.refused = self.refused or name
        raise OSError(self._code, os.strerror(self._code), path)


def on_a_bad_disk(
    settings: LoopSettings,
    passed: Collection[str] = (),
    wanted: str = "",
    within: Path | None = None,
    code: int = errno.ENOSPC,
) -> Outcome:
    """Go on with a round, in a process whose disk refuses to write from some moment on.

    Args:
        settings: of the loop.
        passed: places that were refused before, and are not any more.
        wanted: the first place that is refused has this in its name; empty: the first that was not refused yet.
        within: the folder that refuses; None: that of the robot.
        code: the error.

    Raises:
        AssertionError: the loop ended with an error of its own, instead of telling of it.
    """
    root = settings.work.parent
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        disk = _Disk(root, within or root, code, passed, wanted)
        try:
            os.setpgid(0, 0)
            os.close(reads)
            sys.addaudithook(disk)
            status = run_round(settings)
            os.write(writes, json.dumps([status.state, status.message[:2000], disk.refused]).encode())
        except ConfigurationError as error:
            os.write(writes, json.dumps(["failed", str(error)[:2000], disk.refused]).encode())
        except BaseException as error:
            os.write(writes, json.dumps(["raised", f"{type(error).__name__}: {error}"[:2000], disk.refused]).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    with suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    outcome = Outcome(*json.loads(said))
    assert outcome.state != "raised", f"at {outcome.refused}: {outcome.message}"
    return outcome


def counted(outcomes: Iterable[Outcome]) -> Iterator[Counter[str]]:
    """In which folder of the robot the disk refused, and how often; yields after every call."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        place = outcome.refused.rpartition(" ")[2].split("/")
        total["/".join(place[:2]) if outcome.refused else "nowhere: the round ended"] += 1
        yield total


def fill_at_every_write(settings: LoopSettings, code: int = errno.ENOSPC) -> Iterator[Outcome]:
    """Go on with a round again and again, until no place refuses any more; yields how each call ended.

    Raises:
        AssertionError: something was lost, or not told.
    """
    running = ModelStore(settings.models).current()
    passed: list[str] = []
    while True:
        outcome = on_a_bad_disk(settings, passed, code=code)
        store = ModelStore(settings.models)
        current = store.current()
        assert current is not None
        store.verify(current)
        if not outcome.refused:
            assert outcome.state in ("promoted", "rejected"), outcome
            yield outcome
            return
        told = os.strerror(code) in outcome.message
        ended = outcome.state in ("promoted", "rejected")
        assert ended or (outcome.state == "failed" and told), f"at {outcome.refused}: {outcome}"
        assert ended or current == running, "what ran does not run any more"
        yield outcome
        passed.append(outcome.refused)
        if ended:
            return

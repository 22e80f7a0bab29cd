"""Where the loop stands: kept on the disk, so that nodes, terminals and the viewer can look at it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import whole

STATUS = "status.json"
State = Literal["idle", "replaying", "training", "evaluating", "promoted", "rejected", "failed"]
_LEAST_S = 0.5


@dataclass(frozen=True)
class Status:
    """As of ``DistillationStatus.msg``, which says what is what; None for figures that are not known.

    Attributes:
        state: what is being done, or how the last round ended.
        round: its number.
        at_ns: when this was true, wall clock.
    """

    state: State = "idle"
    message: str = ""
    round: int = 0
    at_ns: int = 0
    recordings_replayed: int = 0
    recordings_total: int = 0
    pseudo_labels_kept: int = 0
    pseudo_labels_rejected: int = 0
    training_step: int = 0
    training_steps: int = 0
    running_version: str = ""
    candidate_version: str = ""
    running_held_back: float | None = None
    candidate_held_back: float | None = None
    running_regression: float | None = None
    candidate_regression: float | None = None
    promoted: bool = False
    reason_not_promoted: str = ""


Tell = Callable[[Status], None]
"""Called with every change of the status."""


class StatusFile:
    """Tells of a status, and keeps it in ``WORK/status.json``.

    Args:
        work: the loop's folder.
        tell: told too, of every change.

    Attributes:
        status: the last one.
    """

    def __init__(self, work: Path, tell: Tell) -> None:
        self._path, self._tell, self._written = work / STATUS, tell, 0.0
        self.status = read_status(work) or Status()

    def set(self, **changes: Any) -> None:
        """Change entries of the status; where only counts change, the file follows a little later."""
        before = self.status
        self.status = replace(before, at_ns=time.time_ns(), **changes)
        self._tell(self.status)
        turned = (before.state, before.message, before.round) != (
            self.status.state,
            self.status.message,
            self.status.round,
        )
        if turned or time.monotonic() - self._written >= _LEAST_S:
            self._written = time.monotonic()
            # A full disk must not end what may make room.
            with suppress(ConfigurationError, OSError), whole(self._path, durable=False) as draft:
                draft.write_text(json.dumps(asdict(self.status)) + "\n", encoding="utf-8")


def read_status(work: Path) -> Status | None:
    """The status of a loop; None where there is none, or it cannot be read."""
    from semlt3d_ros.core.config import parse

    try:
        return parse(Status, json.loads((work / STATUS).read_bytes()), f"'{work / STATUS}'")
    except (OSError, ValueError, ConfigurationError):
        return None

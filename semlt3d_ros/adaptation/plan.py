"""What a round of the loop learns from and is judged by, decided once and written down."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from semlt3d_ros.adaptation.settings import LoopSettings
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import write_whole

PLAN, RESULT = "plan.json", "result.json"
ROUNDS = "rounds"
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """A round.

    Attributes:
        number: of the round, from 1.
        basis: digest of the settings and the recipe; a round of others is not gone on with.
        running: version of the model that ran, whose copy learns.
        learnt, held_back: names of events, oldest first.
    """

    number: int
    basis: str
    running: str
    learnt: tuple[str, ...]
    held_back: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All events."""
        return self.learnt + self.held_back


@dataclass(frozen=True)
class Result:
    """How a round ended.

    Attributes:
        outcome: ``promoted``, ``rejected``, ``failed`` or ``abandoned``.
        message: why, for people.
        candidate: version that was judged; empty where there was none.
    """

    outcome: str
    message: str
    candidate: str = ""


def is_held_back(name: str, share: float) -> bool:
    """Whether an event is judged by instead of learnt from: its name decides, so that this never changes."""
    return _lot(name) < share


def _lot(name: str) -> float:
    """A number in [0, 1) that a name has drawn once and for all."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64


def basis_of(settings: LoopSettings) -> str:
    """Digest of what decides a round besides its events: what it may take of the machine does not."""
    decides = replace(
        settings,
        least_new=1,
        most_events=1,
        device="",
        threads=1,
        priority="idle",
        gpu_share=1.0,
        free_gib=0.0,
        cache_gib=1.0,
        data_gib=1.0,
    )
    return hashlib.sha256(repr(decides).encode() + settings.recipe.read_bytes()).hexdigest()[:16]


class Rounds:
    """The rounds of a loop on the disk: ``WORK/rounds/0001/`` and so on."""

    def __init__(self, work: Path) -> None:
        self._folder = work / ROUNDS

    def folder(self, number: int) -> Path:
        """Of a round; made if need be."""
        place = self._folder / f"{number:04d}"
        place.mkdir(parents=True, exist_ok=True)
        return place.absolute()

    def all(self) -> list[tuple[Plan, Result | None]]:
        """Every round that was planned, in order, and how it ended; None of one that has not."""
        found = []
        for path in sorted(self._folder.glob(f"*/{PLAN}")):
            plan = _read(Plan, path)
            result = path.with_name(RESULT)
            found.append((plan, _read(Result, result) if result.exists() else None))
        return found

    def begin(self, plan: Plan) -> None:
        """Write a plan down."""
        write_whole(self.folder(plan.number) / PLAN, json.dumps(asdict(plan), indent=1) + "\n")

    def end(self, plan: Plan, result: Result) -> None:
        """Write down how a round ended."""
        write_whole(self.folder(plan.number) / RESULT, json.dumps(asdict(result), indent=1) + "\n")


def next_plan(
    settings: LoopSettings, running: str, events: Sequence[str], rounds: Sequence[tuple[Plan, Result | None]]
) -> Plan | str:
    """The plan of the next round, or why there is none yet.

    Args:
        settings: how many events are asked for.
        running: version of the model that runs.
        events: names of those there are, oldest first.
        rounds: those before.
    """
    ended = [plan for plan, result in rounds if result is not None and result.outcome != "abandoned"]
    seen = {name for plan in ended for name in plan.names}
    new = [name for name in events if name not in seen]
    if len(new) < settings.least_new:
        return f"{len(new)} new events, {settings.least_new} are asked for (least_new): waiting for more"
    # New ones come first: where the clock was set back their names are those of old ones, and they were never taken.
    taken = set(new[-settings.most_events :])
    known = [name for name in events if name not in set(new)]
    taken |= set(known[max(len(known) - settings.most_events + len(taken), 0) :])
    chosen = [name for name in events if name in taken]
    # What was ever learnt from cannot judge, and the other way round, also where the share was another one then.
    learnt_before = {name for plan, _ in rounds for name in plan.learnt}
    held_before = {name for plan, _ in rounds for name in plan.held_back}
    undecided = {name for name in chosen if name not in learnt_before | held_before}
    held = {name for name in undecided if is_held_back(name, settings.held_back)} | held_before
    # Lots vary, and of few events all may have drawn the same: those nearest to the other side go there, until the gate
    # has as many as it asks for, or half of them all, and until there is something to learn from.
    nearest = sorted(undecided - held, key=_lot)
    short = min(settings.gate.least_drives, len(chosen) // 2) - len(held & set(chosen))
    held |= set(nearest[: max(short, 0)])
    if len(undecided) > 1 and set(chosen) <= held:
        held.remove(max(undecided, key=_lot))
    back = [name for name in chosen if name in held]
    learnt = [name for name in chosen if name not in held]
    if not back or not learnt:
        lacking = "learn from" if back else "hold back"
        return f"of {len(chosen)} events there is none to {lacking} (held_back): waiting for more"
    number = 1 + max((plan.number for plan, _ in rounds), default=0)
    return Plan(number, basis_of(settings), running, tuple(learnt), tuple(back))


def _read(kind: type[T], path: Path) -> T:
    from semlt3d_ros.core.config import parse

    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"'{path}' cannot be read ({error}); remove its folder") from error
    return parse(kind, values, f"'{path}'")

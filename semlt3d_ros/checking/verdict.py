"""What is said of one aspect of a recording, and what follows for its use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "note", "bad"]
Use = Literal["detection", "learning"]

USES: tuple[Use, ...] = ("detection", "learning")


@dataclass(frozen=True)
class Verdict:
    """One row of the table.

    Attributes:
        subject: what was looked at, such as ``"CAM_FRONT mounting"``.
        status: ``bad`` keeps from the uses in ``spoils``; a ``note`` makes results worse or wants a look.
        found: what was found, with numbers.
        remedy: what to do; empty where it is ``ok``.
        spoils: what a ``bad`` one keeps from.
    """

    subject: str
    status: Status
    found: str
    remedy: str = ""
    spoils: tuple[Use, ...] = USES


def unfit_for(verdicts: Iterable[Verdict]) -> dict[Use, list[str]]:
    """By use, the subjects that keep from it; an empty list where nothing does."""
    bad = [verdict for verdict in verdicts if verdict.status == "bad"]
    return {use: [verdict.subject for verdict in bad if use in verdict.spoils] for use in USES}


def to_json(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Fitness for each use and all verdicts, as plain values."""
    verdicts = tuple(verdicts)
    fit = {f"fit_for_{use}": not subjects for use, subjects in unfit_for(verdicts).items()}
    return {**fit, "checks": [asdict(verdict) for verdict in verdicts]}

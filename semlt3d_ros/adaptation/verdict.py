"""What the gate said of a candidate: figures, reasons in words, and what is kept of them on the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.evaluation.bootstrap import Change

FIGURES = "verdict.json"
PAGE = "verdict.md"


@dataclass(frozen=True)
class Comparison:
    """Two models on the same frames.

    Attributes:
        frames: labelled ones.
        drawn: how many drives, or clips of drives, were drawn from.
        units: ``"drives"`` or ``"clips"``.
        groups: how the mean AP of all classes and of each frequency group differs.
        classes: how the AP of each class that has true boxes differs.
    """

    frames: int
    drawn: int
    units: str
    groups: tuple[Change, ...]
    classes: tuple[Change, ...]

    def group(self, name: str) -> Change:
        """The change of a group of classes, one of those that there are."""
        return {each.name: each for each in self.groups}[name]


@dataclass(frozen=True)
class Cost:
    """What the two models cost, on the same frames, in turns.

    Attributes:
        running_ms, candidate_ms: medians of a detection.
        slower: median of the candidate's time over the running's, frame by frame.
        running_mib, candidate_mib: weights, and what is alive besides at the worst moment of a frame.
    """

    running_ms: float
    candidate_ms: float
    slower: float
    running_mib: float
    candidate_mib: float


@dataclass(frozen=True)
class Picture:
    """A frame in which the two models differ: ``name`` of its file, what it shows, and (H, W, 3) RGB."""

    name: str
    text: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may take the place of what runs.

    Attributes:
        promoted: whether it may.
        candidate, running: model versions; the candidate's is its file's name where it cannot be read.
        reasons: why, a line each; of a refusal everything that speaks against it.
        notes: what the figures cannot tell.
        held_back: on what the robot has seen and nobody learnt from; None where the candidate was refused before.
        regression: likewise on the fixed set.
        cost: likewise.
        settings: by which it was judged, as plain values.
        pictures: gains and losses; not part of the JSON.
    """

    promoted: bool
    candidate: str
    running: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    held_back: Comparison | None = None
    regression: Comparison | None = None
    cost: Cost | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures as plain values."""
        values = asdict(self)
        del values["pictures"]
        return values


def verdict_from_json(values: Any, place: str) -> Verdict:
    """What ``to_json`` gave; ``place`` names it in messages.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(values, Mapping) and "pictures" in values:
        raise ConfigurationError(f"{place}: pictures are files beside it")
    return parse(Verdict, values, place)


def read_verdict(folder: Path) -> Verdict:
    """The verdict of a folder that ``verdict_page.write_page`` has written, without its pictures.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    path = folder / FIGURES
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigurationError(f"'{folder}' holds no {FIGURES}: it is no verdict") from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"'{path}' cannot be read: {error}") from error
    return verdict_from_json(values, f"'{path}'")


def points(change: float | None) -> str:
    """A change of AP in points, such as ``+1.2``; ``-`` where it is unknown."""
    return "-" if change is None else f"{round(100 * change, 1) + 0.0:+.1f}"

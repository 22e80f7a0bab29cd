"""What a run found, kept so that runs can be compared drive by drive: a paired bootstrap over drives and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.classes import frequency_groups
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.evaluation.bootstrap import (
    Answer,
    Matched,
    average_precisions,
    bounds,
    drawn_drives,
    group_means,
    matched,
)
from semlt3d_ros.evaluation.given_box import Named, named, naming_precisions
from semlt3d_ros.evaluation.protocols import Protocol
from semlt3d_ros.evaluation.settings import EvaluationSettings

RESAMPLES = 1000
_EACH_BOUND = 0.975
"""Confidence of each bound, for intervals of 95 %."""
MEASURES = ("AP", "AP given a box")


@dataclass(frozen=True)
class Kept:
    """What became of a student's predictions on a test set, and what it said of the objects that it had a box for."""

    matches: Matched
    objects: Named

    @classmethod
    def of(cls, answers: Sequence[Answer], drives: int, settings: EvaluationSettings) -> Kept:
        """Of what was found in labelled frames of ``drives`` drives."""
        return cls(matched(answers, drives, settings), named(answers, settings))

    def save(self, path: Path) -> None:
        """Write to a file."""
        arrays = {f"{part}_{name}": values for part, each in self._parts.items() for name, values in vars(each).items()}
        with whole(path) as draft, draft.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Kept:
        """Read what ``save`` wrote."""
        with np.load(path) as file:
            parts: dict[str, dict[str, NDArray[Any]]] = {"matches": {}, "objects": {}}
            for key in file.files:
                part, _, name = key.partition("_")
                parts[part][name] = file[key]
        return cls(Matched(**parts["matches"]), Named(**parts["objects"]))

    @property
    def _parts(self) -> dict[str, Matched | Named]:
        return {"matches": self.matches, "objects": self.objects}

    def figures(self, protocol: Protocol, counts: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Measure and group, as ``"AP, few"``, to (B,) means over the group's classes, each drive counted ``counts``
        (B, D) times."""
        of_classes = (
            average_precisions(self.matches, counts, protocol),
            naming_precisions(self.objects, counts),
        )
        return {
            f"{measure}, {group}": group_means(values[:, list(columns)])
            for measure, values in zip(MEASURES, of_classes, strict=True)
            for group, columns in frequency_groups(protocol.classes).items()
        }


@dataclass(frozen=True)
class Gain:
    """How a figure differs from that of what is compared with.

    Attributes:
        values: of each seed, in [0, 1].
        gain: mean over the seeds.
        interval: 95 % of it; None where too few drives say anything.
    """

    values: tuple[float, ...]
    gain: float
    interval: tuple[float, float] | None


def drawn_figures(
    runs: Sequence[Kept], protocol: Protocol, resamples: int = RESAMPLES
) -> dict[str, NDArray[np.float64]]:
    """Figures of the runs of a row: (seeds, 1 + B), the first as the drives are, the others of drives drawn anew.

    The same drives are drawn for all rows that were judged on the same test set.
    """
    drives = len(runs[0].matches.truth)
    counts = np.concatenate([np.ones((1, drives), np.int64), drawn_drives(drives, resamples, 0)])
    found = [run.figures(protocol, counts) for run in runs]
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def gains(
    reference: dict[str, NDArray[np.float64]], row: dict[str, NDArray[np.float64]], drives: int
) -> dict[str, Gain]:
    """How a row differs from another, both as of ``drawn_figures``: of the same seeds, or of one that all share."""
    result = {}
    for name, values in row.items():
        away = (values - reference[name]).mean(axis=0)
        drawn = away[1:][np.isfinite(away[1:])]
        result[name] = Gain(tuple(values[:, 0].tolist()), float(away[0]), bounds(drawn, drives, _EACH_BOUND))
    return result

"""How far detections hold out when images are corrupted (RoboBEV, Xie et al., TPAMI 2025)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semlt3d_ros.evaluation.report import Report, mean_of

FIGURES = ("nds", "map")
"""What is compared: NDS as in RoboBEV, and mAP."""

Figures = Mapping[str, float | None]
"""NDS and mAP in [0, 1] by ``FIGURES``; None where no object counts."""


def figures_of(report: Report) -> Figures:
    """What is compared of an evaluation."""
    return {"nds": report.nds, "map": report.map}


@dataclass(frozen=True)
class Robustness:
    """A detector's figures on the same frames, as they are and corrupted.

    Attributes:
        clean: without corruption.
        corrupted: corruption to the figures of its severities, the mildest first.
    """

    clean: Figures
    corrupted: Mapping[str, Sequence[Figures]]

    def resilience(self, corruption: str, figure: str = "nds") -> float | None:
        """RR: the mean over the severities relative to what it is without corruption."""
        clean, left = self.clean[figure], mean_of(each[figure] for each in self.corrupted[corruption])
        return left / clean if clean and left is not None else None

    def mean_resilience(self, corruptions: Iterable[str] | None = None, figure: str = "nds") -> float | None:
        """MRR: the mean of RR over corruptions, or over all."""
        return mean_of(self.resilience(name, figure) for name in corruptions or self.corrupted)

    def error(self, corruption: str, baseline: Robustness, figure: str = "nds") -> float | None:
        """CE: what is missing to 1, summed over the severities, relative to what a baseline misses."""
        if corruption not in baseline.corrupted:
            return None
        missing, others = (
            [1.0 - value for each in about.corrupted[corruption] if (value := each[figure]) is not None]
            for about in (self, baseline)
        )
        return sum(missing) / sum(others) if len(missing) == len(others) and sum(others) > 0 else None

    def mean_error(self, baseline: Robustness, figure: str = "nds") -> float | None:
        """MCE: the mean of CE over the corruptions that both know."""
        return mean_of(self.error(name, baseline, figure) for name in self.corrupted)

    def to_json(self) -> dict[str, Any]:
        """Everything, as ``from_json`` takes it, with RR and mRR."""
        return {
            "clean": dict(self.clean),
            "corrupted": {name: [dict(each) for each in told] for name, told in self.corrupted.items()},
            "resilience": {name: self.resilience(name) for name in self.corrupted},
            "mean_resilience": {figure: self.mean_resilience(figure=figure) for figure in FIGURES},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Robustness:
        """What ``to_json`` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        corrupted = {str(name): [_figures(each) for each in told] for name, told in values["corrupted"].items()}
        return cls(_figures(values["clean"]), corrupted)


def _figures(values: Mapping[str, Any]) -> Figures:
    return {name: None if values[name] is None else float(values[name]) for name in FIGURES}

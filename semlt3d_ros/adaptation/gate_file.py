"""What the gate is asked by hand: a YAML file with the frames and what is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from semlt3d_ros.adaptation.gate import GateSettings
from semlt3d_ros.core.checks import Checked, Checks, rule
from semlt3d_ros.core.config import load
from semlt3d_ros.datasets.specs import DataSpec, shared_seeds


@dataclass(frozen=True)
class GateFile(Checked):
    """Frames and settings.

    Attributes:
        held_back: labelled frames of what the robot has seen, of which nothing was learnt.
        regression: labelled frames that are always the same.
        settings: what is asked.
    """

    TITLE: ClassVar[str] = "gate"
    CHECKS: ClassVar[Checks] = (
        rule(lambda gate: gate.held_back, "held_back needs at least one source"),
        rule(lambda gate: gate.regression, "regression needs at least one source"),
        rule(
            lambda gate: all(spec.labelled for spec in (*gate.held_back, *gate.regression)),
            "held_back and regression need labelled sources",
        ),
        lambda gate: shared_seeds((*gate.held_back, *gate.regression)),
    )

    held_back: tuple[DataSpec, ...]
    regression: tuple[DataSpec, ...]
    settings: GateSettings = field(default_factory=GateSettings)


def load_gate(path: Path) -> GateFile:
    """Read the file; raises ``ConfigurationError`` with everything that does not fit."""
    return load(GateFile, path, "gate")

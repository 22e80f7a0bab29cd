"""How images of several cameras are matched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semlt3d_ros.core.errors import ConfigurationError


@dataclass(frozen=True)
class AssemblerConfig:
    """How images are matched.

    Attributes:
        completed_by: ``"all"``: a set is given out when every camera is there, at the latest at its deadline;
            ``"anchor"``: as soon as the anchor's image is there, with the images that came before it.
        tolerance_s: largest distance of an image from its anchor. Less than half of the cameras' period keeps the
            matching unique.
        deadline_s: a set is given out without its missing cameras when the newest stamp is later than it by this.
        min_cameras: sets with fewer images are dropped as ``incomplete``; None is half of the rig, rounded up.
        max_waiting: images held per camera; more end the oldest set early.
        max_backward_s: stamps that fall back by more are a time jump: memory of earlier sets no longer applies.
        max_gap_s: stamps that run ahead by more are a gap, with the same effect.
        stall_s: ``poll`` gives out what waits when no image came for this long.

    Raises:
        ConfigurationError: lists all values that do not fit.
    """

    completed_by: Literal["all", "anchor"] = "all"
    tolerance_s: float = 0.06
    deadline_s: float = 0.2
    min_cameras: int | None = None
    max_waiting: int = 8
    max_backward_s: float = 1.0
    max_gap_s: float = 2.0
    stall_s: float = 0.5

    def __post_init__(self) -> None:
        faults = []
        if self.completed_by not in ("all", "anchor"):
            faults.append(f"completed_by must be 'all' or 'anchor', not '{self.completed_by}'")
        for name in ("tolerance_s", "deadline_s", "max_backward_s", "max_gap_s", "stall_s"):
            if not 0 < getattr(self, name) < float("inf"):
                faults.append(f"{name} must be a positive number of seconds, not {getattr(self, name)}")
        if self.min_cameras is not None and self.min_cameras < 1:
            faults.append(f"min_cameras must be at least 1, not {self.min_cameras}")
        if self.max_waiting < 2:
            faults.append(f"max_waiting must be at least 2, not {self.max_waiting}")
        if faults:
            raise ConfigurationError("synchronisation: " + "; ".join(faults))

"""How detections of a drive are made consistent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, share


@dataclass(frozen=True)
class LabelSettings(Checked):
    """What objects do, how exactly a teacher sees them, and what is taken for an object.

    Attributes:
        score: least confidence of a detection that is looked at.
        start_score: least confidence of one that begins a track.
        gate_m: farthest that a detection of an object lies from where it is expected, beyond what its motion allows.
        fewest_hits: detections of an object; what was seen less often is a ghost. In a drive of fewer frames, as many
            as it has.
        longest_gap_s: an object that was not seen for longer has another track afterwards.
        position_m: deviation of detected centres near the vehicle.
        position_per_m: by how much it grows per metre of range.
        velocity_mps: deviation of detected velocities; the teacher that comes with the package hardly tells them.
        acceleration_mps2: deviation of accelerations.
        still_mps, still_m: an object stands if it is on the whole slower than the one, and its smoothed way is shorter
            than the other.
        heading_mps: from this speed on, an object heads along its way.
        gap_share: share of the confidence that an object has where it was not detected, between detections of it.
    """

    TITLE: ClassVar[str] = "labelling"
    CHECKS: ClassVar[Checks] = (
        *share("score", "start_score", "gap_share"),
        *positive("gate_m", "fewest_hits", "longest_gap_s", "position_m", "velocity_mps", "acceleration_mps2"),
        *not_negative("position_per_m", "still_mps", "still_m", "heading_mps"),
    )

    score: float = 0.1
    start_score: float = 0.15
    gate_m: float = 2.0
    fewest_hits: int = 2
    longest_gap_s: float = 0.8
    position_m: float = 0.25
    position_per_m: float = 0.01
    velocity_mps: float = 12.0
    acceleration_mps2: float = 6.0
    still_mps: float = 0.6
    still_m: float = 1.0
    heading_mps: float = 1.5
    gap_share: float = 0.7

"""nuScenes' attributes of boxes: which there are, and what to say of a box when only its motion is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOVING_SPEED = 0.2
"""Boxes at least as fast, in m/s, are called moving."""

_VEHICLES = ("car", "truck", "trailer", "bus", "construction_vehicle", "emergency_vehicle")
_CYCLES = ("bicycle", "motorcycle", "personal_mobility")
_PEOPLE = ("pedestrian", "adult", "child", "police_officer", "construction_worker", "stroller")

_STILL_AND_MOVING: dict[str, tuple[str, str]] = {
    **dict.fromkeys(_VEHICLES, ("vehicle.parked", "vehicle.moving")),
    **dict.fromkeys(_CYCLES, ("cycle.without_rider", "cycle.with_rider")),
    **dict.fromkeys(_PEOPLE, ("pedestrian.standing", "pedestrian.moving")),
}


@dataclass(frozen=True)
class FrameAttributes:
    """Attribute names of one frame's boxes, which neither detections nor labels carry.

    Attributes:
        predicted: one name for each detected box, ``""`` where none is said; empty where none is for any.
        true: one name for each true box, ``""`` where it has none or nobody knows; such a box has no attribute error.
            Empty where nobody knows any.
    """

    predicted: tuple[str, ...] = ()
    true: tuple[str, ...] = ()


def attributes_from_motion(class_names: Sequence[str], velocity: NDArray[np.float64]) -> tuple[str, ...]:
    """The likeliest nuScenes attribute of boxes of which only the motion is known.

    Args:
        class_names: N class names of the taxonomy or of a protocol.
        velocity: (N, 2) m/s; unknown counts as still.

    Returns:
        N names; ``""`` for classes that have no attributes in nuScenes.
    """
    moving = np.linalg.norm(np.nan_to_num(velocity), axis=1) >= MOVING_SPEED
    none = ("", "")
    return tuple(_STILL_AND_MOVING.get(name, none)[int(moves)] for name, moves in zip(class_names, moving, strict=True))

"""The street's centre line and cross section, and coordinates along it.

Road coordinates (s, d): metres along the centre line and metres to its left. Traffic keeps to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verge = Literal["grass", "paved", "parking"]
"""What lies beyond a sidewalk."""

_VERGES: tuple[Verge, ...] = ("grass", "paved", "parking")
_VERGE_SHARES = (0.5, 0.3, 0.2)


@dataclass(frozen=True)
class Road:
    """A straight or circular street, possibly crossed by another one at right angles.

    Attributes:
        curvature: 1/m, positive to the left; 0 is straight.
        lanes: lanes per direction.
        lane_width, parking_width, sidewalk_width: metres; parking_width 0 means no parked row.
        setback: metres from the sidewalk to the buildings.
        crossing_s: where the crossing street's centre line meets this one, or None.
        crossing_half_width: metres.
        left, right: the verge beyond each sidewalk.
        dashed_centre: whether the centre line is dashed; else it is solid.
    """

    curvature: float
    lanes: int
    lane_width: float
    parking_width: float
    sidewalk_width: float
    setback: float
    crossing_s: float | None
    crossing_half_width: float
    left: Verge
    right: Verge
    dashed_centre: bool

    @property
    def half_width(self) -> float:
        """Metres from the centre line to the kerb."""
        return self.lanes * self.lane_width + self.parking_width

    @property
    def building_line(self) -> float:
        """Metres from the centre line to the house fronts."""
        return self.half_width + self.sidewalk_width + self.setback

    def to_world(self, s: NDArray | float, d: NDArray | float) -> tuple[NDArray, NDArray]:
        """World positions (..., 2) of road coordinates, and the heading (...) of the centre line there in radians."""
        s, d = np.asarray(s, np.float64), np.asarray(d, np.float64)
        if self.curvature == 0.0:
            s, d = np.broadcast_arrays(s, d)
            return np.stack([s, d], axis=-1), np.zeros(s.shape)
        heading = self.curvature * s
        radius = 1.0 / self.curvature
        xy = np.stack([(radius - d) * np.sin(heading), radius - (radius - d) * np.cos(heading)], axis=-1)
        return xy, np.broadcast_to(heading, xy.shape[:-1])

    def to_road(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Road coordinates s, d (...) of world positions x, y (...)."""
        if self.curvature == 0.0:
            return x, y
        radius = x.dtype.type(1.0 / self.curvature)
        sign = x.dtype.type(np.sign(self.curvature))
        rest = radius - y
        return np.arctan2(x * sign, rest * sign) * radius, radius - sign * np.hypot(x, rest)

    def velocity(self, s: NDArray, d: NDArray, v_s: NDArray, v_d: NDArray) -> NDArray[np.float64]:
        """World velocity (..., 2) m/s of something whose road coordinates change by v_s, v_d per second."""
        heading = self.curvature * s
        along, across = v_s * (1.0 - self.curvature * d), v_d
        c, n = np.cos(heading), np.sin(heading)
        return np.stack([c * along - n * across, n * along + c * across], axis=-1)


def make_road(rng: np.random.Generator, length: float) -> Road:
    """A random street of which ``length`` metres around s = 0 will be used."""
    kind = rng.choice(3, p=(0.45, 0.3, 0.25))
    bend = float(rng.uniform(0.3, 2.0) * rng.choice((-1.0, 1.0)) / max(length, 160.0)) if kind == 1 else 0.0
    lanes = int(rng.choice((1, 2), p=(0.6, 0.4)))
    return Road(
        curvature=bend,
        lanes=lanes,
        lane_width=float(rng.uniform(3.1, 3.7)),
        parking_width=float(rng.choice((0.0, 2.4), p=(0.35, 0.65))),
        sidewalk_width=float(rng.uniform(1.8, 4.5)),
        setback=float(rng.uniform(0.5, 9.0)),
        crossing_s=float(rng.uniform(-30.0, 35.0)) if kind == 2 else None,
        crossing_half_width=float(rng.uniform(3.2, 7.0)),
        left=_VERGES[int(rng.choice(len(_VERGES), p=_VERGE_SHARES))],
        right=_VERGES[int(rng.choice(len(_VERGES), p=_VERGE_SHARES))],
        dashed_centre=bool(rng.random() < 0.6),
    )

"""Cities that look unlike the one that most of the simulated world is.

What cameras see differs, what stands there does not. For what happens to a detector that drives where
it never was. A LiDAR sees hardly any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from semlt3d_ros.simulation.ground import GroundPalette
from semlt3d_ros.simulation.light import Daylight

CityName = Literal["home", "winter"]
"""``home`` is the usual one; ``winter`` lies under snow, in the blue dusk of a short day, often in freezing mist."""

_Look = tuple[GroundPalette, Daylight]
_SNOW = np.array([0.78, 0.82, 0.88])


def in_city(name: CityName, palette: GroundPalette, light: Daylight, rng: np.random.Generator) -> _Look:
    """The ground and the light of a drive as they are in a city.

    Args:
        name: of the city.
        palette, light: as they would be at home.
        rng: source of chance of its own, so that everything else in the drive stays as it is.
    """
    return _CITIES[name](palette, light, rng)


def _home(palette: GroundPalette, light: Daylight, rng: np.random.Generator) -> _Look:
    return palette, light


def _winter(palette: GroundPalette, light: Daylight, rng: np.random.Generator) -> _Look:
    # Roads are driven free or ploughed in part, all else lies under snow; markings show where the road does.
    road = rng.uniform(0.15, 0.85)
    cover = np.array([road, 0.9, rng.uniform(0.6, 0.95), 0.97, 0.97, min(1.0, road + 0.1)])[:, None]
    ground = replace(
        palette,
        colors=(palette.colors * (1 - cover) + _SNOW * rng.uniform(0.75, 1.0) * cover).astype(np.float32),
        contrast=(palette.contrast * (1 - 0.6 * cover[:, 0])).astype(np.float32),
    )
    dusk = rng.uniform(0.04, 0.2)
    blue = np.array([0.72, 0.9, 1.3])
    glow = np.array([1.1, 0.85, 0.85]) * rng.uniform(0.5, 1.0) + np.array([0.0, 0.05, 0.2])
    return ground, replace(
        light,
        sun=np.zeros(3, np.float32),
        ambient=(blue * dusk).astype(np.float32),
        zenith=(blue * dusk * 0.6).astype(np.float32),
        horizon=(glow * dusk).astype(np.float32),
        haze_m=float(np.exp(rng.uniform(np.log(15), np.log(90)))),
        exposure=float(rng.uniform(0.9, 1.4)),
        clouds=1.0,
    )


_CITIES: dict[CityName, Callable[[GroundPalette, Daylight, np.random.Generator], _Look]] = {
    "home": _home,
    "winter": _winter,
}

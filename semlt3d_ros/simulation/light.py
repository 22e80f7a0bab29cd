"""Daylight: sun, sky, haze, exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.simulation.ground import value_noise


@dataclass(frozen=True)
class Daylight:
    """Light of one drive; colours are linear-light RGB (3,).

    Attributes:
        to_sun: (3,) unit vector towards the sun, world frame.
        sun, ambient, zenith, horizon: radiance; sun is zero under an overcast sky.
        haze_m: distance in metres after which 63 % of the light is haze.
        exposure: factor from radiance to pixel value.
        clouds: share of white in the sky's clouds, 0..1.
    """

    to_sun: NDArray[np.float32]
    sun: NDArray[np.float32]
    ambient: NDArray[np.float32]
    zenith: NDArray[np.float32]
    horizon: NDArray[np.float32]
    haze_m: float
    exposure: float
    clouds: float

    def sky(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sky radiance (N, 3) in unit directions (N, 3)."""
        up = np.clip(directions[:, 2], 0.02, 1.0)
        blend = np.sqrt(up)[:, None]
        color = self.horizon + (self.zenith - self.horizon) * blend
        noise = value_noise(directions[:, 0] / up, directions[:, 1] / up, 0.02)
        veil = np.clip(noise * 0.8 + 0.1, 0, 1) * np.minimum(up * 4.0, 1.0) * np.float32(self.clouds)
        return color + (self.horizon * 1.05 - color) * veil[:, None]


def make_daylight(rng: np.random.Generator) -> Daylight:
    """Random daylight: clear, overcast, or low sun."""
    elevation = np.radians(rng.uniform(14, 70))
    azimuth = rng.uniform(0, 2 * np.pi)
    to_sun = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    overcast = rng.random() < 0.35
    warmth = np.clip(1.0 - elevation / np.radians(45), 0, 1)
    sun = np.array([1.0, 0.95 - 0.15 * warmth, 0.88 - 0.35 * warmth]) * (0.0 if overcast else rng.uniform(1.5, 2.4))
    ambient = np.array([0.92, 0.98, 1.08]) * (rng.uniform(1.0, 1.5) if overcast else rng.uniform(0.35, 0.7))
    if overcast:
        zenith = np.array([0.75, 0.8, 0.86]) * rng.uniform(0.8, 1.1)
        horizon = np.array([0.9, 0.92, 0.95]) * rng.uniform(0.8, 1.1)
    else:
        zenith = np.array([0.2, 0.38, 0.8]) * rng.uniform(0.7, 1.2)
        horizon = np.array([0.75, 0.84, 0.95]) * rng.uniform(0.8, 1.1) * (1 + np.array([0.15, 0, -0.2]) * warmth)
    return Daylight(
        to_sun=np.asarray(to_sun, np.float32),
        sun=sun.astype(np.float32),
        ambient=ambient.astype(np.float32),
        zenith=zenith.astype(np.float32),
        horizon=horizon.astype(np.float32),
        haze_m=float(np.exp(rng.uniform(np.log(250), np.log(2500)))),
        exposure=float(rng.uniform(0.7, 1.25)) * (0.85 if overcast else 1.0),
        clouds=float(rng.uniform(0, 1)),
    )

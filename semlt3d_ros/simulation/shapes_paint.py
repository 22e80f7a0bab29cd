"""Colours and sizes the object shapes share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.simulation.mesh import Paint, Pattern

Color = tuple[float, float, float]

RUBBER = Paint((24, 24, 26), 0.08)
RIM = Paint((150, 152, 156), 0.45)
GLASS = Paint((34, 44, 54), 0.06)
CHROME = Paint((168, 170, 174), 0.5)
DARK = Paint((38, 38, 42), 0.12)
HEADLIGHT = Paint((252, 250, 232), 0.8)
TAIL_LIGHT = Paint((190, 14, 18), 0.75)
PLATE = Paint((238, 238, 232), 0.95)
BLUE_LIGHT = Paint((10, 60, 255), 0.7)
RED_LIGHT = Paint((255, 16, 24), 0.7)


def vary(rng: np.random.Generator, color: Color, amount: float = 14.0) -> Color:
    """A colour near another one: common change of brightness and a smaller one per channel."""
    shift = rng.normal(0, amount) + rng.normal(0, amount / 2, 3)
    red, green, blue = np.clip(np.asarray(color) + shift, 4, 252)
    return float(red), float(green), float(blue)


def pick(
    rng: np.random.Generator,
    colors: Sequence[Color],
    reflectivity: float = 0.3,
    pattern: Pattern = Pattern.PLAIN,
    amount: float = 14.0,
) -> Paint:
    """A paint of one of the colours, slightly varied."""
    return Paint(vary(rng, colors[int(rng.integers(len(colors)))], amount), reflectivity, pattern)


def draw_size(rng: np.random.Generator, mean: Color, spread: float = 0.07) -> NDArray[np.float64]:
    """Length, width and height in metres around ``mean``: common and own factors, log-normal, cut at two sigma."""
    common, own = rng.normal(0, spread), rng.normal(0, spread / 2, 3)
    return np.asarray(mean) * np.exp(np.clip(common + own, -2 * spread, 2 * spread))

"""What the ground looks like: asphalt with markings, kerbs, sidewalks, grass, all computed from the position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.simulation.road import Road

_NOISE_SIZE = 1024
_ASPHALT, _KERB, _SIDEWALK, _LEFT, _RIGHT, _MARKING = range(6)
_REFLECTIVITY = {"grass": 0.35, "paved": 0.25, "parking": 0.12}


@lru_cache(maxsize=1)
def _noise_table() -> NDArray[np.float32]:
    """Tileable value noise in [-1, 1] of four octaves, the finest one cell wide."""
    rng = np.random.default_rng(7)
    total = np.zeros((_NOISE_SIZE, _NOISE_SIZE), np.float32)
    for cells, weight in ((1024, 0.35), (256, 0.3), (64, 0.25), (16, 0.25)):
        octave = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        octave = np.pad(octave, 2, mode="wrap")
        scale = _NOISE_SIZE // cells
        large = cv2.resize(octave, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        total += weight * large[2 * scale : 2 * scale + _NOISE_SIZE, 2 * scale : 2 * scale + _NOISE_SIZE]
    return np.clip(total, -1, 1)


def value_noise(u: NDArray[np.float32], v: NDArray[np.float32], cell: float) -> NDArray[np.float32]:
    """Value noise (...) in [-1, 1] at coordinates u, v in metres, with finest detail of ``cell`` metres."""
    inverse = np.float32(1.0 / cell)
    # The offset keeps truncation equal to flooring for every position a scene uses.
    column = ((u * inverse) + 1048576.0).astype(np.int32) & (_NOISE_SIZE - 1)
    row = ((v * inverse) + 1048576.0).astype(np.int32) & (_NOISE_SIZE - 1)
    return _noise_table()[row, column]


@dataclass(frozen=True)
class GroundPalette:
    """Linear-light colours (6, 3) and LiDAR reflectivity (6,) of the kinds of ground, and how rough they look (6,)."""

    colors: NDArray[np.float32]
    reflectivity: NDArray[np.float32]
    contrast: NDArray[np.float32]


def make_palette(rng: np.random.Generator, road: Road) -> GroundPalette:
    """Random but plausible colours for a street."""
    asphalt = rng.uniform(0.05, 0.16) * np.array([1.0, 1.0, rng.uniform(0.98, 1.08)])
    stone = rng.uniform(0.2, 0.42) * np.array([1.0, rng.uniform(0.93, 1.0), rng.uniform(0.82, 1.0)])
    looks = {
        "grass": np.array([rng.uniform(0.05, 0.16), rng.uniform(0.12, 0.22), rng.uniform(0.03, 0.06)]),
        "paved": rng.uniform(0.15, 0.35) * np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.75, 1.0)]),
        "parking": asphalt * rng.uniform(0.8, 1.4),
    }
    marking = rng.uniform(0.45, 0.75) * np.array([1.0, 1.0, rng.uniform(0.85, 1.0)])
    colors = [asphalt, stone * 1.25, stone, looks[road.left], looks[road.right], marking]
    reflectivity = [0.12, 0.4, 0.3, _REFLECTIVITY[road.left], _REFLECTIVITY[road.right], 0.8]
    rough = [0.25, 0.15, 0.2] + [0.55 if side == "grass" else 0.25 for side in (road.left, road.right)] + [0.2]
    return GroundPalette(np.array(colors, np.float32), np.array(reflectivity, np.float32), np.array(rough, np.float32))


def ground_kind(road: Road, s: NDArray[np.float32], d: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Kind of ground (...), an index into a palette, at road coordinates s, d (...)."""
    across = np.abs(d)
    width, walk = road.half_width, road.half_width + road.sidewalk_width
    kind = np.where(d > 0, np.uint8(_LEFT), np.uint8(_RIGHT))
    kind[across < walk] = _SIDEWALK
    kind[across < width + 0.2] = _KERB
    kind[across < width] = _ASPHALT
    clear = np.ones(s.shape, bool)
    if road.crossing_s is not None:
        away = np.abs(s - np.float32(road.crossing_s))
        kind[(away < road.crossing_half_width + road.sidewalk_width) & (across >= width + 0.2)] = _SIDEWALK
        kind[(away < road.crossing_half_width + 0.2) & (across >= width)] = _KERB
        kind[away < road.crossing_half_width] = _ASPHALT
        kind[(away < 0.08) & (across > width)] = _MARKING
        clear = away > road.crossing_half_width + 4.0
        zebra = (away > road.crossing_half_width + 0.5) & (away < road.crossing_half_width + 3.3)
        kind[zebra & (across < width) & (d % 1.0 < 0.5)] = _MARKING
    kind[_markings(road, s, d, across) & clear] = _MARKING
    return kind


def _markings(road: Road, s: NDArray, d: NDArray, across: NDArray) -> NDArray[np.bool_]:
    dash = s % 9.0 < 3.5
    marked = across < 0.08
    if road.dashed_centre:
        marked &= dash
    for lane in range(1, road.lanes):
        marked |= (np.abs(across - lane * road.lane_width) < 0.07) & dash
    drivable = road.lanes * road.lane_width
    if road.parking_width:
        marked |= (np.abs(across - drivable) < 0.06) & (s % 1.0 < 0.5)
        marked |= (across > drivable) & (across < road.half_width) & (s % 6.2 < 0.1)
    else:
        marked |= np.abs(across - drivable + 0.3) < 0.06
    bay = road.half_width + road.sidewalk_width
    for side, sign in ((road.left, 1.0), (road.right, -1.0)):
        if side == "parking":
            marked |= (sign * d > bay) & (sign * d < bay + 5.4) & (s % 2.7 < 0.11)
    return marked


def ground_albedo(
    road: Road, palette: GroundPalette, x: NDArray[np.float32], y: NDArray[np.float32], distance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Linear-light colour (N, 3) of ground at world x, y (N,) metres seen from ``distance`` (N,) metres."""
    s, d = road.to_road(x, y)
    kind = ground_kind(road, s, d)
    # Detail finer than a pixel would only shimmer, so it fades out with distance.
    fine = value_noise(x, y, 0.04) * np.minimum(np.float32(1.0), np.float32(9.0) / distance)
    coarse = value_noise(x, y, 0.6)
    tone = 1.0 + palette.contrast[kind] * (fine + 0.8 * coarse)
    slab = (kind == _SIDEWALK) & ((s % 1.2 < 0.05) | (d % 1.2 < 0.05)) & (distance < 25.0)
    tone[slab] *= 0.7
    return palette.colors[kind] * np.maximum(tone, 0.15)[:, None]


def ground_reflectivity(
    road: Road, palette: GroundPalette, x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """LiDAR reflectivity (N,) in [0, 1] of ground at world x, y (N,) metres."""
    s, d = road.to_road(x, y)
    return palette.reflectivity[ground_kind(road, s, d)]

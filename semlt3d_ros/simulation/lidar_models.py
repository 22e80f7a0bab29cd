"""LiDARs that differ from drive to drive: patterns like those on the market and others, mounted anywhere.

Beam patterns after the makers' manuals: Velodyne HDL-32E, HDL-64E, VLP-16 and VLP-32C, Hesai Pandar64 and Pandar40,
Ouster OS0 to OS2; two stacked sensors as in Argoverse 2, and sectors like those of solid-state ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from semlt3d_ros.simulation.lidar import LidarConfig
from semlt3d_ros.simulation.lidar_effects import LidarEffects

_Corner = tuple[float, float, float]
_Pattern = tuple[tuple[float, ...], int, float]
"""Elevations in degrees, firings per turn, width of the sector in degrees."""


LidarKind = Literal["nominal", "varied"]
"""nuScenes' LiDAR over even streets; or another one in every drive, over rough streets."""


def lidar_of(kind: LidarKind, seed: int) -> LidarConfig:
    """The LiDAR of the drive of a seed."""
    return LidarConfig() if kind == "nominal" else varied_lidar(np.random.default_rng([seed, 4]))


def varied_lidar(rng: np.random.Generator, pattern: str | None = None) -> LidarConfig:
    """A LiDAR with its mounting, its faults and its driver; the same state of ``rng`` gives the same one.

    ``pattern`` is one of ``PATTERNS``, drawn where it is not given.
    """
    shares = [share for share, _ in PATTERNS.values()]
    drawn = list(PATTERNS)[rng.choice(len(PATTERNS), p=shares)]
    elevations, steps, view = PATTERNS[pattern or drawn][1](rng)
    height = float(rng.choice((rng.uniform(1.55, 2.1), rng.uniform(2.1, 3.2)), p=(0.85, 0.15)))
    sector = view < 360.0
    own = "absent" if height > 2.3 or sector else str(rng.choice(("seen", "removed"), p=(0.5, 0.5)))
    tilt = rng.normal(0, (0.6, 0.9, 1.0))
    return LidarConfig(
        beams=len(elevations),
        steps=steps,
        range_m=float(rng.uniform(60, 140)),
        noise_m=float(rng.uniform(0.005, 0.035)),
        dropout=float(rng.choice((rng.uniform(0, 0.05), rng.uniform(0.05, 0.3)), p=(0.75, 0.25))),
        period_s=float(rng.choice((0.05, 0.1), p=(0.25, 0.75))),
        elevations_deg=elevations,
        view_deg=view,
        jitter_deg=float(rng.uniform(0.1, 0.4)) if sector else float(rng.choice((0.0, rng.uniform(0.005, 0.03)))),
        position=(float(rng.uniform(0.2, 1.8)), float(rng.normal(0, 0.15)), height),
        tilt_deg=(float(tilt[0]), float(tilt[1]), float(tilt[2])),
        effects=_effects(rng, len(elevations), own),
    )


def _effects(rng: np.random.Generator, beams: int, own: str) -> LidarEffects:
    dead = rng.choice(beams, int(rng.integers(0, 1 + beams // 8)), replace=False) if rng.random() < 0.25 else ()
    blind = []
    for _ in range(int(rng.choice(3, p=(0.8, 0.14, 0.06)))):
        start = float(rng.uniform(0, 360))
        blind.append((start, start + float(rng.uniform(3, 45))))
    dark = np.where(rng.random(31) < rng.uniform(0, 0.35), rng.uniform(0.05, 0.5, 31), rng.uniform(0.6, 1.2, 31))
    return LidarEffects(
        noise_growth=float(rng.uniform(0, 0.0006)),
        range_step_m=float(rng.choice((0.0, 0.002, 0.005, 0.02))),
        roughness_m=float(rng.choice((rng.uniform(0, 0.01), rng.uniform(0.01, 0.05)))),
        dead_beams=tuple(sorted(int(k) for k in dead)),
        blind_deg=tuple(blind),
        floor=float(np.exp(rng.uniform(np.log(0.1), np.log(2.0)))),
        dull=tuple(float(value) for value in dark),
        gain=float(np.exp(rng.uniform(np.log(0.15), np.log(2.0)))),
        gamma=float(np.exp(rng.uniform(np.log(0.4), np.log(2.5)))),
        falloff=float(rng.choice((0.0, rng.uniform(0, 1.2)))),
        intensity=bool(rng.random() > 0.12),
        smear=True,
        compensated=bool(rng.random() < 0.75),
        stamp_at=float(rng.choice((1.0, 0.5), p=(0.7, 0.3))),
        own=own,  # type: ignore[arg-type]
        rack=_rack(rng) if own != "absent" else (),
        ghosts=float(rng.choice((0.0, rng.uniform(0, 0.003)))),
        mixed=float(rng.choice((0.0, rng.uniform(0, 0.5)))),
        panes=(float(rng.uniform(0.05, 0.6)), float(rng.uniform(0.0, 0.4))),
    )


def _rack(rng: np.random.Generator) -> tuple[tuple[_Corner, _Corner], ...]:
    """Antennas, cameras, bars and mirrors: small boxes on and about the roof."""
    boxes = []
    for _ in range(int(rng.choice(7, p=(0.3, 0.1, 0.15, 0.15, 0.1, 0.1, 0.1)))):
        half = np.exp(rng.uniform(np.log(0.02), np.log((0.4, 0.4, 0.2))))
        middle = rng.uniform((-0.8, -1.0, 0.9), (3.2, 1.0, 1.9))
        low, high = ((float(x), float(y), float(z)) for x, y, z in (middle - half, middle + half))
        boxes.append((low, high))
    return tuple(boxes)


def _even(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(float(value) for value in np.linspace(low, high, count))


def _joined(*parts: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted({round(value, 4) for part in parts for value in part}))


def _hdl32(rng: np.random.Generator) -> _Pattern:
    return _even(-30.67, 10.67, 32), 1084, 360.0


def _hdl64(rng: np.random.Generator) -> _Pattern:
    return _joined(_even(-24.33, -8.83, 32), _even(-8.33, 2.0, 32)), 2083, 360.0


def _vlp16(rng: np.random.Generator) -> _Pattern:
    return _even(-15.0, 15.0, 16), 1800, 360.0


def _vlp32(rng: np.random.Generator) -> _Pattern:
    far = (-25.0, -15.64, -11.31, -8.84, -7.25, -6.15, -5.33, 2.33, 3.33, 4.67, 7.0, 10.33, 15.0)
    return _joined(far, _even(-4.67, 1.67, 19)), 1800, 360.0


def _pandar64(rng: np.random.Generator) -> _Pattern:
    return (
        _joined((-25.0, -19.0, -14.0), _even(-13.0, -6.0, 8), _even(-5.83, 2.0, 48), _even(3, 5, 3), (11.0, 15.0)),
        (1800),
        360.0,
    )


def _pandar40(rng: np.random.Generator) -> _Pattern:
    return _joined((-16.0,), _even(-15.0, -6.0, 10), _even(-5.67, 2.0, 24), _even(3.0, 7.0, 5)), 1800, 360.0


def _ouster(rng: np.random.Generator) -> _Pattern:
    half = float(rng.choice((45.0, 22.5, 16.6, 11.25)))
    return _even(-half, half, int(rng.choice((32, 64, 128)))), int(rng.choice((1024, 2048))), 360.0


def _dense128(rng: np.random.Generator) -> _Pattern:
    return _joined(_even(-25.0, -6.5, 37), _even(-6.0, 2.0, 65), _even(2.5, 15.0, 26)), 1800, 360.0


def _stacked(rng: np.random.Generator) -> _Pattern:
    elevations, steps, view = _vlp32(rng)
    shift = float(rng.uniform(0.1, 0.6))
    return _joined(elevations, tuple(value + shift for value in elevations)), steps // 2, view


def _sector(rng: np.random.Generator) -> _Pattern:
    view, low = float(rng.uniform(70, 150)), float(rng.uniform(-20, -10))
    beams = int(rng.integers(40, 128))
    return _even(low, low + float(rng.uniform(20, 32)), beams), int(rng.integers(300, 900)), view


def _anything(rng: np.random.Generator) -> _Pattern:
    beams = int(np.exp(rng.uniform(np.log(16), np.log(128))))
    low, high = float(rng.uniform(-35, -15)), float(rng.uniform(0, 18))
    middle, power = float(rng.uniform(-6, 0)), float(rng.uniform(1.0, 2.2))
    at = np.linspace(-1, 1, beams)
    bent = np.sign(at) * np.abs(at) ** power  # denser about the horizon
    elevations = np.where(bent < 0, middle + bent * (middle - low), middle + bent * (high - middle))
    return tuple(float(value) for value in elevations + rng.normal(0, 0.03, beams)), int(rng.integers(600, 2100)), 360.0


PATTERNS: dict[str, tuple[float, Callable[[np.random.Generator], _Pattern]]] = {
    "hdl32": (0.16, _hdl32),
    "hdl64": (0.16, _hdl64),
    "vlp16": (0.05, _vlp16),
    "vlp32": (0.06, _vlp32),
    "pandar64": (0.16, _pandar64),
    "pandar40": (0.05, _pandar40),
    "ouster": (0.1, _ouster),
    "dense128": (0.05, _dense128),
    "stacked": (0.05, _stacked),
    "sector": (0.05, _sector),
    "anything": (0.11, _anything),
}
"""How often each pattern is drawn, and what draws one of its kind."""

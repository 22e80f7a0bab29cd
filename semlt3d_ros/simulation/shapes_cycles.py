"""Bicycles, motorcycles and personal mobility devices, with and without riders."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from semlt3d_ros.simulation.mesh import MeshBuilder, Paint, Shape
from semlt3d_ros.simulation.shapes_paint import (
    CHROME,
    DARK,
    HEADLIGHT,
    PLATE,
    RUBBER,
    TAIL_LIGHT,
    Color,
    pick,
)
from semlt3d_ros.simulation.shapes_people import Outfit, add_rider, add_walker, plain_outfit

_FRAMES: tuple[Color, ...] = (
    (200, 30, 30),
    (30, 80, 180),
    (40, 150, 80),
    (240, 240, 236),
    (30, 30, 34),
    (240, 140, 20),
    (60, 180, 190),
)


def _rim(m: MeshBuilder, center: tuple[float, float, float], radius: float, paint: Paint, thick: float) -> None:
    """An open wheel of eight bars with two spokes, so that one sees through it."""
    x, y, z = center
    angle = np.arange(9) * np.pi / 4 + np.pi / 8
    inner = radius - thick
    points = [(x + inner * np.cos(a), y, z + inner * np.sin(a)) for a in angle]
    for start, end in pairwise(points):
        m.bar(start, end, thick, paint, sides=4)
    for k in (0, 2):
        m.bar(points[k], points[k + 4], 0.3 * thick, CHROME, sides=3)


def make_bicycle(rng: np.random.Generator) -> Shape:
    """A bicycle, 1.7 x 0.6 x 1.3 m on average; four in ten carry a rider."""
    m = MeshBuilder()
    paint = pick(rng, _FRAMES, 0.4)
    thick = float(rng.uniform(0.026, 0.04))
    rear, front, axle = -0.53, 0.53, 0.34
    for x in (rear, front):
        _rim(m, (x, 0, axle), axle, RUBBER, 0.035)
    seat, head, pedals = (-0.22, 0, 0.86), (0.38, 0, 0.84), (-0.08, 0, 0.3)
    drop = float(rng.choice((0.0, 0.25)))  # step-through frames have a low tube
    for start, end in (
        ((rear, 0, axle), pedals),
        ((rear, 0, axle), (-0.2, 0, 0.74)),
        (pedals, seat),
        ((-0.18, 0, 0.72 - drop), (0.4, 0, 0.76)),
        (pedals, (0.42, 0, 0.68)),
        ((front, 0, axle), head),
        (head, (0.33, 0, 1.02)),
    ):
        m.bar(start, end, thick, paint, sides=4)
    m.bar((0.33, -0.28, 1.03), (0.33, 0.28, 1.03), 0.025, DARK, sides=4)
    m.box((-0.24, 0, 0.93), (0.27, 0.15, 0.08), DARK, top=(0.9, 0.7))
    m.bar((-0.08, -0.11, 0.3), (-0.08, 0.11, 0.3), 0.05, CHROME)
    m.box((-0.78, 0, 0.66), (0.06, 0.08, 0.08), TAIL_LIGHT)
    m.box((0.45, 0, 0.9), (0.07, 0.1, 0.1), HEADLIGHT)
    if rng.random() < 0.4:
        m.box((-0.6, 0, 0.74), (0.4, 0.16, 0.03), DARK)
    if rng.random() < 0.3:
        m.box(
            (0.58, 0, 0.95), (0.3, 0.36, 0.26), pick(rng, ((150, 110, 60), (40, 40, 44), (200, 40, 40))), top=(1.1, 1.1)
        )
    if rng.random() < 0.4:
        outfit = plain_outfit(rng)
        add_rider(m, float(rng.uniform(1.6, 1.85)), (-0.2, 0.94), (0.33, 1.06), (0.0, 0.26), outfit)
        if rng.random() < 0.5:
            _add_helmet(m, rng)
    return m.build(None)


def _add_helmet(m: MeshBuilder, rng: np.random.Generator) -> None:
    m.ellipsoid((-0.05, 0, 1.73), (0.14, 0.11, 0.1), pick(rng, _FRAMES, 0.5))


def make_motorcycle(rng: np.random.Generator) -> Shape:
    """A motorcycle or scooter, 2.1 x 0.77 x 1.47 m on average; four in ten carry a rider."""
    scooter = rng.random() < 0.35
    m = MeshBuilder()
    paint = pick(rng, _FRAMES, 0.4)
    radius, reach = (0.25, 0.62) if scooter else (0.32, 0.72)
    for x in (-reach, reach):
        m.wheel((x, 0, radius), radius, 0.17, RUBBER, CHROME, sides=12)
    if scooter:
        m.box((0.0, 0, 0.3), (0.9, 0.32, 0.14), paint)
        m.box((-0.55, 0, 0.56), (0.75, 0.34, 0.42), paint, top=(0.85, 0.8))
        m.box((0.5, 0, 0.72), (0.12, 0.46, 0.8), paint, pitch=-0.25, top=(1.0, 0.6))
        m.bar((reach, 0, radius), (0.45, 0, 1.1), 0.06, DARK)
    else:
        m.box((0.0, 0, 0.48), (0.65, 0.36, 0.4), CHROME, top=(0.8, 0.8))
        m.box((0.12, 0, 0.86), (0.62, 0.34, 0.26), paint, top=(0.75, 0.6))
        m.box((-0.78, 0, 0.8), (0.4, 0.2, 0.12), paint, pitch=0.25)
        m.box((0.55, 0, 0.93), (0.3, 0.34, 0.34), paint, top=(0.5, 0.7))
        for side in (-1, 1):
            m.bar((reach, side * 0.1, radius), (0.48, side * 0.1, 1.0), 0.035, CHROME, sides=4)
        m.bar((-0.1, -0.2, 0.3), (-0.95, -0.22, 0.42), 0.06, CHROME)
        m.bar((-reach, 0, radius), (-0.1, 0, 0.45), 0.06, DARK, sides=4)
    m.box((reach, 0, 2 * radius + 0.02), (0.4, 0.18, 0.05), paint)
    m.box((-0.4, 0, 0.88), (0.72, 0.28, 0.14), DARK, top=(0.95, 0.8))
    m.bar((0.42, -0.38, 1.1), (0.42, 0.38, 1.1), 0.035, DARK, sides=4)
    for side in (-1, 1):
        m.bar((0.44, side * 0.26, 1.1), (0.42, side * 0.34, 1.28), 0.015, DARK, sides=3)
        m.box((0.42, side * 0.35, 1.3), (0.04, 0.12, 0.09), DARK)
    m.box((0.6 if scooter else 0.72, 0, 0.92), (0.12, 0.2, 0.18), HEADLIGHT)
    m.box((-0.95, 0, 0.78), (0.08, 0.2, 0.1), TAIL_LIGHT)
    m.box((-1.0, 0, 0.6), (0.04, 0.2, 0.16), PLATE)
    if rng.random() < 0.3:
        m.box((-0.85, 0, 1.06), (0.36, 0.4, 0.32), pick(rng, ((30, 30, 32), (200, 30, 30), (240, 150, 20))))
    if rng.random() < 0.4:
        everyday = plain_outfit(rng, ((30, 30, 32), (60, 60, 66), (120, 40, 30), (150, 130, 100)))
        helmet = pick(rng, _FRAMES, 0.5)
        outfit = Outfit(everyday.top, everyday.legs, helmet, helmet, everyday.shoes, everyday.top)
        feet = (0.25, 0.4) if scooter else (-0.05, 0.32)
        add_rider(m, float(rng.uniform(1.65, 1.85)), (-0.32, 0.94), (0.42, 1.12), feet, outfit, 0.32)
        m.ellipsoid((-0.16, 0, 1.67), (0.15, 0.13, 0.16), helmet)
        m.box((-0.03, 0, 1.68), (0.06, 0.2, 0.09), DARK)
    return m.build(None)


def make_personal_mobility(rng: np.random.Generator) -> Shape:
    """A kick scooter with or without its rider, a wheelchair with a person, or a seated mobility scooter."""
    kind = int(rng.choice(4, p=(0.2, 0.25, 0.35, 0.2)))
    m = MeshBuilder()
    if kind <= 1:
        _add_kick_scooter(m, rng)
        if kind == 1:
            outfit = plain_outfit(rng)
            height = float(rng.uniform(1.6, 1.85))
            rider = MeshBuilder()
            add_walker(rider, rng, height, outfit)
            m.append(rider, (-0.05, 0, 0.16))
    elif kind == 2:
        _add_wheelchair(m, rng)
    else:
        _add_mobility_scooter(m, rng)
    return m.build(None)


def _add_kick_scooter(m: MeshBuilder, rng: np.random.Generator) -> None:
    accent = pick(rng, ((40, 220, 120), (250, 200, 20), (250, 90, 30), (60, 210, 230)), 0.5)
    m.box((-0.05, 0, 0.13), (0.85, 0.18, 0.08), DARK)
    m.box((-0.05, 0, 0.14), (0.6, 0.2, 0.05), accent)
    for x in (-0.5, 0.5):
        m.wheel((x, 0, 0.12), 0.12, 0.07, RUBBER, accent)
    m.bar((0.5, 0, 0.14), (0.36, 0, 1.15), 0.045, accent)
    m.bar((0.36, -0.26, 1.15), (0.36, 0.26, 1.15), 0.03, DARK, sides=4)
    m.box((0.43, 0, 1.0), (0.08, 0.1, 0.1), HEADLIGHT)
    m.box((-0.58, 0, 0.24), (0.12, 0.1, 0.05), TAIL_LIGHT)


def _add_wheelchair(m: MeshBuilder, rng: np.random.Generator) -> None:
    frame = pick(rng, ((30, 90, 200), (200, 30, 40), (30, 30, 34), (120, 60, 160)), 0.4)
    for side in (-1, 1):
        _rim(m, (-0.15, side * 0.3, 0.31), 0.31, RUBBER, 0.035)
        m.wheel((0.32, side * 0.24, 0.1), 0.1, 0.06, RUBBER, CHROME, sides=8)
        m.bar((-0.3, side * 0.24, 0.4), (-0.34, side * 0.24, 1.0), 0.025, CHROME, sides=4)
        m.bar((-0.34, side * 0.24, 1.0), (-0.5, side * 0.24, 1.0), 0.03, DARK, sides=4)
        m.box((-0.02, side * 0.25, 0.68), (0.42, 0.07, 0.05), frame)
        m.bar((0.24, side * 0.2, 0.5), (0.42, side * 0.16, 0.12), 0.025, CHROME, sides=4)
    m.box((-0.02, 0, 0.5), (0.5, 0.48, 0.08), frame)
    m.box((-0.3, 0, 0.75), (0.08, 0.46, 0.48), frame)
    m.box((0.5, 0, 0.1), (0.18, 0.38, 0.04), DARK)
    if rng.random() < 0.85:
        add_rider(m, float(rng.uniform(1.5, 1.8)), (-0.14, 0.55), (0.1, 0.72), (0.46, 0.15), plain_outfit(rng), 0.24)


def _add_mobility_scooter(m: MeshBuilder, rng: np.random.Generator) -> None:
    paint = pick(rng, ((170, 20, 40), (30, 70, 170), (90, 90, 100)), 0.4)
    for x in (-0.42, 0.48):
        for side in (-1, 1):
            m.wheel((x, side * 0.25, 0.15), 0.15, 0.1, RUBBER, CHROME, sides=8)
    m.box((0.0, 0, 0.24), (1.15, 0.44, 0.12), paint)
    m.box((-0.35, 0, 0.4), (0.4, 0.44, 0.26), paint, top=(0.8, 0.7))
    m.box((-0.28, 0, 0.6), (0.46, 0.48, 0.1), DARK)
    m.box((-0.48, 0, 0.9), (0.1, 0.46, 0.55), DARK)
    m.bar((0.5, 0, 0.25), (0.34, 0, 0.98), 0.06, paint)
    m.bar((0.34, -0.26, 0.98), (0.34, 0.26, 0.98), 0.03, DARK, sides=4)
    m.box((0.5, 0, 0.72), (0.14, 0.2, 0.2), HEADLIGHT)
    add_rider(m, float(rng.uniform(1.5, 1.8)), (-0.26, 0.65), (0.34, 1.0), (0.2, 0.32), plain_outfit(rng))

"""Emergency and construction vehicles."""

from __future__ import annotations

import numpy as np

from semlt3d_ros.simulation.mesh import MeshBuilder, Paint, Pattern, Shape
from semlt3d_ros.simulation.shapes_paint import (
    BLUE_LIGHT,
    CHROME,
    DARK,
    GLASS,
    RED_LIGHT,
    RIM,
    RUBBER,
    Color,
    draw_size,
    pick,
    vary,
)
from semlt3d_ros.simulation.shapes_vehicles import add_cab, add_car, add_lights, add_wheels

_WHITE = Paint((240, 240, 238), 0.4)
_YELLOWS: tuple[Color, ...] = ((240, 180, 10), (240, 180, 10), (236, 150, 10), (225, 110, 20))


def _light_bar(m: MeshBuilder, rng: np.random.Generator, x: float, width: float, z: float, deep: float) -> None:
    """A bar of warning lights across the roof: all blue, or red on one side and blue on the other."""
    left = RED_LIGHT if rng.random() < 0.6 else BLUE_LIGHT
    tall = 0.75 * deep
    m.box((x, 0.26 * width, z + tall / 2), (deep, 0.46 * width, tall), left)
    m.box((x, -0.26 * width, z + tall / 2), (deep, 0.46 * width, tall), BLUE_LIGHT)
    m.box((x, 0, z + tall / 2), (0.9 * deep, 0.08 * width, tall), CHROME)


def make_emergency_vehicle(rng: np.random.Generator) -> Shape:
    """A police car, ambulance or fire engine with a light bar and reflective stripes."""
    kind = int(rng.choice(3, p=(0.45, 0.3, 0.25)))
    return (_make_police_car, _make_ambulance, _make_fire_engine)[kind](rng)


def _make_police_car(rng: np.random.Generator) -> Shape:
    size = draw_size(rng, (4.8, 1.98, 1.62), 0.05)
    l, w, h = size
    m = MeshBuilder()
    body = _WHITE if rng.random() < 0.75 else Paint((18, 18, 22), 0.3)
    roof = add_car(m, rng, size, body)
    stripe: Color = ((20, 60, 200), (0, 130, 70))[int(rng.integers(2))] if body is _WHITE else (238, 238, 236)
    pattern = Pattern.CHECKER if rng.random() < 0.5 else Pattern.PLAIN
    m.box((-0.03 * l, 0, 0.4 * h), (0.8 * l, 0.985 * w, 0.14 * h), Paint(stripe, 0.9, pattern))
    m.box((0.36 * l, 0, 0.53 * h), (0.1 * l, 0.5 * w, 0.02), Paint(stripe, 0.9), pitch=0.25)
    _light_bar(m, rng, roof, 0.74 * w, h, 0.26)
    return m.build()


def _make_ambulance(rng: np.random.Generator) -> Shape:
    size = draw_size(rng, (6.3, 2.3, 2.65), 0.06)
    l, w, h = size
    m = MeshBuilder()
    body = _WHITE if rng.random() < 0.7 else Paint((240, 220, 40), 0.5)
    stripe = ((225, 30, 30), (250, 110, 20), (40, 150, 60))[int(rng.integers(3))]
    floor, nose = 0.35, 0.24 * l
    m.extrude([(0.2 * l, floor), (0.5 * l, floor), (0.5 * l, 0.42 * h), (0.2 * l, 0.5 * h)], 0.9 * w, body)
    screen = [(0.18 * l, 0.45 * h), (0.4 * l, 0.46 * h), (0.25 * l, 0.8 * h), (0.18 * l, 0.8 * h)]
    m.extrude(screen, 0.86 * w, GLASS)
    m.box((0.2 * l, 0, 0.8 * h), (0.14 * l, 0.87 * w, 0.06), body)
    rear = l - nose - 0.07 * l
    x = -l / 2 + rear / 2
    m.box((x, 0, (h + floor) / 2), (rear, w, h - floor), body, top=(0.985, 0.96))
    m.box((x, 0, 0.42 * h), (1.005 * rear, 1.01 * w, 0.14 * h), Paint(stripe, 0.9, Pattern.CHECKER))
    m.box((0.42 * l, 0, 0.38 * h), (0.1 * l, 0.91 * w, 0.07 * h), Paint(stripe, 0.9))
    for side in (-1, 1):
        m.box((x, side * 0.495 * w, 0.72 * h), (0.34, 0.03, 0.1), Paint((210, 20, 30), 0.8))
        m.box((x, side * 0.495 * w, 0.72 * h), (0.1, 0.034, 0.34), Paint((210, 20, 30), 0.8))
        m.box((-l / 2, side * 0.22 * w, 0.7 * h), (0.03, 0.3 * w, 0.25 * h), GLASS)
    add_wheels(m, (-0.27 * l, 0.33 * l), w, 0.37, 0.26)
    add_lights(m, l, 0.92 * w, 0.26 * h, 0.34 * h)
    _light_bar(m, rng, 0.13 * l, 0.8 * w, h, 0.3)
    m.box((-0.47 * l, 0, h + 0.07), (0.2, 0.5 * w, 0.14), BLUE_LIGHT)
    return m.build()


def _make_fire_engine(rng: np.random.Generator) -> Shape:
    size = draw_size(rng, (8.0, 2.5, 3.1), 0.07)
    l, w, h = size
    m = MeshBuilder()
    red = Paint(vary(rng, (205, 18, 20), 10), 0.4)
    stripe = Paint((245, 240, 120) if rng.random() < 0.4 else (244, 244, 240), 0.95)
    cab = 0.3 * l
    roof = 0.88 * h
    add_cab(m, l / 2, cab, (w, roof), 0.5, red)
    x, body = -l / 2 + 0.35 * l, 0.69 * l
    m.box((x, 0, (roof + 0.5) / 2), (body, w, roof - 0.5), red)
    for k in range(3):  # shutters of the equipment lockers
        m.box((x + (k - 1) * 0.22 * l, 0, 0.56 * h), (0.18 * l, 1.01 * w, 0.3 * h), Paint((170, 174, 178), 0.5))
    m.box((0, 0, 0.33 * h), (0.995 * l, 1.015 * w, 0.07 * h), stripe)
    m.box((-0.5 * l, 0, 0.5 * h), (0.03, 0.9 * w, 0.3 * h), Paint((230, 30, 30), 0.9, Pattern.DIAGONAL))
    for side in (-1, 1):  # ladder
        m.bar((-0.5 * l, side * 0.2 * w, h), (0.2 * l, side * 0.2 * w, h), 0.06, CHROME, sides=4)
    for at in np.linspace(-0.45, 0.15, 6):
        m.box((at * l, 0, h), (0.06, 0.4 * w, 0.06), CHROME)
    add_wheels(m, (-0.28 * l, 0.3 * l), w, 0.5, 0.34)
    add_lights(m, l, w, 0.6, 0.85)
    _light_bar(m, rng, 0.36 * l, 0.85 * w, roof, 0.34)
    return m.build()


def make_construction_vehicle(rng: np.random.Generator) -> Shape:
    """An excavator, wheel loader or roller in yellow or orange, 6.4 x 2.8 x 3.2 m on average."""
    kind = int(rng.choice(3, p=(0.5, 0.35, 0.15)))
    m = MeshBuilder()
    paint = pick(rng, _YELLOWS, 0.45, amount=9)
    size = draw_size(rng, (6.4, 2.7, 3.2), 0.09)
    if kind == 0:
        _add_excavator(m, rng, paint)
    elif kind == 1:
        _add_loader(m, rng, paint)
    else:
        size = draw_size(rng, (4.8, 2.2, 2.9), 0.08)
        _add_roller(m, paint)
    return m.build(size)


def _add_excavator(m: MeshBuilder, rng: np.random.Generator, paint: Paint) -> None:
    for side in (-1, 1):
        track = [(-1.6, 0.0), (1.3, 0.0), (1.6, 0.35), (1.3, 0.75), (-1.6, 0.75), (-1.9, 0.35)]
        m.extrude(track, 0.5, RUBBER, side * 1.05)
        m.box((-0.15, side * 1.31, 0.38), (2.2, 0.04, 0.25), Paint((80, 74, 60), 0.2))
    m.bar((0, 0, 0.6), (0, 0, 1.0), 0.6, DARK, sides=8)
    m.box((-0.5, 0, 1.4), (2.9, 2.4, 0.85), paint, top=(0.97, 0.95))
    m.box((-1.75, 0, 1.5), (0.5, 2.35, 1.15), paint, top=(0.7, 0.9))
    m.box((-0.95, -0.3, 1.95), (1.0, 1.3, 0.35), DARK)
    m.box((0.25, 0.7, 2.2), (1.25, 0.95, 1.5), GLASS, top=(0.8, 0.92))
    m.box((0.2, 0.7, 2.98), (1.15, 0.98, 0.1), paint)
    m.box((-0.3, 0.7, 2.2), (0.12, 0.98, 1.5), paint)
    reach, lift = rng.uniform(2.2, 3.0), rng.uniform(2.9, 4.0)
    elbow, tip = (reach, -0.2, lift), (reach + rng.uniform(0.7, 1.4), -0.2, rng.uniform(0.7, 1.6))
    middle = (0.55 * reach + 0.2, -0.2, 0.5 * (1.6 + lift) + 0.45)
    m.bar((0.5, -0.2, 1.5), middle, 0.3, paint, sides=4, end_radius=0.32)
    m.bar(middle, elbow, 0.32, paint, sides=4, end_radius=0.22)
    m.bar(elbow, tip, 0.26, paint, sides=4, end_radius=0.17)
    m.bar((1.0, -0.2, 1.4), middle, 0.08, CHROME, sides=4)
    x, y, z = tip
    m.extrude([(x - 0.5, z - 0.6), (x + 0.1, z - 0.7), (x + 0.3, z), (x - 0.25, z + 0.1)], 1.1, DARK, y)
    m.box((-2.01, 0, 1.4), (0.04, 1.2, 0.2), Paint((220, 40, 30), 0.8, Pattern.DIAGONAL))


def _add_loader(m: MeshBuilder, rng: np.random.Generator, paint: Paint) -> None:
    for x in (-1.6, 1.2):
        for side in (-1, 1):
            m.wheel((x, side * 1.05, 0.75), 0.75, 0.55, RUBBER, paint)
    m.box((-1.7, 0, 1.45), (2.2, 1.5, 1.0), paint, top=(0.92, 0.9))
    m.box((-2.6, 0, 1.5), (0.5, 1.4, 0.75), DARK)
    m.box((0.9, 0, 1.0), (1.8, 1.0, 0.7), paint)
    m.box((-0.35, 0, 2.35), (1.3, 1.35, 1.6), GLASS, top=(0.85, 0.9))
    m.box((-0.35, 0, 3.2), (1.4, 1.45, 0.12), paint)
    for x in (-0.95, 0.25):
        for side in (-1, 1):
            m.bar((x, side * 0.68, 1.6), (0.9 * x, side * 0.62, 3.2), 0.06, paint, sides=4)
    height = rng.uniform(0.35, 1.8)
    for side in (-1, 1):
        m.bar((0.6, side * 0.5, 1.8), (2.7, side * 0.5, height + 0.4), 0.17, paint, sides=4)
    bucket = [
        (2.6, height - 0.3),
        (3.5, height - 0.35),
        (3.7, height - 0.2),
        (2.9, height + 0.75),
        (2.55, height + 0.6),
    ]
    m.extrude(bucket, 2.8, pick(rng, ((90, 86, 80), (210, 160, 30)), 0.3, Pattern.NOISE))
    m.box((-0.35, 0, 3.32), (0.2, 0.2, 0.16), Paint((255, 120, 0), 0.6))


def _add_roller(m: MeshBuilder, paint: Paint) -> None:
    drum = Paint((120, 120, 122), 0.4, Pattern.NOISE)
    m.bar((1.5, -1.0, 0.7), (1.5, 1.0, 0.7), 0.7, drum, sides=14)
    for side in (-1, 1):
        m.box((1.0, side * 1.08, 0.8), (1.8, 0.1, 0.3), paint)
        m.wheel((-1.3, side * 0.75, 0.7), 0.7, 0.5, RUBBER, RIM)
        for x in (-0.55, 0.55):
            m.bar((x, side * 0.75, 1.4), (x, side * 0.75, 2.7), 0.06, DARK, sides=4)
    m.box((-1.2, 0, 1.3), (1.9, 1.2, 0.8), paint, top=(0.9, 0.9))
    m.box((0.0, 0, 1.15), (1.3, 1.6, 0.6), paint)
    m.box((-0.3, 0, 1.75), (0.5, 0.5, 0.7), DARK)
    m.box((0.0, 0, 2.75), (1.6, 1.7, 0.1), paint)

"""Cars, trucks, trailers and buses."""

from __future__ import annotations

import numpy as np

from semlt3d_ros.simulation.mesh import MeshBuilder, Paint, Pattern, Shape
from semlt3d_ros.simulation.shapes_paint import (
    CHROME,
    DARK,
    GLASS,
    HEADLIGHT,
    PLATE,
    RIM,
    RUBBER,
    TAIL_LIGHT,
    Color,
    draw_size,
    pick,
    vary,
)

CAR_COLORS: tuple[Color, ...] = (
    (232, 232, 230),
    (232, 232, 230),
    (24, 25, 28),
    (60, 62, 66),
    (120, 123, 126),
    (178, 180, 182),
    (25, 50, 110),
    (52, 98, 160),
    (128, 18, 22),
    (180, 24, 28),
    (30, 70, 48),
    (110, 90, 66),
    (196, 178, 140),
    (90, 30, 60),
)
LORRY_COLORS: tuple[Color, ...] = (
    (236, 236, 232),
    (30, 70, 150),
    (30, 110, 70),
    (150, 30, 30),
    (90, 92, 96),
    (200, 120, 50),
)


def add_lights(m: MeshBuilder, length: float, width: float, low: float, high: float) -> None:
    """White lights and a dark grille in front, red lights behind, number plates at both ends, between two heights."""
    front, rear, tall = length / 2, -length / 2, high - low
    middle = (low + high) / 2
    for side in (-1, 1):
        m.box((front - 0.05, side * 0.36 * width, middle), (0.14, 0.2 * width, tall), HEADLIGHT)
        m.box((rear + 0.03, side * 0.41 * width, middle), (0.1, 0.14 * width, 1.3 * tall), TAIL_LIGHT)
    m.box((front - 0.04, 0, middle - 0.1 * tall), (0.14, 0.46 * width, 0.9 * tall), DARK)
    m.box((front + 0.01, 0, low - 0.4 * tall), (0.06, 0.52, 0.12), PLATE)
    m.box((rear - 0.01, 0, low - 0.2 * tall), (0.06, 0.52, 0.12), PLATE)


def add_wheels(m: MeshBuilder, at: tuple[float, ...], width: float, radius: float, tread: float = 0.24) -> None:
    """Pairs of wheels at several positions along x, standing on z = 0."""
    for x in at:
        for side in (-1, 1):
            m.wheel((x, side * (width / 2 - tread / 2), radius), radius, tread, RUBBER, RIM)


def add_car(m: MeshBuilder, rng: np.random.Generator, size: np.ndarray, body: Paint) -> float:
    """A passenger car of one of four kinds, centred in x, standing on z = 0; returns the x of its roof's middle."""
    l, w, h = size
    rear_base, rear_top, front_top, front_base = [
        (-0.40, -0.24, 0.06, 0.24),  # saloon
        (-0.49, -0.42, 0.06, 0.25),  # hatchback
        (-0.495, -0.46, 0.10, 0.26),  # estate or sport utility vehicle
        (-0.495, -0.475, 0.20, 0.36),  # van
    ][int(rng.choice(4, p=(0.35, 0.25, 0.28, 0.12)))]
    waist = h * rng.uniform(0.54, 0.6)
    nose = waist * rng.uniform(0.78, 0.86)
    floor, front = 0.17 * h / 1.73, 0.5 * l
    m.extrude(
        [
            (-0.98 * front, floor),
            (0.97 * front, floor),
            (front, 0.5 * nose),
            (0.985 * front, nose),
            (front_base * l, waist),
            (-0.96 * front, waist * 1.01),
            (-front, 0.7 * waist),
        ],
        0.96 * w,
        body,
    )
    low = [(rear_base * l, y, waist - 0.01) for y in (-0.45 * w, 0.45 * w)]
    low += [(front_base * l, y, waist - 0.01) for y in (0.45 * w, -0.45 * w)]
    top = [(rear_top * l, y, 0.965 * h) for y in (-0.37 * w, 0.37 * w)]
    top += [(front_top * l, y, 0.965 * h) for y in (0.37 * w, -0.37 * w)]
    m.loft([low, top], GLASS)
    roof = (front_top + rear_top) / 2 * l
    m.box((roof, 0, 0.98 * h), ((front_top - rear_top) * l * 1.04, 0.77 * w, 0.06), body, top=(0.94, 0.9))
    pillars = [((rear_top + 0.01) * l, (rear_base + 0.015) * l), ((rear_top + front_top) / 2 * l,) * 2]
    pillars.append((front_top * l, (front_base - 0.01) * l))
    for side in (-1, 1):
        for x_top, x_low in pillars:
            m.bar((x_low, side * 0.445 * w, waist), (x_top, side * 0.37 * w, 0.96 * h), 0.05, body, sides=4)
        m.box((0.7 * front_base * l, side * 0.485 * w, waist + 0.06), (0.12, 0.05 * w, 0.13), body)
    add_wheels(m, (-0.29 * l, 0.31 * l), w, 0.19 * h, 0.22)
    add_lights(m, l, 0.96 * w, 0.72 * nose, 0.96 * nose)
    return float(roof)


def make_car(rng: np.random.Generator) -> Shape:
    """A passenger car, 4.6 x 1.95 x 1.73 m on average."""
    size = draw_size(rng, (4.6, 1.95, 1.70), 0.06)
    m = MeshBuilder()
    add_car(m, rng, size, pick(rng, CAR_COLORS, float(rng.uniform(0.15, 0.5))))
    return m.build(size)


def add_cab(m: MeshBuilder, front: float, length: float, size: tuple[float, float], floor: float, body: Paint) -> None:
    """A lorry's cab whose front is at x = ``front``; ``size`` is its width and the height of its roof above ground."""
    width, height = size
    x, tall = front - length / 2, height - floor
    m.box((x, 0, floor + tall / 2), (length, width, tall), body, top=(0.92, 0.94))
    m.box(
        (front - 0.035 * length, 0, floor + 0.7 * tall), (0.1 * length, 0.86 * width, 0.36 * tall), GLASS, pitch=-0.05
    )
    for side in (-1, 1):
        m.box((x + 0.12 * length, side * 0.474 * width, floor + 0.68 * tall), (0.5 * length, 0.06, 0.34 * tall), GLASS)
        m.box((front - 0.1, side * 0.53 * width, floor + 0.7 * tall), (0.1, 0.16, 0.42), DARK)


def make_truck(rng: np.random.Generator) -> Shape:
    """A lorry with a box, tarpaulin, tipper or flat bed, or a pickup; 6.9 x 2.5 x 2.8 m on average."""
    kind = ("box", "box", "tipper", "flat", "pickup")[int(rng.integers(5))]
    m = MeshBuilder()
    if kind == "pickup":
        return _make_pickup(m, rng)
    size = draw_size(rng, (6.9, 2.5, 2.9), 0.12)
    l, w, h = size
    cab_length, floor, radius = min(0.28 * l, 2.1), 0.55, 0.45
    cab_top = h * (rng.uniform(0.78, 0.95) if kind == "box" else 1.0)
    cab = pick(rng, LORRY_COLORS)
    add_cab(m, l / 2, cab_length, (0.94 * w, cab_top), floor, cab)
    bed_length = l - cab_length - 0.15
    x = -l / 2 + bed_length / 2
    m.box((-0.05 * l, 0, 0.62), (0.9 * l, 0.5 * w, 0.25), DARK)
    if kind == "box":
        cargo = pick(rng, LORRY_COLORS, 0.4, (Pattern.PLAIN, Pattern.RIBS)[int(rng.integers(2))])
        m.box((x, 0, (h + 0.85) / 2), (bed_length, w, h - 0.85), cargo)
        m.box((x, 0, 0.85 + rng.uniform(0.3, 0.6) * h), (0.7 * bed_length, 1.01 * w, 0.14 * h), pick(rng, LORRY_COLORS))
        m.box((-l / 2, 0, (h + 0.85) / 2), (0.05, 0.06, 0.9 * (h - 0.85)), DARK)
    else:
        bed = pick(rng, ((70, 90, 120), (120, 50, 40), (90, 90, 90), (50, 90, 60)), 0.3)
        side = 0.35 * h if kind == "tipper" else 0.14 * h
        m.box((x, 0, 0.85 + side / 2), (bed_length, w, side), bed, top=(1.0, 1.0))
        load = Paint(vary(rng, (120, 100, 76), 20), 0.3, Pattern.NOISE)
        tall = side * rng.uniform(0.2, 0.5) if kind == "tipper" else h * rng.uniform(0.15, 0.4)
        m.box((x, 0, 0.85 + side + tall / 2), (0.9 * bed_length, 0.85 * w, tall), load, top=(0.6, 0.5))
    add_wheels(m, (l / 2 - 0.6 * cab_length, -0.22 * l, -0.38 * l), w, radius, 0.3)
    add_lights(m, l, 0.94 * w, 0.72, 0.95)
    return m.build(size)


def _make_pickup(m: MeshBuilder, rng: np.random.Generator) -> Shape:
    size = draw_size(rng, (5.7, 2.05, 1.95), 0.05)
    l, w, h = size
    body = pick(rng, CAR_COLORS)
    waist = 0.58 * h
    m.extrude([(-l / 2, 0.35), (l / 2, 0.35), (l / 2, 0.92 * waist), (0.2 * l, waist), (-l / 2, waist)], 0.96 * w, body)
    m.box((0.06 * l, 0, 0.5 * (waist + 0.97 * h)), (0.34 * l, 0.88 * w, 0.97 * h - waist), GLASS, top=(0.72, 0.84))
    m.box((0.06 * l, 0, 0.98 * h), (0.25 * l, 0.76 * w, 0.06), body)
    m.box((-0.3 * l, 0, waist), (0.36 * l, 0.8 * w, 0.04), DARK)
    for side in (-1, 1):
        m.box((-0.31 * l, side * 0.45 * w, waist + 0.06), (0.37 * l, 0.07 * w, 0.12), body)
    m.box((-0.485 * l, 0, waist + 0.06), (0.03 * l, 0.9 * w, 0.12), body)
    add_wheels(m, (-0.31 * l, 0.31 * l), w, 0.2 * h, 0.26)
    add_lights(m, l, 0.96 * w, 0.62 * waist, 0.85 * waist)
    return m.build(size)


def make_trailer(rng: np.random.Generator) -> Shape:
    """A semi-trailer without its tractor: long box, container, tank or flat bed; 12 x 2.9 x 3.9 m on average."""
    kind = ("box", "container", "tank", "flat")[int(rng.choice(4, p=(0.4, 0.3, 0.15, 0.15)))]
    size = draw_size(rng, (11.5, 2.8, 3.8), 0.1)
    l, w, h = size
    m = MeshBuilder()
    floor = 1.25
    m.box((0, 0, floor - 0.12), (0.98 * l, 0.5 * w, 0.24), DARK)
    if kind in ("box", "container"):
        colors: tuple[Color, ...] = ((236, 236, 232), (206, 208, 210), (160, 165, 170))
        if kind == "container":
            colors = ((150, 50, 40), (40, 80, 130), (60, 110, 80), (190, 110, 40), (120, 120, 124))
        m.box((0, 0, (h + floor) / 2), (l, w, h - floor), pick(rng, colors, 0.45, Pattern.RIBS))
        m.box((-l / 2 - 0.01, 0, (h + floor) / 2), (0.06, 0.08, 0.92 * (h - floor)), DARK)
        m.box((0, 0, floor + 0.2), (0.9 * l, 1.01 * w, 0.09), Paint((200, 30, 30), 0.95))
    elif kind == "tank":
        tank = pick(rng, ((190, 194, 200), (226, 226, 222), (150, 160, 170)), 0.6)
        radius = (h - floor) / 2
        m.bar((-0.49 * l, 0, floor + radius), (0.49 * l, 0, floor + radius), radius, tank, sides=12)
        m.box((0, 0, floor + 0.1), (l, w, 0.14), DARK)
    else:
        m.box((0, 0, floor + 0.06), (l, w, 0.2), pick(rng, ((110, 90, 66), (80, 80, 84)), 0.3, Pattern.NOISE))
        m.box((0.49 * l, 0, (h + floor) / 2), (0.02 * l, w, h - floor), pick(rng, LORRY_COLORS))
        bulk = pick(rng, ((150, 120, 80), (120, 124, 128), (60, 90, 70)), 0.3, Pattern.RIBS)
        m.box((-0.1 * l, 0, floor + 0.25 * h), (0.6 * l, 0.8 * w, 0.4 * h), bulk)
    add_wheels(m, (-0.44 * l, -0.34 * l, -0.24 * l), w, 0.5, 0.34)
    for side in (-1, 1):
        m.box((0.25 * l, side * 0.3 * w, 0.5), (0.14, 0.14, 1.0), DARK)
        m.box((-l / 2, side * 0.38 * w, floor - 0.2), (0.08, 0.3, 0.16), TAIL_LIGHT)
    m.box((-0.49 * l, 0, 0.7), (0.1, 0.8 * w, 0.14), Paint((226, 210, 200), 0.9, Pattern.DIAGONAL))
    m.box((-l / 2, 0, floor - 0.2), (0.06, 0.52, 0.14), PLATE)
    return m.build(size)


def make_bus(rng: np.random.Generator) -> Shape:
    """A city bus or coach, 11 x 2.9 x 3.4 m on average, with a band of windows and doors on the right."""
    size = draw_size(rng, (11.0, 2.9, 3.4), 0.08)
    l, w, h = size
    m = MeshBuilder()
    colors = ((200, 150, 30), (170, 40, 40), (40, 110, 180), (60, 150, 80), (220, 220, 214), (230, 120, 40))
    body = pick(rng, colors, 0.4)
    upper = body if rng.random() < 0.5 else pick(rng, ((232, 232, 228), *colors), 0.4)
    m.box((0, 0, 0.34 + 0.15 * h), (l, w, 0.3 * h), body)
    m.box((0, 0, 0.34 + 0.3 * h + 0.16 * h), (0.985 * l, 0.98 * w, 0.34 * h), GLASS)
    top = 0.34 + 0.62 * h
    m.box((0, 0, (top + h) / 2), (0.99 * l, 0.99 * w, h - top), upper, top=(0.98, 0.9))
    for x in np.arange(-0.49, 0.4, rng.uniform(0.12, 0.17)):
        m.box((x * l, 0, 0.34 + 0.45 * h), (0.12, w, 0.36 * h), upper)
    m.box((-0.49 * l, 0, 0.34 + 0.45 * h), (0.03 * l, 0.98 * w, 0.36 * h), body)
    m.box((0.493 * l, 0, 0.34 + 0.42 * h), (0.02 * l, 0.9 * w, 0.46 * h), GLASS)
    m.box((0.497 * l, 0, top + 0.3 * (h - top)), (0.02 * l, 0.6 * w, 0.4 * (h - top)), Paint((255, 170, 20), 0.2))
    for x in (0.43, 0.02):
        m.box((x * l, -0.497 * w, 0.34 + 0.3 * h), (0.08 * l, 0.02 * w, 0.56 * h), GLASS)
    for side in (-1, 1):
        m.box((0.49 * l, side * 0.49 * w, 0.62 * h), (0.14, 0.12, 0.4), DARK)
    add_wheels(m, (0.27 * l, -0.28 * l), w, 0.5, 0.34)
    add_lights(m, l, w, 0.6, 0.85)
    m.box((-0.25 * l, 0, h), (0.2 * l, 0.6 * w, 0.12), CHROME)
    return m.build(size)

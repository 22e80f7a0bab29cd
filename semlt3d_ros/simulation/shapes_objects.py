"""Strollers, things that are pushed, debris, traffic cones and barriers."""

from __future__ import annotations

import numpy as np

from semlt3d_ros.simulation.mesh import MeshBuilder, Paint, Pattern, Shape
from semlt3d_ros.simulation.shapes_paint import CHROME, DARK, RIM, RUBBER, Color, draw_size, pick, vary
from semlt3d_ros.simulation.shapes_people import BRIGHT, SKINS

_WHITE = Paint((242, 242, 238), 0.95)
_FABRICS: tuple[Color, ...] = ((60, 60, 66), (40, 60, 110), (170, 40, 60), (60, 120, 110), (190, 170, 130), *BRIGHT[:3])


def make_stroller(rng: np.random.Generator) -> Shape:
    """A pram or pushchair with canopy, four wheels and a push bar behind; about 0.95 x 0.6 x 1.07 m."""
    m = MeshBuilder()
    fabric = pick(rng, _FABRICS)
    canopy = pick(rng, _FABRICS, 0.3, Pattern.BANDS if rng.random() < 0.3 else Pattern.PLAIN)
    radius = float(rng.uniform(0.11, 0.16))
    for x in (-0.3, 0.32):
        for side in (-1, 1):
            m.wheel((x, side * 0.25, radius), radius, 0.06, RUBBER, RIM, sides=8)
    for side in (-1, 1):
        m.bar((0.32, side * 0.25, radius), (-0.5, side * 0.22, 1.02), 0.02, CHROME, sides=4)
        m.bar((-0.3, side * 0.25, radius), (0.2, side * 0.22, 0.55), 0.02, CHROME, sides=4)
    m.bar((-0.5, -0.23, 1.02), (-0.5, 0.23, 1.02), 0.03, DARK, sides=5)
    if rng.random() < 0.5:  # pram
        m.extrude([(-0.32, 0.66), (-0.25, 0.45), (0.32, 0.45), (0.42, 0.66)], 0.44, fabric)
        m.box((0.12, 0, 0.67), (0.5, 0.42, 0.04), pick(rng, ((236, 236, 230), (240, 200, 210), (190, 220, 240))))
    else:
        m.box((0.1, 0, 0.47), (0.4, 0.38, 0.12), fabric, pitch=-0.15)
        m.box((-0.16, 0, 0.67), (0.1, 0.38, 0.5), fabric, pitch=-0.35)
        m.box((0.3, 0, 0.34), (0.08, 0.32, 0.3), fabric, pitch=-0.3)
        m.ellipsoid((-0.05, 0, 0.76), (0.09, 0.08, 0.1), pick(rng, SKINS, amount=8), sides=6)
        m.ellipsoid((0.0, 0, 0.58), (0.13, 0.12, 0.14), pick(rng, BRIGHT), sides=6)
    arc = [(-0.32, 0.64), (-0.35, 0.82), (-0.26, 0.99), (-0.06, 1.05), (0.1, 0.97)]
    m.extrude([*arc, (-0.12, 0.78)], 0.45, canopy)
    m.box((-0.05, 0, 0.26), (0.42, 0.36, 0.14), DARK)
    return m.build(draw_size(rng, (0.95, 0.6, 1.07), 0.07))


def make_pushable_pullable(rng: np.random.Generator) -> Shape:
    """A shopping trolley, wheelie bin, hand truck with boxes, or platform trolley; about 0.67 x 0.6 x 1.06 m."""
    kind = int(rng.choice(4, p=(0.25, 0.35, 0.2, 0.2)))
    m = MeshBuilder()
    (_add_shopping_trolley, _add_bin, _add_hand_truck, _add_platform_trolley)[kind](m, rng)
    mean = ((0.95, 0.58, 1.02), (0.68, 0.58, 1.08), (0.6, 0.55, 1.25), (0.95, 0.62, 1.0))[kind]
    return m.build(draw_size(rng, mean, 0.08))


def _add_shopping_trolley(m: MeshBuilder, rng: np.random.Generator) -> None:
    accent = pick(rng, ((220, 30, 30), (240, 180, 20), (30, 90, 190), (40, 150, 60)), 0.4)
    mesh = Paint((190, 194, 198), 0.5, Pattern.LATTICE)
    low = [(-0.32, -0.2, 0.5), (0.4, -0.16, 0.5), (0.4, 0.16, 0.5), (-0.32, 0.2, 0.5)]
    high = [(-0.42, -0.27, 0.92), (0.48, -0.2, 0.86), (0.48, 0.2, 0.86), (-0.42, 0.27, 0.92)]
    m.loft([low, high], mesh)
    m.bar((-0.47, -0.28, 1.0), (-0.47, 0.28, 1.0), 0.035, accent, sides=5)
    m.box((0.47, 0, 0.84), (0.04, 0.4, 0.06), accent)
    m.box((0.0, 0, 0.22), (0.76, 0.4, 0.03), CHROME)
    for side in (-1, 1):
        m.bar((-0.4, side * 0.24, 0.12), (-0.46, side * 0.25, 0.98), 0.02, CHROME, sides=4)
        for x in (-0.4, 0.38):
            m.wheel((x, side * 0.2, 0.065), 0.065, 0.04, RUBBER, accent, sides=7)
    if rng.random() < 0.5:
        m.box((0, 0, 0.93), (0.5, 0.3, 0.2), pick(rng, ((200, 170, 120), (60, 110, 70), (220, 220, 210))))


def _add_bin(m: MeshBuilder, rng: np.random.Generator) -> None:
    body = pick(rng, ((30, 90, 50), (40, 42, 46), (36, 70, 140), (120, 84, 46)), 0.3)
    lid = pick(rng, ((230, 200, 30), (30, 80, 160), (40, 40, 44), (120, 84, 46)), 0.3) if rng.random() < 0.5 else body
    m.box((0.02, 0, 0.52), (0.46, 0.42, 0.9), body, top=(1.3, 1.25))
    m.box((0.02, 0, 1.0), (0.66, 0.57, 0.09), lid, top=(0.9, 0.9), pitch=0.06)
    m.bar((-0.34, -0.2, 0.95), (-0.34, 0.2, 0.95), 0.03, body, sides=5)
    for side in (-1, 1):
        m.wheel((-0.2, side * 0.23, 0.11), 0.11, 0.06, RUBBER, RIM, sides=8)
    m.box((0.3, 0, 0.78), (0.02, 0.2, 0.14), Paint((226, 226, 220), 0.6))


def _add_hand_truck(m: MeshBuilder, rng: np.random.Generator) -> None:
    frame = pick(rng, ((200, 30, 30), (40, 70, 160), (60, 60, 64)), 0.4)
    for side in (-1, 1):
        m.bar((-0.12, side * 0.2, 0.1), (-0.24, side * 0.2, 1.25), 0.025, frame, sides=5)
        m.wheel((-0.16, side * 0.25, 0.13), 0.13, 0.07, RUBBER, RIM, sides=8)
    for z in (0.5, 0.85, 1.24):
        m.box((-0.12 - 0.1 * z, 0, z), (0.04, 0.4, 0.05), frame)
    m.box((0.08, 0, 0.03), (0.4, 0.4, 0.03), frame)
    z = 0.05
    for _ in range(int(rng.integers(1, 4))):
        deep, wide, tall = rng.uniform(0.28, 0.38), rng.uniform(0.32, 0.48), rng.uniform(0.24, 0.36)
        m.box((0.08, 0, z + tall / 2), (deep, wide, tall), pick(rng, ((188, 146, 96), (170, 128, 84), (206, 170, 120))))
        m.box((0.08, 0, z + tall / 2), (deep + 0.005, 0.06, tall + 0.004), Paint((226, 204, 160), 0.3))
        z += tall


def _add_platform_trolley(m: MeshBuilder, rng: np.random.Generator) -> None:
    frame = pick(rng, ((40, 70, 160), (70, 74, 80), (190, 40, 40)), 0.4)
    m.box((0, 0, 0.2), (0.92, 0.58, 0.06), frame)
    for x in (-0.36, 0.36):
        for side in (-1, 1):
            m.wheel((x, side * 0.22, 0.085), 0.085, 0.05, RUBBER, RIM, sides=8)
    for side in (-1, 1):
        m.bar((-0.44, side * 0.24, 0.2), (-0.46, side * 0.24, 0.98), 0.022, CHROME, sides=5)
    m.box((-0.46, 0, 0.98), (0.05, 0.52, 0.05), CHROME)
    z, load = 0.23, ((188, 146, 96), (120, 130, 140), (60, 110, 160), (200, 60, 50))
    for _ in range(int(rng.integers(1, 4))):
        tall = float(rng.uniform(0.15, 0.3))
        m.box((rng.uniform(-0.06, 0.08), 0, z + tall / 2), (rng.uniform(0.45, 0.75), 0.46, tall), pick(rng, load))
        z += tall


def make_debris(rng: np.random.Generator) -> Shape:
    """Something lost on the road: a heap of rubble, a bag, planks, tyres or a branch; below 0.9 m in height."""
    kind = int(rng.choice(5, p=(0.3, 0.2, 0.2, 0.15, 0.15)))
    m = MeshBuilder()
    (_add_heap, _add_bags, _add_planks, _add_tyres, _add_branch)[kind](m, rng)
    return m.build()


def _add_heap(m: MeshBuilder, rng: np.random.Generator) -> None:
    colors = ((130, 112, 92), (112, 106, 100), (92, 74, 58), (150, 140, 128))
    for _ in range(int(rng.integers(5, 9))):
        x, y = rng.normal(0, 0.28, 2)
        length, width, tall = rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.5)
        _add_lump(m, rng, (x, y, 0.0), (length / 2, width / 2, tall), pick(rng, colors, 0.3, Pattern.NOISE))


def _add_lump(
    m: MeshBuilder,
    rng: np.random.Generator,
    at: tuple[float, float, float],
    half: tuple[float, float, float],
    paint: Paint,
) -> None:
    """A crumpled lump standing on z = at[2]."""
    x, y, z = at
    levels = []
    for up, wide in ((0.0, 0.85), (0.35, 1.0), (0.75, 0.7), (1.0, 0.25)):
        dx, dy = rng.normal(0, 0.12, 2)
        stretch = wide * rng.uniform(0.8, 1.15)
        levels.append((x + dx * half[0], y + dy * half[1], z + up * half[2], stretch * half[0], stretch * half[1]))
    m.tapered(levels, paint, sides=6)


def _add_bags(m: MeshBuilder, rng: np.random.Generator) -> None:
    colors = ((20, 20, 24), (70, 90, 130), (222, 222, 216), (40, 70, 44))
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.normal(0, 0.22, 2)
        wide, tall = rng.uniform(0.2, 0.34), rng.uniform(0.3, 0.6)
        paint = pick(rng, colors, 0.25, Pattern.NOISE)
        _add_lump(m, rng, (x, y, 0), (wide, wide, tall), paint)
        m.bar((x, y, 0.95 * tall), (x + 0.03, y, 1.15 * tall), 0.05, paint, end_radius=0.1, sides=5)


def _add_planks(m: MeshBuilder, rng: np.random.Generator) -> None:
    wood = ((172, 130, 84), (140, 104, 66), (110, 90, 74))
    for k in range(int(rng.integers(2, 6))):
        yaw, pitch = rng.normal(0, 0.5), rng.normal(0, 0.12)
        size = (rng.uniform(0.8, 2.0), rng.uniform(0.1, 0.26), rng.uniform(0.04, 0.09))
        m.box((*rng.normal(0, 0.12, 2), 0.06 + 0.09 * k), size, pick(rng, wood), yaw=yaw, pitch=pitch)


def _add_tyres(m: MeshBuilder, rng: np.random.Generator) -> None:
    radius, z = float(rng.uniform(0.3, 0.48)), 0.0
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.normal(0, 0.04, 2)
        m.bar((x, y, z), (x, y, z + 0.22), radius, RUBBER, sides=12)
        m.bar((x, y, z - 0.001), (x, y, z + 0.225), 0.55 * radius, Paint((70, 68, 64), 0.1), sides=8)
        z += 0.22


def _add_branch(m: MeshBuilder, rng: np.random.Generator) -> None:
    bark = pick(rng, ((84, 64, 44), (104, 84, 60)))
    leaves = pick(rng, ((60, 96, 40), (110, 100, 40), (90, 70, 40)), 0.4, Pattern.NOISE)
    length = float(rng.uniform(1.0, 2.2))
    m.bar((-length / 2, 0, 0.08), (length / 2, 0.05, 0.14), 0.07, bark, end_radius=0.03)
    for x in rng.uniform(-0.2, 0.5, int(rng.integers(3, 6))) * length:
        y, z = rng.uniform(-0.45, 0.45), rng.uniform(0.1, 0.5)
        m.bar((x - 0.3, 0, 0.1), (x, y, z), 0.03, bark, end_radius=0.015, sides=4)
        m.ellipsoid((x, y, z), (0.22, 0.16, 0.12), leaves, sides=6, rings=3)


def make_traffic_cone(rng: np.random.Generator) -> Shape:
    """An orange cone or post with white reflective bands on a dark base; 0.41 x 0.41 x 1.07 m on average."""
    m = MeshBuilder()
    orange = Paint(vary(rng, (255, 84, 14), 8), 0.6)
    post = rng.random() < 0.3
    radius, tip = (0.13, 0.09) if post else (0.165, 0.03)
    base = orange if rng.random() < 0.3 else DARK
    m.box((0, 0, 0.03), (0.41, 0.41, 0.06), base, top=(0.92, 0.92))
    bands = ((0.06, 0.36), (0.36, 0.56), (0.56, 0.72), (0.72, 0.88), (0.88, 1.07))
    for k, (low, high) in enumerate(bands):
        r0, r1 = [radius + (tip - radius) * (z - 0.06) / 1.01 for z in (low, high)]
        m.bar((0, 0, low), (0, 0, high), r0, _WHITE if k in (1, 3) else orange, end_radius=r1, sides=10)
    tall = float(rng.choice((rng.uniform(0.7, 0.8), rng.uniform(0.95, 1.2))))
    size = float(rng.uniform(0.34, 0.46))
    return m.build((size, size, tall))


def make_barrier(rng: np.random.Generator) -> Shape:
    """A road barrier, 0.5 x 2.5 x 1.0 m on average: thin along x, its board faces forward and backward.

    Either boards with red and white diagonal stripes on feet, a water-filled plastic wall, or a concrete wall.
    """
    kind = int(rng.choice(3, p=(0.5, 0.3, 0.2)))
    size = draw_size(rng, (0.5, 2.5, 1.0), 0.1)
    m = MeshBuilder()
    red = Paint(vary(rng, (216, 22, 26), 8), 0.85, Pattern.DIAGONAL)
    if kind == 0:
        m.box((0, 0, 0.84), (0.07, 2.5, 0.3), red)
        if rng.random() < 0.6:
            m.box((0, 0, 0.4), (0.07, 2.4, 0.22), red)
        for y in (-1.0, 1.0):
            m.box((0, y, 0.5), (0.09, 0.08, 1.0), Paint((200, 200, 196), 0.4))
            m.box((0, y, 0.04), (0.5, 0.16, 0.08), DARK)
            if rng.random() < 0.5:
                m.box((0, y, 1.05), (0.1, 0.14, 0.16), Paint((255, 170, 10), 0.7))
        return m.build(size)
    profile = [
        (-0.25, 0.0),
        (0.25, 0.0),
        (0.25, 0.18),
        (0.11, 0.45),
        (0.08, 1.0),
        (-0.08, 1.0),
        (-0.11, 0.45),
        (-0.25, 0.18),
    ]
    if kind == 1:
        colors = (Paint(vary(rng, (216, 30, 30), 8), 0.6), _WHITE)
        for k in range(2):
            m.extrude([(0.9 * x, z) for x, z in _convex(profile)], 1.23, colors[k], y=1.25 * (k - 0.5))
        m.box((0, 0, 0.7), (0.34, 2.3, 0.16), red)
    else:
        m.extrude(_convex(profile), 2.5, Paint(vary(rng, (172, 170, 162), 7), 0.35, Pattern.NOISE))
        m.box((0, 0, 0.8), (0.3, 2.45, 0.16), red)
    return m.build(size)


def _convex(profile: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The outline without its waist points, which would make it hollow."""
    return [point for point in profile if point[1] != 0.45]

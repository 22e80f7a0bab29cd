"""Adults, children, police officers and construction workers, and riders for vehicles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from semlt3d_ros.simulation.mesh import MeshBuilder, Paint, Pattern, Shape
from semlt3d_ros.simulation.shapes_paint import Color, draw_size, pick, vary

SKINS: tuple[Color, ...] = ((240, 200, 170), (222, 172, 138), (180, 128, 92), (130, 86, 58), (88, 58, 42))
HAIRS: tuple[Color, ...] = ((28, 22, 18), (60, 40, 26), (110, 76, 40), (196, 160, 96), (120, 50, 24), (140, 140, 140))
CLOTHES: tuple[Color, ...] = (
    (226, 226, 222),
    (44, 44, 46),
    (112, 112, 116),
    (150, 40, 44),
    (90, 140, 190),
    (96, 60, 110),
    (70, 110, 70),
    (170, 140, 100),
    (120, 84, 56),
    (200, 120, 140),
    (60, 120, 120),
)
TROUSERS: tuple[Color, ...] = (
    (62, 78, 110),
    (60, 60, 62),
    (96, 92, 84),
    (150, 132, 100),
    (86, 62, 48),
    (120, 132, 150),
)
BRIGHT: tuple[Color, ...] = (
    (235, 70, 150),
    (70, 200, 90),
    (250, 130, 190),
    (60, 190, 235),
    (150, 90, 220),
    (245, 90, 90),
)
POLICE_BLUE: Color = (16, 24, 62)
_REFLECTIVE = Paint((232, 236, 228), 1.0)


@dataclass(frozen=True)
class Outfit:
    """Paints of a person's parts."""

    top: Paint
    legs: Paint
    skin: Paint
    hair: Paint
    shoes: Paint
    sleeves: Paint


def plain_outfit(
    rng: np.random.Generator, tops: tuple[Color, ...] = CLOTHES, hairs: tuple[Color, ...] = HAIRS
) -> Outfit:
    """Everyday clothes; one in five tops is striped, one in four has short sleeves."""
    pattern = Pattern.BANDS if rng.random() < 0.2 else Pattern.PLAIN
    top = pick(rng, tops, 0.3, pattern)
    skin = pick(rng, SKINS, 0.35, amount=8)
    return Outfit(
        top=top,
        legs=pick(rng, TROUSERS, 0.25),
        skin=skin,
        hair=pick(rng, hairs, 0.15, amount=8),
        shoes=pick(rng, ((30, 30, 32), (200, 200, 200), (90, 60, 40)), 0.2),
        sleeves=skin if rng.random() < 0.25 else top,
    )


def add_torso_and_head(m: MeshBuilder, height: float, hip: tuple[float, float], lean: float, outfit: Outfit) -> None:
    """Upper body of a person of full height ``height`` whose hips are at (x, z) = ``hip``, leaning ``lean`` forward."""
    x, z = hip
    h = height
    at = [(x + lean * up, z + up * h) for up in (0.0, 0.17, 0.3, 0.335)]
    widths = ((0.075, 0.095), (0.07, 0.1), (0.068, 0.125), (0.04, 0.06))
    m.tapered([(a, 0.0, b, p * h, q * h) for (a, b), (p, q) in zip(at, widths, strict=True)], outfit.top)
    head = (x + lean * 0.42, 0.0, z + 0.415 * h)
    m.ellipsoid(head, (0.056 * h, 0.047 * h, 0.068 * h), outfit.skin, sides=7)
    m.ellipsoid((head[0] - 0.014 * h, 0, head[2] + 0.022 * h), (0.055 * h, 0.053 * h, 0.06 * h), outfit.hair, sides=7)
    m.bar((x + lean * 0.33, 0, z + 0.32 * h), (x + lean * 0.37, 0, z + 0.37 * h), 0.028 * h, outfit.skin, sides=5)


def add_limb(m: MeshBuilder, points: list[tuple[float, float, float]], radius: float, paints: list[Paint]) -> None:
    """An arm or a leg: one tapering bar per joint."""
    for start, end, paint in zip(points[:-1], points[1:], paints, strict=True):
        m.bar(start, end, radius, paint, end_radius=0.75 * radius, sides=5)
        radius *= 0.78


def add_walker(m: MeshBuilder, rng: np.random.Generator, height: float, outfit: Outfit, x: float = 0.0) -> None:
    """A person standing or in stride, feet on z = 0."""
    h = height
    stride = float(rng.choice((rng.uniform(0.0, 0.05), rng.uniform(0.09, 0.2)))) * h
    swing = stride * rng.uniform(0.4, 1.0) + float(rng.random() < 0.15) * 0.15 * h
    lead = float(rng.choice((-1.0, 1.0)))
    for side in (-1, 1):
        forward = side * lead * stride
        hip = (x, side * 0.05 * h, 0.49 * h)
        knee = (x + 0.55 * forward + 0.02 * h, side * 0.052 * h, 0.27 * h)
        foot = (x + forward, side * 0.055 * h, 0.03 * h)
        add_limb(m, [hip, knee, foot], 0.055 * h, [outfit.legs, outfit.legs])
        m.box((foot[0] + 0.03 * h, foot[1], 0.02 * h), (0.14 * h, 0.055 * h, 0.04 * h), outfit.shoes)
        back = -side * lead * swing
        shoulder = (x, side * 0.125 * h, 0.775 * h)
        elbow = (x + 0.5 * back - 0.02 * h, side * 0.16 * h, 0.61 * h)
        hand = (x + back + 0.04 * h, side * 0.16 * h, 0.46 * h)
        add_limb(m, [shoulder, elbow, hand], 0.036 * h, [outfit.top, outfit.sleeves])
        m.box(hand, (0.05 * h, 0.03 * h, 0.06 * h), outfit.skin)
    add_torso_and_head(m, h, (x, 0.48 * h), 0.0, outfit)


def add_rider(
    m: MeshBuilder,
    height: float,
    seat: tuple[float, float],
    hands: tuple[float, float],
    feet: tuple[float, float],
    outfit: Outfit,
    spread: float = 0.24,
) -> None:
    """A seated person: (x, z) of the seat, the hands and the feet; hands ``spread`` metres from the middle."""
    h = height
    lean = 0.35 * max(0.0, min(1.0, (hands[0] - seat[0]) / 0.7))
    shoulder_z = seat[1] + 0.29 * h
    for side in (-1, 1):
        knee = (
            max(seat[0] + 0.2, 0.75 * feet[0] + 0.25 * seat[0] + 0.12),
            side * 0.14,
            0.55 * (seat[1] + feet[1]) + 0.05,
        )
        hip = (seat[0], side * 0.05 * h, seat[1] + 0.02)
        foot = (feet[0], side * 0.13, feet[1])
        add_limb(m, [hip, knee, foot], 0.055 * h, [outfit.legs, outfit.legs])
        m.box((foot[0] + 0.05, foot[1], foot[2]), (0.25, 0.09, 0.08), outfit.shoes)
        shoulder = (seat[0] + 0.29 * lean, side * 0.12 * h, shoulder_z)
        elbow = (0.5 * (shoulder[0] + hands[0]), side * 0.17 * h, 0.5 * (shoulder_z + hands[1]) - 0.06)
        hand = (hands[0], side * spread, hands[1])
        add_limb(m, [shoulder, elbow, hand], 0.036 * h, [outfit.top, outfit.sleeves])
    add_torso_and_head(m, h, seat, lean, outfit)


def make_adult(rng: np.random.Generator) -> Shape:
    """A grown-up in everyday clothes, 1.77 m tall on average, sometimes with a bag, skirt or hat."""
    height = float(draw_size(rng, (1.0, 1.0, 1.75), 0.05)[2])
    outfit = plain_outfit(rng)
    m = MeshBuilder()
    add_walker(m, rng, height, outfit)
    extra = rng.random()
    if extra < 0.2:
        pack = pick(rng, ((40, 40, 44), (150, 50, 40), (60, 90, 60), (50, 70, 110)))
        m.box((-0.14, 0, 0.66 * height), (0.18, 0.3, 0.42), pack, top=(0.8, 0.85))
    elif extra < 0.35:
        m.tapered(
            [(0, 0, 0.3 * height, 0.13 * height, 0.14 * height), (0, 0, 0.52 * height, 0.085 * height, 0.1 * height)],
            pick(rng, CLOTHES),
        )
    elif extra < 0.5:
        m.box((0, 0.19 * height, 0.38 * height), (0.3, 0.1, 0.28), pick(rng, CLOTHES))
    elif extra < 0.62:
        m.tapered(
            [
                (-0.01, 0, 0.95 * height, 0.075 * height, 0.07 * height),
                (-0.01, 0, height, 0.05 * height, 0.05 * height),
            ],
            pick(rng, CLOTHES),
        )
    return m.build()


def make_child(rng: np.random.Generator) -> Shape:
    """A child in bright clothes, 0.9 to 1.45 m tall, with a large head and often a school bag."""
    height = float(rng.uniform(0.9, 1.42))
    outfit = plain_outfit(rng, BRIGHT, HAIRS[:-1])
    legs = pick(rng, (*TROUSERS, *BRIGHT))
    outfit = replace(outfit, legs=legs)
    m = MeshBuilder()
    add_walker(m, rng, height, outfit)
    grown = 1.0 + 0.25 * (1.5 - height)
    m.ellipsoid((0.01, 0, 0.9 * height), (0.062 * grown * height, 0.056 * grown * height, 0.075 * height), outfit.skin)
    m.ellipsoid((-0.012, 0, 0.93 * height), (0.066 * grown * height,) * 2 + (0.075 * height,), outfit.hair)
    if rng.random() < 0.5:
        m.box((-0.15 * height, 0, 0.65 * height), (0.13 * height, 0.2 * height, 0.24 * height), pick(rng, BRIGHT))
    return m.build()


def make_police_officer(rng: np.random.Generator) -> Shape:
    """An officer in dark blue with a peaked cap, a light belt and a badge, sometimes a high-visibility band."""
    height = float(draw_size(rng, (1.0, 1.0, 1.76), 0.04)[2])
    uniform = Paint(vary(rng, POLICE_BLUE, 4), 0.15)
    everyday = plain_outfit(rng)
    black = Paint((12, 12, 14), 0.1)
    outfit = Outfit(uniform, uniform, everyday.skin, everyday.hair, black, uniform)
    m = MeshBuilder()
    add_walker(m, rng, height, outfit)
    h = height
    m.tapered([(0, 0, 0.505 * h, 0.088 * h, 0.108 * h), (0, 0, 0.54 * h, 0.088 * h, 0.108 * h)], _REFLECTIVE)
    m.tapered([(0, 0, 0.94 * h, 0.06 * h, 0.058 * h), (-0.005, 0, 0.985 * h, 0.085 * h, 0.082 * h)], uniform)
    m.tapered([(0, 0, 0.94 * h, 0.063 * h, 0.06 * h), (0, 0, 0.955 * h, 0.063 * h, 0.06 * h)], _REFLECTIVE)
    m.box((0.08 * h, 0, 0.94 * h), (0.07 * h, 0.09 * h, 0.012 * h), black, pitch=0.3)
    m.box((0.068 * h, 0.05 * h, 0.72 * h), (0.02 * h, 0.03 * h, 0.04 * h), Paint((240, 200, 60), 0.9))
    m.box((-0.068 * h, 0, 0.7 * h), (0.02 * h, 0.17 * h, 0.045 * h), _REFLECTIVE)
    m.box((0, -0.115 * h, 0.49 * h), (0.09 * h, 0.04 * h, 0.09 * h), black)
    if rng.random() < 0.5:
        m.tapered([(0, 0, 0.62 * h, 0.079 * h, 0.112 * h), (0, 0, 0.645 * h, 0.079 * h, 0.115 * h)], _REFLECTIVE)
    return m.build()


def make_construction_worker(rng: np.random.Generator) -> Shape:
    """A worker with an orange or yellow vest, reflective bands and a helmet."""
    height = float(draw_size(rng, (1.0, 1.0, 1.76), 0.04)[2])
    vest = pick(rng, ((255, 96, 10), (255, 96, 10), (214, 240, 30)), 0.7, amount=6)
    everyday = plain_outfit(rng)
    suit = rng.random() < 0.35
    legs = vest if suit else everyday.legs
    sleeves = vest if suit or rng.random() < 0.4 else everyday.sleeves
    m = MeshBuilder()
    add_walker(m, rng, height, Outfit(vest, legs, everyday.skin, everyday.hair, everyday.shoes, sleeves))
    h = height
    for z in (0.53, 0.66):
        m.tapered([(0, 0, z * h, 0.083 * h, 0.113 * h), (0, 0, (z + 0.03) * h, 0.082 * h, 0.116 * h)], _REFLECTIVE)
    for side in (-1, 1):
        m.box((0, side * 0.07 * h, 0.72 * h), (0.155 * h, 0.03 * h, 0.13 * h), _REFLECTIVE)
    helmet = pick(rng, ((255, 210, 20), (245, 245, 240), (250, 110, 20), (30, 90, 200)), 0.5, amount=5)
    m.tapered([(0.01, 0, 0.935 * h, 0.085 * h, 0.07 * h), (0.01, 0, 0.95 * h, 0.08 * h, 0.068 * h)], helmet)
    m.ellipsoid((0, 0, 0.96 * h), (0.068 * h, 0.062 * h, 0.05 * h), helmet)
    if rng.random() < 0.25:
        m.bar((0.25, 0.3, 0.0), (0.12, 0.28, 0.8 * h), 0.025, Paint((130, 100, 60), 0.3))
        m.box((0.26, 0.3, 0.12), (0.06, 0.24, 0.26), Paint((130, 130, 134), 0.5))
    return m.build()

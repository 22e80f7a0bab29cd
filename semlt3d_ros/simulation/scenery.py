"""Everything that stands along a street and is no object of interest: houses, trees, poles, hedges."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.simulation.road import Road, Verge

BOX_VERTICES = np.array([[x, y, z] for z in (0, 1) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))], np.float32)
BOX_FACES = np.array(
    [[0, 1, 5], [0, 5, 4], [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7], [4, 5, 6], [4, 6, 7]],
    np.int32,
)


class SceneryTexture(IntEnum):
    """Patterns of static parts; above every pattern id of the object shapes."""

    FACADE = 200
    FOLIAGE = 201
    ROUGH = 202


@dataclass
class StaticPart:
    """A static mesh in its own frame (origin on the ground, z up).

    Attributes:
        vertices: (V, 3) float32 metres. faces: (F, 3) int32. colors: (F, 3) uint8.
        texture: one pattern id for all faces. reflectivity: LiDAR reflectivity in [0, 1].
        x, y, yaw: world pose in metres, radians.
        windows: width and height of a window bay and the share glass takes of each (3,), and the glass colour
            (3,) linear; used by facades.
        radius: metres around (x, y) on the ground that nothing else may enter; 0 for houses.
        kind: which ``point_classes.BACKGROUND`` it is.
        z: metres that it stands above the plane.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8]
    texture: int
    reflectivity: float
    x: float
    y: float
    yaw: float
    windows: NDArray[np.float32]
    radius: float = 0.0
    kind: str = "other"
    z: float = 0.0


_WALLS = np.array([(190, 175, 160), (150, 90, 70), (205, 200, 190), (120, 125, 130), (175, 150, 110)], np.float64)
_NO_WINDOWS = np.zeros(6, np.float32)


def prism(sides: int, radius_low: float, radius_high: float, low: float, high: float) -> tuple[NDArray, NDArray]:
    """Vertices and faces of a round post between two heights, without a floor."""
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    bottom = np.concatenate([ring * radius_low, np.full((sides, 1), low)], axis=1)
    top = np.concatenate([ring * radius_high, np.full((sides, 1), high)], axis=1)
    index = np.arange(sides)
    after = (index + 1) % sides
    walls = np.concatenate(
        [np.stack([index, after, after + sides], 1), np.stack([index, after + sides, index + sides], 1)]
    )
    lid = np.stack([np.full(sides - 2, sides), sides + index[1:-1], sides + index[2:]], 1)
    return np.concatenate([bottom, top]).astype(np.float32), np.concatenate([walls, lid]).astype(np.int32)


def _blob(rng: np.random.Generator, radius: float, height: float) -> tuple[NDArray, NDArray]:
    """A lumpy ball of 7 x 10 facets around z = 0."""
    rings, sides = 6, 10
    polar = np.linspace(0.12, np.pi - 0.12, rings)[:, None]
    around = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None] + 0.3 * np.arange(rings)[:, None]
    lump = rng.uniform(0.8, 1.2, (rings, sides))
    ball = np.stack(
        [
            radius * np.sin(polar) * np.cos(around) * lump,
            radius * np.sin(polar) * np.sin(around) * lump,
            height / 2 * np.cos(polar) * lump,
        ],
        axis=-1,
    )
    index = np.arange((rings - 1) * sides).reshape(rings - 1, sides)
    right = np.roll(index, -1, axis=1)
    quads = np.stack([index, index + sides, right + sides, right], -1).reshape(-1, 4)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return ball.reshape(-1, 3).astype(np.float32), faces.astype(np.int32)


def make_part(
    mesh: tuple[NDArray, NDArray],
    color: NDArray,
    pose: tuple[float, float, float],
    texture: int,
    reflectivity: float = 0.3,
    windows: NDArray[np.float32] = _NO_WINDOWS,
    radius: float = 0.0,
    kind: str = "other",
) -> StaticPart:
    """A part of one colour, of vertices and faces."""
    vertices, faces = mesh
    colors = np.broadcast_to(np.clip(color, 0, 255).astype(np.uint8), (len(faces), 3))
    return StaticPart(vertices, faces, colors, texture, reflectivity, *pose, windows, radius, kind)


def _house(rng: np.random.Generator, pose: tuple[float, float, float], length: float, depth: float) -> StaticPart:
    height = float(rng.choice((rng.uniform(3.5, 7.0), rng.uniform(7.0, 22.0))))
    base = np.array([(190, 175, 160), (150, 90, 70), (205, 200, 190), (120, 125, 130), (175, 150, 110)])[
        rng.integers(5)
    ]
    glass = rng.uniform(0.01, 0.12) * np.array([0.8, 0.95, 1.15])
    bay = np.array([rng.uniform(1.6, 4.0), rng.uniform(2.7, 3.6), rng.uniform(0.25, 0.75)])
    windows = np.concatenate([bay, glass]).astype(np.float32)
    box = (BOX_VERTICES * np.array([length / 2, depth / 2, height], np.float32), BOX_FACES)
    return make_part(box, base + rng.uniform(-25, 25, 3), pose, SceneryTexture.FACADE, 0.35, windows, kind="building")


def _tree(rng: np.random.Generator, x: float, y: float) -> list[StaticPart]:
    trunk, crown = float(rng.uniform(1.8, 3.2)), float(rng.uniform(1.2, 2.8))
    height = float(rng.uniform(2.5, 5.5))
    ball, faces = _blob(rng, crown, height)
    ball = ball + np.array([0, 0, trunk + height * 0.42], np.float32)
    green = np.array([rng.uniform(45, 110), rng.uniform(80, 135), rng.uniform(25, 60)])
    if rng.random() < 0.15:
        green = np.array([rng.uniform(130, 180), rng.uniform(80, 120), rng.uniform(30, 50)])
    brown = np.array([90, 72, 55]) + rng.uniform(-20, 20)
    radius = float(rng.uniform(0.1, 0.22))
    pose = (x, y, float(rng.uniform(0, 6)))
    return [
        make_part(
            prism(6, radius, radius * 0.8, 0, trunk + 0.5),
            brown,
            pose,
            SceneryTexture.ROUGH,
            0.3,
            radius=0.4,
            kind="vegetation",
        ),
        make_part((ball, faces), green, pose, SceneryTexture.FOLIAGE, 0.45, kind="vegetation"),
    ]


def _lamp(rng: np.random.Generator, x: float, y: float) -> list[StaticPart]:
    grey = np.full(3, rng.uniform(60, 150))
    height = float(rng.uniform(5, 9))
    parts = [make_part(prism(6, 0.1, 0.06, 0, height), grey, (x, y, 0.0), 0, 0.5, radius=0.3)]
    if rng.random() < 0.4:  # a sign on the pole
        plate = BOX_VERTICES * np.array([0.03, 0.3, 0.6], np.float32) + np.array([0.12, 0, 2.2], np.float32)
        color = np.array([(200, 30, 30), (30, 60, 170), (230, 230, 230), (240, 200, 40)])[rng.integers(4)]
        parts.append(make_part((plate, BOX_FACES), color, (x, y, float(rng.uniform(0, 6.28))), 0, 0.9))
    return parts


def make_scenery(rng: np.random.Generator, road: Road, start: float, stop: float) -> list[StaticPart]:
    """Static parts along the road from s = ``start`` to ``stop`` metres."""
    parts: list[StaticPart] = []
    for side, verge in ((1.0, road.left), (-1.0, road.right)):
        parts += _houses(rng, road, side, verge, start, stop)
        spacing = float(rng.uniform(8, 22))
        for s in np.arange(start, stop, spacing):
            if in_crossing(road, s, 1.0) or rng.random() < 0.25:
                continue
            inner = road.half_width + min(0.7, road.sidewalk_width / 3)
            d = side * (inner if rng.random() < 0.6 else road.half_width + road.sidewalk_width + 0.8)
            (x, y), _ = road.to_world(float(s + rng.uniform(-1, 1)), d)
            parts += (_tree if rng.random() < 0.6 else _lamp)(rng, float(x), float(y))
    return parts


def _houses(
    rng: np.random.Generator, road: Road, side: float, verge: Verge, start: float, stop: float
) -> list[StaticPart]:
    parts = []
    front = road.building_line + (6.5 if verge == "parking" else 0.0)
    s = start
    while s < stop:
        length, depth = float(rng.uniform(7, 24)), float(rng.uniform(8, 14))
        gap = float(rng.choice((0.0, rng.uniform(1, 5), rng.uniform(5, 20)), p=(0.4, 0.35, 0.25)))
        middle = s + length / 2
        s += length + gap
        if in_crossing(road, middle, length / 2 + 1.0):
            continue
        # Chords of a bend would cut into the sidewalk without this.
        bulge = abs(road.curvature) * (length / 2) ** 2
        (x, y), heading = road.to_world(middle, side * (front + depth / 2 + bulge))
        parts.append(_house(rng, (float(x), float(y), float(heading)), length, depth))
    return parts


def in_crossing(road: Road, s: float, margin: float) -> bool:
    """Whether something ``margin`` metres around s would stand in the crossing street or on its pavements."""
    if road.crossing_s is None:
        return False
    return abs(s - road.crossing_s) < road.crossing_half_width + road.sidewalk_width + margin

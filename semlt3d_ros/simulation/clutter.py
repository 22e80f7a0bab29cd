"""What real streets have besides houses, trees and objects: bushes, hedges, walls, fences, posts and boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.simulation.road import Road
from semlt3d_ros.simulation.scenery import (
    BOX_FACES,
    BOX_VERTICES,
    SceneryTexture,
    StaticPart,
    in_crossing,
    make_part,
    prism,
)

_MOST_LEAVES = 500
"""Of larger crowns, leaves stand for twigs of several."""
_Pose = tuple[float, float, float]
_Maker = Callable[[np.random.Generator, _Pose], list[StaticPart]]


def make_clutter(rng: np.random.Generator, road: Road, start: float, stop: float) -> list[StaticPart]:
    """Parts along the road from s = ``start`` to ``stop`` metres that are no objects of any class."""
    parts: list[StaticPart] = []
    walk = road.half_width + road.sidewalk_width
    for side in (-1.0, 1.0):
        parts += _borders(rng, road, side, walk, start, stop)
        spacing = float(rng.uniform(2.5, 12.0))
        for s in np.arange(start, stop, spacing):
            at = float(s + rng.uniform(-1, 1) * spacing / 2)
            if in_crossing(road, at, 1.0):
                continue
            u = rng.random()
            if u < 0.45:  # on the pavement, by the kerb or by the houses
                d = road.half_width + (0.35 if rng.random() < 0.6 else road.sidewalk_width - 0.3)
                maker: _Maker = _ON_PAVEMENT[rng.integers(len(_ON_PAVEMENT))]
            else:
                d = walk + 0.8 + float(rng.exponential(4.0))
                maker = _ON_GRASS[rng.integers(len(_ON_GRASS))]
            parts += maker(rng, _pose(rng, road, at, side * d))
    return parts


def with_leaves(rng: np.random.Generator, parts: list[StaticPart]) -> list[StaticPart]:
    """The same parts, with crowns of leaves that some light passes instead of closed balls."""
    return [_leafy(rng, part) if part.texture == SceneryTexture.FOLIAGE else part for part in parts]


def leaves(
    rng: np.random.Generator, middle: NDArray, half: NDArray, density: float, round_: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Leaves as triangles that face anywhere, in an ellipsoid or a box.

    Args:
        rng: source of chance.
        middle, half: (3,) centre and half extents, metres.
        density: area of all leaves as a multiple of the silhouette's.
        round_: an ellipsoid.
    """
    edge = float(np.clip(0.16 * np.cbrt(half.prod()), 0.1, 0.5))
    silhouette = 4.0 * float(np.sqrt(half[0] * half[1])) * float(half[2])
    count = density * silhouette / (0.43 * edge * edge) * 2
    edge *= max(1.0, np.sqrt(count / _MOST_LEAVES))
    count = int(np.clip(count, 12, _MOST_LEAVES))
    at = rng.normal(size=(count, 3)) if round_ else rng.uniform(-1, 1, (count, 3))
    if round_:  # leaves are denser outside
        at *= (rng.random(count) ** 0.22 / np.linalg.norm(at, axis=1))[:, None]
    corners = rng.normal(0, edge / 1.6, (count, 3, 3))
    vertices = middle + at[:, None] * half + corners
    return vertices.reshape(-1, 3).astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def _leafy(rng: np.random.Generator, part: StaticPart) -> StaticPart:
    low, high = part.vertices.min(axis=0), part.vertices.max(axis=0)
    size = (high - low) * rng.uniform(0.8, 1.7)
    middle = (low + high) / 2 + np.array([0, 0, (size - (high - low))[2] / 2])
    vertices, faces = leaves(rng, middle, size / 2, float(rng.uniform(0.5, 2.5)))
    return replace(part, vertices=vertices, faces=faces, colors=np.broadcast_to(part.colors[:1], (len(faces), 3)))


def _borders(
    rng: np.random.Generator, road: Road, side: float, walk: float, start: float, stop: float
) -> list[StaticPart]:
    """Hedges, walls and fences along the pavement's outer side, with gaps."""
    parts: list[StaticPart] = []
    if road.setback < 1.5 or rng.random() < 0.3:
        return parts
    parking = 6.0 if (road.left if side > 0 else road.right) == "parking" else 0.0
    s, share = start, float(rng.uniform(0.15, 0.8))
    while s < stop:
        length = float(rng.uniform(3, 16))
        if rng.random() < share and not in_crossing(road, s + length / 2, length / 2):
            d = side * (walk + 0.5 + parking + float(rng.uniform(0, 0.5)))
            pose = _pose(rng, road, s + length / 2, d, along=True)
            parts += _BORDERS[rng.integers(len(_BORDERS))](rng, length, pose)
        s += length + float(rng.exponential(2.0))
    return parts


def _hedge(rng: np.random.Generator, length: float, pose: _Pose) -> list[StaticPart]:
    half = np.array([length / 2, rng.uniform(0.25, 0.7), rng.uniform(0.35, 1.3)])
    mesh = leaves(rng, np.array([0, 0, half[2]]), half, float(rng.uniform(1.5, 3.5)), round_=False)
    return [_green(rng, mesh, pose)]


def _wall(rng: np.random.Generator, length: float, pose: _Pose) -> list[StaticPart]:
    return [_box(rng, (length, float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.4, 2.4))), pose, kind="building")]


def _fence(rng: np.random.Generator, length: float, pose: _Pose) -> list[StaticPart]:
    height, step = float(rng.uniform(0.8, 2.0)), float(rng.uniform(0.12, 0.4))
    slats = [((x, 0.0, 0.0), (0.03, 0.02, height)) for x in np.arange(-length / 2, length / 2, step)]
    rails = [((0.0, 0.0, height * share), (length / 2, 0.03, 0.05)) for share in (0.2, 0.85)]
    return [_joined(rng, slats + rails, pose)]


def _rail(rng: np.random.Generator, length: float, pose: _Pose) -> list[StaticPart]:
    posts = [((x, 0.0, 0.0), (0.06, 0.06, 0.7)) for x in np.arange(-length / 2, length / 2, 2.0)]
    return [_joined(rng, [*posts, ((0.0, 0.0, 0.5), (length / 2, 0.05, 0.3))], pose)]


def _bush(rng: np.random.Generator, pose: _Pose) -> list[StaticPart]:
    half = np.array([rng.uniform(0.3, 1.6), rng.uniform(0.3, 1.2), rng.uniform(0.25, 1.1)])
    return [_green(rng, leaves(rng, np.array([0, 0, half[2] * 0.9]), half, float(rng.uniform(1, 3))), pose)]


def _thicket(rng: np.random.Generator, pose: _Pose) -> list[StaticPart]:
    """Bushes that have grown into each other: as large as cars, and no cars."""
    parts = []
    for _ in range(int(rng.integers(3, 8))):
        x, y = rng.normal(0, (1.6, 0.8))
        c, s = np.cos(pose[2]), np.sin(pose[2])
        parts += _bush(rng, (pose[0] + c * x - s * y, pose[1] + s * x + c * y, float(rng.uniform(0, 6.3))))
    return [replace(parts[0], radius=2.0), *parts[1:]]


def _tree(rng: np.random.Generator, pose: _Pose) -> list[StaticPart]:
    trunk, radius = float(rng.uniform(0.5, 4.0)), float(rng.uniform(0.08, 0.35))
    half = np.array([rng.uniform(1.0, 4.0), rng.uniform(1.0, 4.0), rng.uniform(1.2, 4.5)])
    crown = leaves(rng, np.array([0, 0, trunk + 0.8 * half[2]]), half, float(rng.uniform(0.4, 2.5)))
    bark = make_part(
        prism(7, radius, radius * 0.7, 0, trunk + half[2]),
        np.array([90.0, 72.0, 55.0]),
        pose,
        SceneryTexture.ROUGH,
        float(rng.uniform(0.15, 0.45)),
        radius=0.4,
        kind="vegetation",
    )
    return [bark, _green(rng, crown, pose)]


def _post(rng: np.random.Generator, pose: _Pose) -> list[StaticPart]:
    radius, height = float(rng.uniform(0.03, 0.2)), float(rng.choice((rng.uniform(0.6, 1.2), rng.uniform(2, 9))))
    mesh = prism(8, radius, radius * float(rng.uniform(0.6, 1.0)), 0, height)
    parts = [_plain(rng, mesh, pose, radius + 0.15)]
    if height > 2 and rng.random() < 0.5:
        half = np.array([0.03, rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.9)])
        at = np.array([radius + 0.04, 0, rng.uniform(1.6, height)])
        plate = (BOX_VERTICES * half + at).astype(np.float32), BOX_FACES
        parts.append(make_part(plate, np.full(3, 150.0), pose, 0, float(rng.uniform(0.4, 1.0))))
    return parts


def _cabinet(rng: np.random.Generator, pose: _Pose) -> list[StaticPart]:
    size = (float(rng.uniform(0.3, 1.6)), float(rng.uniform(0.25, 0.8)), float(rng.uniform(0.4, 1.7)))
    return [_box(rng, size, pose, reserved=True)]


def _tub(rng: np.random.Generator, pose: _Pose) -> list[StaticPart]:
    radius, height = float(rng.uniform(0.2, 0.7)), float(rng.uniform(0.3, 1.1))
    parts = [_plain(rng, prism(10, radius * float(rng.uniform(0.6, 1.0)), radius, 0, height), pose, radius + 0.1)]
    if rng.random() < 0.5:
        half = np.array([radius, radius, rng.uniform(0.15, 0.7)])
        parts.append(_green(rng, leaves(rng, np.array([0, 0, height + half[2] * 0.7]), half, 2.0), pose))
    return parts


def _bench(rng: np.random.Generator, pose: _Pose) -> list[StaticPart]:
    length = float(rng.uniform(0.6, 1.1))
    boxes = [((0.0, 0.0, 0.4), (length, 0.22, 0.06)), ((0.0, -0.24, 0.4), (length, 0.03, 0.45))]
    legs = [((x, 0.0, 0.0), (0.05, 0.2, 0.42)) for x in (-length * 0.8, length * 0.8)]
    return [replace(_joined(rng, [*boxes, *legs], pose), radius=length)]


def _shelter(rng: np.random.Generator, pose: _Pose) -> list[StaticPart]:
    length, depth = float(rng.uniform(1.2, 2.5)), float(rng.uniform(0.5, 0.9))
    boxes = [((0.0, 0.0, 2.3), (length, depth, 0.12)), ((0.0, depth, 0.1), (length, 0.03, 2.2))]
    posts = [((x, -depth * 0.9, 0.0), (0.05, 0.05, 2.3)) for x in (-length * 0.95, length * 0.95)]
    return [replace(_joined(rng, [*boxes, *posts], pose), radius=length)]


def _heap(rng: np.random.Generator, pose: _Pose) -> list[StaticPart]:
    radius, height = float(rng.uniform(0.4, 2.0)), float(rng.uniform(0.2, 1.2))
    return [_plain(rng, prism(9, radius, radius * 0.2, 0, height), pose, radius)]


_ON_PAVEMENT: tuple[_Maker, ...] = (_post, _post, _post, _cabinet, _cabinet, _tub, _bench, _shelter, _bush)
_ON_GRASS: tuple[_Maker, ...] = (
    _bush, _bush, _thicket, _thicket, _tree, _tree, _tree, _post, _cabinet, _heap, _tub,
)  # fmt: skip
_BORDERS = (_hedge, _hedge, _wall, _wall, _fence, _rail)


def _pose(rng: np.random.Generator, road: Road, s: float, d: float, along: bool = False) -> _Pose:
    (x, y), heading = road.to_world(s, d)
    turn = float(rng.normal(0, 0.02)) if along else float(rng.choice((0.0, np.pi / 2, rng.uniform(0, 6.3))))
    return float(x), float(y), float(heading) + turn


def _green(rng: np.random.Generator, mesh: tuple[NDArray, NDArray], pose: _Pose) -> StaticPart:
    color = np.array([rng.uniform(45, 110), rng.uniform(80, 135), rng.uniform(25, 60)])
    return make_part(mesh, color, pose, SceneryTexture.FOLIAGE, float(rng.uniform(0.2, 0.6)), kind="vegetation")


def _plain(rng: np.random.Generator, mesh: tuple[NDArray, NDArray], pose: _Pose, radius: float) -> StaticPart:
    color = np.full(3, rng.uniform(50, 190)) + rng.uniform(-25, 25, 3)
    return make_part(mesh, color, pose, 0, float(rng.uniform(0.08, 0.7)), radius=radius)


def _box(
    rng: np.random.Generator,
    size: tuple[float, float, float],
    pose: _Pose,
    kind: str = "other",
    reserved: bool = False,
) -> StaticPart:
    mesh = (BOX_VERTICES * np.array([size[0] / 2, size[1] / 2, size[2]], np.float32), BOX_FACES)
    radius = float(np.hypot(size[0], size[1])) / 2 if reserved else 0.0
    return replace(_plain(rng, mesh, pose, radius), kind=kind)


def _joined(rng: np.random.Generator, boxes: list[tuple[_Pose, _Pose]], pose: _Pose) -> StaticPart:
    """One part of boxes, each the middle of its floor and its half length, half width and height."""
    vertices = [BOX_VERTICES * np.array(size, np.float32) + np.array(at, np.float32) for at, size in boxes]
    faces = [BOX_FACES + np.int32(len(BOX_VERTICES) * k) for k in range(len(boxes))]
    return _plain(rng, (np.concatenate(vertices), np.concatenate(faces)), pose, 0.0)

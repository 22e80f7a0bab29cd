"""Small closed meshes put together from painted convex pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Pattern(IntEnum):
    """What a painted surface looks like; ``shapes.pattern_color`` computes it and states all periods."""

    PLAIN = 0
    BANDS = 1
    DIAGONAL = 2
    CHECKER = 3
    NOISE = 4
    RIBS = 5
    LATTICE = 6


@dataclass(frozen=True)
class Paint:
    """A surface: sRGB colour 0..255, LiDAR reflectivity 0..1 and pattern."""

    color: tuple[float, float, float]
    reflectivity: float = 0.3
    pattern: Pattern = Pattern.PLAIN


@dataclass(frozen=True)
class Shape:
    """The mesh of one object in its own frame: origin in the middle of its box, x forward, y left, z up.

    Attributes:
        vertices: (V, 3) float32 metres. faces: (F, 3) int32, counter-clockwise seen from outside.
        colors: (F, 3) uint8 sRGB. reflectivity: (F,) float32 0..1. texture: (F,) uint8 ``Pattern`` ids.
        size: (3,) float32 length, width, height of the tight bounding box in metres.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8]
    reflectivity: NDArray[np.float32]
    texture: NDArray[np.uint8]
    size: NDArray[np.float32]


class MeshBuilder:
    """Collects convex pieces, each closed, in metres (x forward, y left, z up)."""

    def __init__(self) -> None:
        self._vertices: list[NDArray[np.float64]] = []
        self._faces: list[NDArray[np.int64]] = []
        self._paints: list[tuple[Paint, int]] = []
        self._count = 0

    def loft(self, rings: Sequence[ArrayLike], paint: Paint) -> None:
        """Skin over two or more rings of N points (N, 3) each, with flat convex caps at both ends."""
        points = np.asarray(rings, np.float64)
        levels, n = points.shape[:2]
        k = np.arange(n)
        after = (k + 1) % n
        faces = []
        for level in range(levels - 1):
            a, b = level * n, (level + 1) * n
            faces += [np.stack([a + k, a + after, b + after], 1), np.stack([a + k, b + after, b + k], 1)]
        fan, zero, top = np.arange(1, n - 1), np.zeros(n - 2, int), (levels - 1) * n
        faces += [np.stack([zero, fan + 1, fan], 1), np.stack([zero + top, top + fan, top + fan + 1], 1)]
        vertices, triangles = points.reshape(-1, 3), np.concatenate(faces)
        corners = vertices[triangles] - vertices.mean(axis=0)
        if np.linalg.det(corners).sum() < 0:  # inside out
            triangles = triangles[:, ::-1]
        self._vertices.append(vertices)
        self._faces.append(triangles + self._count)
        self._paints.append((paint, len(triangles)))
        self._count += len(vertices)

    def box(
        self,
        center: ArrayLike,
        size: ArrayLike,
        paint: Paint,
        *,
        yaw: float = 0.0,
        pitch: float = 0.0,
        top: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """A box, turned about y by ``pitch`` (nose down) and then about z; ``top`` scales its upper face in x and y."""
        half = np.asarray(size, np.float64) / 2
        plan = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
        lower = np.column_stack([plan, -np.ones(4)]) * half
        upper = np.column_stack([plan * top, np.ones(4)]) * half
        c, s = np.cos(pitch), np.sin(pitch)
        cy, sy = np.cos(yaw), np.sin(yaw)
        about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        turn = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]]) @ about_y
        self.loft([lower @ turn.T + np.asarray(center), upper @ turn.T + np.asarray(center)], paint)

    def bar(
        self,
        start: ArrayLike,
        end: ArrayLike,
        radius: float,
        paint: Paint,
        *,
        end_radius: float | None = None,
        sides: int = 6,
    ) -> None:
        """A cylinder or cone frustum between two points."""
        p, q = np.asarray(start, np.float64), np.asarray(end, np.float64)
        axis = (q - p) / np.linalg.norm(q - p)
        aside = np.cross(axis, [0, 0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0, 0])
        aside /= np.linalg.norm(aside)
        angle = (np.arange(sides) + 0.5) * 2 * np.pi / sides
        circle = np.cos(angle)[:, None] * aside + np.sin(angle)[:, None] * np.cross(axis, aside)
        self.loft([p + radius * circle, q + (radius if end_radius is None else end_radius) * circle], paint)

    def wheel(self, center: ArrayLike, radius: float, width: float, tyre: Paint, hub: Paint, sides: int = 10) -> None:
        """A wheel turning about y, with a hub seen from both sides."""
        middle, axle = np.asarray(center, np.float64), np.array([0, width / 2, 0])
        self.bar(middle - axle, middle + axle, radius, tyre, sides=sides)
        self.bar(middle - 1.05 * axle, middle + 1.05 * axle, 0.55 * radius, hub, sides=6)

    def ellipsoid(self, center: ArrayLike, radii: ArrayLike, paint: Paint, *, sides: int = 8, rings: int = 4) -> None:
        """A rounded body with its poles up and down."""
        latitude = np.linspace(-1, 1, rings) * np.radians(68)
        angle = np.arange(sides) * 2 * np.pi / sides
        plan = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(sides)])
        levels = [np.cos(at) * plan + [0, 0, np.sin(at) / np.sin(np.radians(68))] for at in latitude]
        self.loft([np.asarray(center) + level * np.asarray(radii, np.float64) for level in levels], paint)

    def tapered(self, levels: Sequence[tuple[float, float, float, float, float]], paint: Paint, sides: int = 8) -> None:
        """Elliptic rings stacked upwards, each (x, y, z, half length, half width)."""
        angle = (np.arange(sides) + 0.5) * 2 * np.pi / sides
        plan = np.column_stack([np.cos(angle), np.sin(angle)])
        rings = [
            np.column_stack([plan * (length, width) + (x, y), np.full(sides, z)]) for x, y, z, length, width in levels
        ]
        self.loft(rings, paint)

    def extrude(self, profile: Sequence[tuple[float, float]], width: float, paint: Paint, y: float = 0.0) -> None:
        """A convex outline of (x, z) points, ``width`` metres wide about ``y``."""
        outline = np.asarray(profile, np.float64)
        sides = [np.insert(outline, 1, y + half, axis=1) for half in (-width / 2, width / 2)]
        self.loft(sides, paint)

    def append(self, other: MeshBuilder, offset: ArrayLike) -> None:
        """Take over all pieces of another mesh, moved by ``offset`` (3,) metres."""
        self._vertices += [vertices + np.asarray(offset, np.float64) for vertices in other._vertices]
        self._faces += [faces + self._count for faces in other._faces]
        self._paints += other._paints
        self._count += other._count

    def build(self, size: ArrayLike | None = None) -> Shape:
        """The finished mesh, centred on its bounding box and, if given, stretched to exactly ``size`` (l, w, h)."""
        vertices = np.concatenate(self._vertices)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        scale = np.ones(3) if size is None else np.asarray(size, np.float64) / (high - low)
        local = ((vertices - (low + high) / 2) * scale).astype(np.float32)
        counts = [count for _, count in self._paints]
        paints = [paint for paint, _ in self._paints]
        colors = np.round(np.clip([paint.color for paint in paints], 0, 255)).astype(np.uint8)
        return Shape(
            vertices=local,
            faces=np.concatenate(self._faces).astype(np.int32),
            colors=np.repeat(colors, counts, axis=0),
            reflectivity=np.repeat(np.array([p.reflectivity for p in paints], np.float32), counts),
            texture=np.repeat(np.array([p.pattern for p in paints], np.uint8), counts),
            size=local.max(axis=0) - local.min(axis=0),
        )

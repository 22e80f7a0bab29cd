"""One instant of the world as a single triangle mesh that rays can be shot at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.simulation.scenery import StaticPart
from semlt3d_ros.simulation.shapes import Shape

NOTHING = -1
_GROUND_REACH = 600.0
FAR = 400.0
"""Metres beyond which nothing but ground and sky is seen."""


Mesh = tuple[NDArray[np.float32], NDArray[np.int32]]
"""Vertices (V, 3) and faces (F, 3)."""


@dataclass
class FaceTable:
    """What F triangles look like, and where the solids they belong to stand.

    Attributes:
        albedo: (F, 3) float32 linear light. texture: (F,) uint8 pattern id. reflectivity: (F,) float32.
        solid: (F,) int32 index of the solid a face belongs to; the first solids are the actors; -1 is the ground.
        windows: (S, 6) float32 facade parameters per solid, see ``StaticPart``.
    """

    albedo: NDArray[np.float32]
    texture: NDArray[np.uint8]
    reflectivity: NDArray[np.float32]
    solid: NDArray[np.int32]
    windows: NDArray[np.float32]


@dataclass
class Hits:
    """Where N rays ended.

    Attributes:
        face: (N,) int32 triangle index, -1 for the sky.
        distance: (N,) float32 metres along the ray.
        normal: (N, 3) float32 unit normal facing the ray's origin.
    """

    face: NDArray[np.int32]
    distance: NDArray[np.float32]
    normal: NDArray[np.float32]


def linear_from_srgb(colors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Linear-light colours in [0, 1] of 8 bit ones, by a plain gamma of 2.2."""
    return ((np.asarray(colors, np.float32) / 255.0) ** 2.2).astype(np.float32)


class World:
    """Geometry of a drive whose actors can be posed anew for every frame."""

    def __init__(self, shapes: Sequence[Shape], scenery: Sequence[StaticPart], terrain: Mesh | None = None) -> None:
        """``terrain`` is the ground in the world frame, in the middle of a plane below it; None for the plane alone.

        With a terrain there is much that never moves, and is prepared for casting only once.
        """
        solids: list[Shape | StaticPart] = [*shapes, *scenery]
        counts = np.array([len(s.faces) for s in solids], np.int64)
        self._vertices = [np.asarray(s.vertices, np.float32) for s in solids]
        starts = np.cumsum([0] + [len(v) for v in self._vertices])
        faces = [np.asarray(s.faces, np.int32) + np.int32(start) for s, start in zip(solids, starts, strict=False)]
        plane = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
        self._terrain, relief = (np.zeros((0, 3), np.float32), plane[:0]) if terrain is None else terrain
        self._level = 0.0 if terrain is None else float(self._terrain[:, 2].min()) - 0.5
        ground = np.concatenate([plane, relief + np.int32(4)]).astype(np.int32) + np.int32(starts[-1])
        self._faces = np.concatenate([*faces, ground]).astype(np.int32)
        self._owner = np.repeat(np.arange(len(solids)), [len(v) for v in self._vertices])
        self._local = np.concatenate([*self._vertices, np.zeros((0, 3), np.float32)])
        self._static: _Caster | None = None
        self._moving = (int(starts[len(shapes)]), int(counts[: len(shapes)].sum())) if terrain is not None else None
        """Vertices and faces of the actors, which come first, where the rest is prepared once."""
        self._static_pose = np.array([[p.x, p.y, p.z, p.yaw] for p in scenery], np.float32).reshape(-1, 4)
        texture = [np.asarray(s.texture, np.uint8) for s in shapes]
        texture += [np.full(len(p.faces), p.texture, np.uint8) for p in scenery]
        reflectivity = [np.asarray(s.reflectivity, np.float32) for s in shapes]
        reflectivity += [np.full(len(p.faces), p.reflectivity, np.float32) for p in scenery]
        below = np.zeros(len(ground))
        self.table = FaceTable(
            albedo=linear_from_srgb(
                np.concatenate([*(s.colors for s in solids), np.zeros((len(ground), 3), np.uint8)])
            ),
            texture=np.concatenate([*texture, below]).astype(np.uint8),
            reflectivity=np.concatenate([*reflectivity, below]).astype(np.float32),
            solid=np.concatenate([np.repeat(np.arange(len(solids)), counts), below - 1]).astype(np.int32),
            windows=np.concatenate(
                [np.zeros((len(shapes), 6)), np.array([p.windows for p in scenery]).reshape(-1, 6)]
            ).astype(np.float32),
        )

    def posed(self, actor_poses: NDArray[np.float64], around: NDArray[np.float64]) -> Scene:
        """The scene with actors at poses (A, 4): x, y, z of the box centre, yaw; the ground centred ``around`` (2,)."""
        poses = np.concatenate([np.asarray(actor_poses, np.float32).reshape(-1, 4), self._static_pose])
        pose = poses[self._owner]
        c, s = np.cos(pose[:, 3]), np.sin(pose[:, 3])
        x, y, z = self._local[:, 0], self._local[:, 1], self._local[:, 2]
        moved = np.stack([c * x - s * y + pose[:, 0], s * x + c * y + pose[:, 1], z + pose[:, 2]], axis=-1)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * _GROUND_REACH + around
        plane = np.concatenate([corners, np.full((4, 1), self._level)], axis=1)
        vertices = np.concatenate([moved, plane, self._terrain]).astype(np.float32)
        if self._moving is None:
            return Scene([_Caster(vertices, self._faces)], self.table, poses)
        corner, face = self._moving
        if self._static is None:
            self._static = _Caster(vertices[corner:], self._faces[face:] - np.int32(corner))
        actors = [_Caster(vertices[:corner], self._faces[:face])] if face else []
        return Scene([*actors, self._static], self.table, poses)


class _Caster:
    """Triangles, ready for ray casting with Embree.

    Raises:
        ConfigurationError: the ``embreex`` package is missing.
    """

    def __init__(self, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise ConfigurationError(
                "the simulator casts rays with 'embreex', which is not installed: pip install 'semlt3d_ros[simulation]'"
            ) from error
        triangles = vertices[faces]
        normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        self.normals = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        self.embree = EmbreeScene()
        self._mesh = TriangleMesh(self.embree, vertices, faces)

    def first_hits(
        self, origins: NDArray[np.float32], directions: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """Face, -1 for none, distance and normal of what N rays hit first."""
        result = self.embree.run(origins, directions, query="INTERSECT", output=True)
        face = result["primID"]
        return face, result["tfar"], self.normals[face]


class Scene:
    """A posed world: triangles in one or more parts, in the order of ``table``; ``poses`` (S, 4) are x, y, z, yaw of
    every solid."""

    def __init__(self, parts: Sequence[_Caster], table: FaceTable, poses: NDArray[np.float32]) -> None:
        self.table, self.poses, self._parts = table, poses, parts

    def cast(self, origins: NDArray[np.float32], directions: NDArray[np.float32]) -> Hits:
        """First hits of rays with origins (N, 3) and unit directions (N, 3), world frame."""
        face, distance, normal = self._parts[0].first_hits(origins, directions)
        offset = len(self._parts[0].normals)
        for part in self._parts[1:]:
            other, away, facing = part.first_hits(origins, directions)
            nearer = (other >= 0) & ((face < 0) | (away < distance))
            face = np.where(nearer, other + np.int32(offset), face)
            distance = np.where(nearer, away, distance)
            normal = np.where(nearer[:, None], facing, normal)
            offset += len(part.normals)
        away = np.einsum("ij,ij->i", normal, directions) > 0
        normal[away] *= -1
        return Hits(face, distance, normal)

    def occluded(self, origins: NDArray[np.float32], directions: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which rays (N,) hit anything at all."""
        blocked: NDArray[np.bool_] = np.zeros(len(origins), bool)
        for part in self._parts:
            blocked |= part.embree.run(origins, directions, query="OCCLUDED") == 0
        return blocked

    def solid_of(self, face: NDArray[np.int32]) -> NDArray[np.int32]:
        """Solid (N,) of faces (N,); -1 for ground and sky."""
        return np.where(face >= 0, self.table.solid[face], NOTHING)

    def local(self, solid: NDArray[np.int32], points: NDArray[np.float32]) -> NDArray[np.float32]:
        """World points (N, 3) in the frames of the solids (N,) they lie on."""
        pose = self.poses[solid]
        c, s = np.cos(pose[:, 3]), np.sin(pose[:, 3])
        x, y = points[:, 0] - pose[:, 0], points[:, 1] - pose[:, 1]
        return np.stack([c * x + s * y, c * y - s * x, points[:, 2] - pose[:, 2]], axis=-1)

"""Geometry in torch: projection, viewing rays, and the box code relative to the viewing ray.

Box codes are (..., 10): radial, tangential and vertical offset of the centre from a reference point, log length, log
width, log height, sine and cosine of the heading relative to the ray, radial and tangential velocity. The *ray* of a
reference point is the direction from the ego origin to it, in the ground plane: what a camera sees of an object depends
on its heading relative to the ray, not on its heading in the ego frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_DEPTH_M = 0.5
RANGE_ERROR_GROWTH = 0.1
"""Radial errors are measured in units of (1 + 0.1 r): a pixel covers more range the farther it looks."""


def range_scale(points: Tensor) -> Tensor:
    """(...) unit of radial error of points (..., 3)."""
    return 1.0 + RANGE_ERROR_GROWTH * points[..., :2].norm(dim=-1)


def ray_axes(points: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine (...) of the azimuth of points (..., 3)."""
    x, y = points[..., 0], points[..., 1]
    radius = torch.sqrt(x * x + y * y)
    # The origin itself has no direction of view; straight ahead is as good as any.
    away = radius > 1e-4
    radius = torch.where(away, radius, 1.0)
    return torch.where(away, x / radius, 1.0), torch.where(away, y / radius, 0.0)


def from_ray_frame(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn (..., 2) radial and tangential components into x and y."""
    radial, tangential = vectors[..., 0], vectors[..., 1]
    return torch.stack([cos * radial - sin * tangential, sin * radial + cos * tangential], dim=-1)


def to_ray_frame(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn (..., 2) x and y components into radial and tangential."""
    return from_ray_frame(vectors, cos, -sin)


def encode_boxes(boxes: Tensor, references: Tensor) -> Tensor:
    """Box codes (..., 10) of boxes (..., 9: x y z l w h yaw vx vy) relative to references (..., 3)."""
    cos, sin = ray_axes(references)
    offset = to_ray_frame(boxes[..., :2] - references[..., :2], cos, sin)
    offset = torch.stack([offset[..., 0] / range_scale(references), offset[..., 1]], dim=-1)
    yaw = boxes[..., 6] - torch.atan2(sin, cos)
    return torch.cat(
        [
            offset,
            boxes[..., 2:3] - references[..., 2:3],
            boxes[..., 3:6].clamp_min(0.05).log(),
            torch.stack([yaw.sin(), yaw.cos()], dim=-1),
            to_ray_frame(boxes[..., 7:9], cos, sin),
        ],
        dim=-1,
    )


def decode_boxes(codes: Tensor, references: Tensor) -> Tensor:
    """Boxes (..., 9) of box codes (..., 10) relative to references (..., 3)."""
    cos, sin = ray_axes(references)
    scaled = torch.stack([codes[..., 0] * range_scale(references), codes[..., 1]], dim=-1)
    yaw = torch.atan2(codes[..., 6], codes[..., 7]) + torch.atan2(sin, cos)
    return torch.cat(
        [
            references[..., :2] + from_ray_frame(scaled, cos, sin),
            references[..., 2:3] + codes[..., 2:3],
            codes[..., 3:6].clamp(-3.0, 4.0).exp(),
            yaw[..., None],
            from_ray_frame(codes[..., 8:10], cos, sin),
        ],
        dim=-1,
    )


def box_corners(boxes: Tensor) -> Tensor:
    """(..., 8, 3) corners of boxes (..., 9: x y z l w h yaw ...)."""
    signs = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]).to(boxes)
    local = signs * boxes[..., None, 3:6]
    cos, sin = boxes[..., 6, None].cos(), boxes[..., 6, None].sin()
    plane = [cos * local[..., 0] - sin * local[..., 1], sin * local[..., 0] + cos * local[..., 1]]
    return torch.stack([*plane, local[..., 2]], -1) + boxes[..., None, :3]


def inverse_rigid(matrix: Tensor) -> Tensor:
    """Inverse of rigid transforms (..., 4, 4)."""
    rotation = matrix[..., :3, :3].transpose(-1, -2)
    top = torch.cat([rotation, -rotation @ matrix[..., :3, 3:]], dim=-1)
    return torch.cat([top, matrix[..., 3:, :]], dim=-2)


def moved(points: Tensor, T: Tensor) -> Tensor:
    """Points (B, N, 3) taken along by (B, 4, 4)."""
    return points @ T[:, :3, :3].transpose(1, 2) + T[:, None, :3, 3]


def project(points: Tensor, intrinsics: Tensor, T_ego_camera: Tensor) -> tuple[Tensor, Tensor]:
    """Project ego points (B, N, 3) into V views.

    Args:
        points: (B, N, 3) metres.
        intrinsics: (B, V, 3, 3).
        T_ego_camera: (B, V, 4, 4).

    Returns:
        Pixels (B, V, N, 2) and depth along the optical axis (B, V, N) in metres; pixels of points nearer than
        ``MIN_DEPTH_M`` or behind the camera mean nothing.
    """
    T_camera_ego = inverse_rigid(T_ego_camera)
    camera = points[:, None] @ T_camera_ego[..., :3, :3].transpose(-1, -2) + T_camera_ego[..., None, :3, 3]
    depth = camera[..., 2]
    plane = camera[..., :2] / depth.clamp_min(MIN_DEPTH_M)[..., None]
    focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], dim=-1)
    skewed = plane[..., 0] + plane[..., 1] * (intrinsics[..., 0, 1] / focal[..., 0])[..., None]
    plane = torch.stack([skewed, plane[..., 1]], dim=-1)
    return plane * focal[..., None, :] + intrinsics[..., None, :2, 2], depth


def unproject(pixels: Tensor, depth: Tensor, intrinsics: Tensor, T_ego_camera: Tensor) -> Tensor:
    """Ego points (..., 3) of pixels (..., 2) at depths (...) along the optical axis; one matrix per pixel."""
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
    rays = (torch.linalg.inv(intrinsics) @ homogeneous[..., None])[..., 0]
    camera = rays * depth[..., None]
    return (T_ego_camera[..., :3, :3] @ camera[..., None])[..., 0] + T_ego_camera[..., :3, 3]


def cell_centers(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Pixel coordinates (height, width, 2) of the centres of feature cells, as (u, v)."""
    v, u = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    return (torch.stack([u, v], dim=-1) + 0.5) * stride - 0.5


def spiral(count: int, radius: float) -> Tensor:
    """(count, 3) points on a sunflower spiral, equal area each, over a disc of ``radius`` metres, 0.8 m high."""
    index = torch.arange(count, dtype=torch.float32)
    angle = index * (math.pi * (3.0 - math.sqrt(5.0)))
    distance = radius * torch.sqrt((index + 0.5) / max(count, 1))
    return torch.stack([distance * angle.cos(), distance * angle.sin(), torch.full_like(index, 0.8)], dim=-1)

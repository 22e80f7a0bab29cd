"""Whether two machines have the same published model: checksums of its weights, and of its outputs for fixed inputs."""

from __future__ import annotations

import hashlib
import math
import zlib

import torch
from torch import Tensor

from semlt3d_ros.student.published.model import Motion, PublishedModel, Views
from semlt3d_ros.teacher.teacher import Teacher

_CAMERAS, _WIDTH, _HEIGHT = 2, 256, 128
_FRAMES = 2
_POINTS = 2000
_STEP_M, _STEP_S = 2.0, 0.5


def weights_checksum(model: PublishedModel | Teacher) -> str:
    """First 16 hex digits of the SHA-256 of all weights in the order of their names; the same on every machine."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        if not key.endswith("num_batches_tracked"):
            digest.update(key.encode())
            digest.update(tensor.cpu().float().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()[:16]


@torch.inference_mode()
def output_checksum(model: PublishedModel | Teacher) -> dict[str, float]:
    """Mean logits and box numbers for fixed noise; equal between machines to about five digits.

    Of models for images, two frames of two images of 256 x 128 pixels, whatever size the model is for: this is about
    the computation. Of LiDAR teachers, a cloud.
    """
    if isinstance(model, Teacher):
        return _of_teacher(model)
    memory, figures = model.empty_memory(), {}
    for index in range(_FRAMES):
        continues = float(index > 0)
        T_now_last = torch.eye(4)[None].clone()
        T_now_last[:, 0, 3] = -_STEP_M * continues
        motion = Motion(T_now_last, torch.tensor([_STEP_S * continues]), torch.tensor([continues]))
        output = model(fixed_views(index), memory, motion)
        memory = output.memory
        figures[f"logits of frame {index}"] = float(output.logits.double().mean())
        figures[f"boxes of frame {index}"] = float(output.boxes.double().mean())
    return figures


def _of_teacher(model: Teacher) -> dict[str, float]:
    low, high = (torch.tensor(ends) for ends in (model.config.point_range[:3], model.config.point_range[3:]))
    noise = torch.rand((_POINTS, 5), generator=torch.Generator().manual_seed(zlib.crc32(b"points")))
    noise[:, :3] = low + noise[:, :3] * (high - low)
    output = model([noise])
    figures = {"trunk": float(output.bev.double().mean())}
    for number, maps in enumerate(output.tasks):
        figures[f"heat of head {number}"] = float(maps["heat"].double().mean())
        boxes = [values.double().mean() for name, values in sorted(maps.items()) if name != "heat"]
        figures[f"boxes of head {number}"] = float(torch.stack(boxes).mean())
    return figures


def fixed_views(index: int) -> Views:
    """The noise that cameras ahead and behind see in frame ``index``."""
    shape = (1, _CAMERAS, 3, _HEIGHT, _WIDTH)
    generator = torch.Generator().manual_seed(zlib.crc32(f"images/{index}".encode()))
    images = (torch.rand(shape, generator=generator) * 256).to(torch.uint8)
    intrinsics = torch.tensor([[200.0, 0, _WIDTH / 2], [0, 210.0, _HEIGHT / 2], [0, 0, 1]], dtype=torch.float64)
    poses = torch.stack([_looking(math.tau * camera / _CAMERAS + 1.0) for camera in range(_CAMERAS)])
    return Views(images, intrinsics.expand(1, _CAMERAS, 3, 3), poses[None], torch.ones(1, _CAMERAS, dtype=torch.bool))


def _looking(azimuth: float) -> Tensor:
    """(4, 4) pose of a level camera 1 m from the origin."""
    pose = torch.eye(4, dtype=torch.float64)
    ahead = torch.tensor([math.cos(azimuth), math.sin(azimuth), 0.0], dtype=torch.float64)
    pose[:3, 0] = torch.tensor([math.sin(azimuth), -math.cos(azimuth), 0.0], dtype=torch.float64)
    pose[:3, 1] = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    pose[:3, 2], pose[:3, 3] = ahead, ahead
    return pose

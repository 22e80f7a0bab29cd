"""The losses of the shipped student on a fixed batch, as they were when it was trained."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.checkpoints.shipped import default_checkpoint
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.frame import CameraView, Frame, Labels, PointCloud
from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.denoising import Denoiser
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.projection import SemanticProjection
from semlt3d_ros.losses.targets import SeenRegions, collate_targets
from semlt3d_ros.student.batch import collate

SIZE = (224, 96)
EXPECTED = {
    "classes": 3.70531,
    "alignment": 1.85224,
    "boxes": 7.11436,
    "scale": 0.32397,
    "balance": 0.0230094,
    "distillation": 0.709657,
    "denoising_classes": 2.70381,
    "denoising_alignment": 1.39321,
    "denoising_boxes": 7.3001,
    "denoising_scale": 0.425647,
    "heat": 4.133,
    "centers": 1.36012,
    "depth": 3.96812,
}


def a_frame(seed: int, objects: int) -> Frame:
    random = np.random.default_rng(seed)
    camera = CameraModel(*SIZE, np.array([[110.0, 0, 111.5], [0, 110.0, 40.0], [0, 0, 1]]))
    views = []
    for k in range(6):
        azimuth = k * math.pi / 3
        pose = np.eye(4)
        pose[:3, :3] = np.array([[math.sin(azimuth), 0, math.cos(azimuth)], [-math.cos(azimuth), 0, math.sin(azimuth)],
                                 [0, -1, 0]])  # fmt: skip
        pose[:3, 3] = [math.cos(azimuth), math.sin(azimuth), 1.6]
        coarse = random.integers(0, 255, (SIZE[1] // 8, SIZE[0] // 8, 3))
        views.append(CameraView(f"C{k}", 5, np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8), camera, pose))
    angle, distance = random.uniform(-np.pi, np.pi, objects), random.uniform(4, 38, objects)
    centers = np.stack([distance * np.cos(angle), distance * np.sin(angle), np.full(objects, 0.8)], axis=-1)
    sizes, yaw = random.uniform(0.5, 5, (objects, 3)), random.uniform(-3, 3, objects)
    boxes = Boxes3D(centers, sizes, yaw, random.normal(0, 2, (objects, 2)))
    points = PointCloud(random.uniform(-30, 30, (2000, 3)).astype(np.float32) * np.float32([1, 1, 0.1]))
    return Frame(5, tuple(views), T_world_ego=np.eye(4), points=points, labels=Labels(boxes, np.arange(objects) % 18))


def losses_of_shipped() -> dict[str, float]:
    torch.manual_seed(0)
    checkpoint = read_checkpoint(default_checkpoint())
    student = checkpoint.student().train()
    frames = [a_frame(1, 20), a_frame(2, 0), a_frame(3, 9)]
    random = np.random.default_rng(5)
    seen = []
    for frame in frames:
        assert frame.labels is not None
        count = len(frame.labels.boxes)
        rows = random.normal(size=(count, student.config.language_width)).astype(np.float32)
        rows[::4] = np.nan
        seen.append(SeenRegions(rows, random.integers(0, 6, count)))
    targets, batch = collate_targets(frames, student.config.range_m, 0, seen), collate(frames, *SIZE)
    projection, denoiser = SemanticProjection(student.config), Denoiser(18, student.config.width)
    anchors = F.normalize(student.decoder.language_anchors, dim=-1)
    weights = LossWeights(alignment=1.0, distillation=0.5)
    criterion = student_criterion(student.config, weights, projection=projection, anchors=anchors)
    return {name: float(v.detach()) for name, v in criterion(student(batch, denoiser(targets)), targets, batch).items()}


def test_losses_are_what_they_were() -> None:
    losses = losses_of_shipped()
    assert set(losses) == set(EXPECTED)
    for name, value in losses.items():
        assert value == pytest.approx(EXPECTED[name], rel=1e-3), name

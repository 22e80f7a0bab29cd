"""The model configs of the published sizes: what they say, and that such students run forward and backward."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.frame import CameraView, Frame, Labels
from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.projection import SemanticProjection
from semlt3d_ros.losses.targets import SeenRegions, collate_targets
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student

FOLDER = Path(__file__).resolve().parents[2] / "config" / "models"
NAMES = ("semlt3d_far3d_v2_99", "semlt3d_r101", "semlt3d_r50", "streampetr_r50")


def published(name: str) -> StudentConfig:
    return StudentConfig.from_dict(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))


def test_every_file_is_listed_here() -> None:
    assert tuple(sorted(path.stem for path in FOLDER.iterdir())) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_those_of_the_papers(name) -> None:
    config = published(name)
    far = "far3d" in name
    assert (config.layers, config.width, config.heads) == (6, 256, 8)
    assert (config.anchors, config.propagated) == ((644, 256) if far else (300, 128))
    assert config.memory_frames * config.memory_queries == (1024 if far else 512)
    assert config.cross_attention == ("sampled" if far else "global")
    assert len(config.class_names) == (26 if far else 18)
    if config.block == "plain":
        assert name == "streampetr_r50" and config.feed_forward == 2048
    else:
        assert (config.experts, config.experts_used, config.expert_width, config.shared_width) == (4, 2, 512, 1024)
        assert config.shared_width + config.experts_used * config.expert_width == 2048
    sizes = {"far3d": (960, 640), "r101": (1408, 512), "r50": (704, 256)}
    assert (config.image_width, config.image_height) == next(size for key, size in sizes.items() if key in name)


def surround(width: int, height: int, classes: int, cameras: int, stamp: int) -> Frame:
    """A frame of outward-looking cameras with an object in front of each."""
    rng = np.random.default_rng(stamp)
    camera = CameraModel(
        width, height, np.array([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])
    )
    views, centers = [], []
    for number in range(cameras):
        azimuth = 2 * np.pi * number / cameras
        forward, right = (
            np.array([np.cos(azimuth), np.sin(azimuth), 0]),
            np.array([np.sin(azimuth), -np.cos(azimuth), 0]),
        )
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, [0, 0, -1], forward], axis=1)
        pose[:3, 3] = [0.0, 0.0, 1.5]
        views.append(CameraView(f"C{number}", stamp, rng.integers(0, 255, (height, width, 3), np.uint8), camera, pose))
        centers.append(12.0 * forward + [0.0, 0.0, 0.8])
    boxes = Boxes3D(np.array(centers), np.full((cameras, 3), 2.0), np.zeros(cameras), np.zeros((cameras, 2)))
    labels = Labels(boxes, rng.integers(0, classes, cameras))
    return Frame(stamp, tuple(views), T_world_ego=np.eye(4), labels=labels)


@pytest.mark.parametrize("name", NAMES)
def test_runs_forward_and_backward_with_random_weights(name) -> None:
    """Two frames in a row at the published structure, on smaller images of fewer cameras; every parameter learns."""
    config = replace(published(name), image_width=96, image_height=64)
    classes, cameras = len(config.class_names), 2
    student = Student(config).train()
    projection = None
    if config.language_width:
        student.set_anchors(torch.nn.functional.normalize(torch.randn(classes, config.language_width), dim=-1))
        projection = SemanticProjection(config)
    frames = [surround(96, 64, classes, cameras, stamp) for stamp in (1, 500_000_001)]
    with torch.no_grad():
        first = student(collate(frames[:1], 96, 64))
    batch = collate(frames[1:], 96, 64)
    output = student(batch, memory=first.memory)
    queries = config.propagated + config.anchors + config.proposals
    assert output.layers[-1].logits.shape == (1, queries, classes) and len(output.layers) == 6
    assert output.resets is not None and output.resets.tolist() == [0]

    rows = np.random.default_rng(0).normal(size=(cameras, max(config.language_width, 1))).astype(np.float32)
    regions = SeenRegions(rows, np.zeros(cameras, np.int64))
    targets = collate_targets(frames[1:], config.range_m, 0, [regions])
    weights = LossWeights(alignment=1.0, distillation=0.5)
    criterion = student_criterion(config, weights, None, projection, student.decoder.language_anchors)
    losses = criterion(output, targets, batch)
    assert {"alignment", "distillation", "balance"} <= set(losses) or config.block == "plain"
    torch.stack(list(losses.values())).sum().backward()
    # Depth is learnt from LiDAR, which these frames lack; with global attention no one looks at stride 32.
    unused = ["image_head.depth"]
    unused += ["features.pyramid.layer_blocks.1"] if config.cross_attention == "global" else []
    for parameter_name, parameter in student.named_parameters():
        if parameter_name.startswith(tuple(unused)):
            continue
        assert parameter.grad is not None, f"{parameter_name} takes no part"
        assert torch.isfinite(parameter.grad).all(), parameter_name

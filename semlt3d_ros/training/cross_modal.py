"""What a teacher's training needs to learn from images, and from a part of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semlt3d_ros.checkpoints.checkpoint import load_student
from semlt3d_ros.checkpoints.shipped import SHIPPED, default_checkpoint
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame, PointCloud
from semlt3d_ros.core.point_classes import UNKNOWN
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.source import Part
from semlt3d_ros.distillation.xmodel import FusionEncoder, PixelFeatures, timm_pixels
from semlt3d_ros.distillation.xmodel_settings import XModel
from semlt3d_ros.losses.term import Total
from semlt3d_ros.student.batch import Batch, collate
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.point_head import POINT_WIDTH, at_points
from semlt3d_ros.teacher.teacher import TeacherOutput

_TURN_S = 0.1
"""Points that are older are left out: what moves has moved on since."""


def fusion_encoder(settings: XModel, teacher: TeacherConfig) -> FusionEncoder:
    """The encoder that a recipe asks for.

    Raises:
        ConfigurationError: its image encoder cannot be used.
    """
    width = POINT_WIDTH if settings.features == "points" else sum(teacher.up_widths)
    return FusionEncoder(width, _pixel_features(settings), settings)


def _pixel_features(settings: XModel) -> PixelFeatures:
    path = default_checkpoint() if settings.images == SHIPPED else Path(settings.images)
    if not path.is_file():
        return timm_pixels(settings)
    student, _ = load_student(path)
    config = student.config
    backbone, strides = student.features.backbone, settings.strides
    return PixelFeatures(backbone, strides, settings.learn_images, config.image_mean, config.image_deviation)


def views_of(frames: Sequence[Frame]) -> Batch:
    """The images of frames.

    Raises:
        ConfigurationError: there are none, or not of one size.
    """
    first = next((view.image for frame in frames for view in frame.views), None)
    if first is None:
        raise ConfigurationError("xmodel needs frames with images; those of this step have none")
    return collate(frames, first.shape[1], first.shape[0])


def contrast(
    encoder: FusionEncoder,
    output: TeacherOutput,
    T_model_ego: Sequence[Matrix],
    config: TeacherConfig,
    views: Batch,
    total: Total,
) -> Tensor:
    """() the weighted contrast of the points of the present turn; images know nothing of earlier ones.

    Args:
        encoder: of points and pixels.
        output: of the teacher.
        T_model_ego: of each cloud, from the ego frame, as the images know it, to the teacher's.
        config: of the teacher, with the window that it looked at.
        views: the images.
        total: sums over the processes that share a step.
    """
    pillars, device = output.pillars, output.bev.device
    now = torch.nonzero(pillars.points[:, 4] < _TURN_S)[:, 0]
    cloud = pillars.cloud[now]
    T = torch.from_numpy(np.linalg.inv(np.stack(T_model_ego)).astype(np.float32)).to(device)[cloud]
    points = (T[:, :3, :3] @ pillars.points[now, :3, None])[..., 0] + T[:, :3, 3]
    if encoder.settings.features == "points":
        assert output.point_features is not None
        features = output.point_features[now]
    else:
        features = at_points(output.bev, pillars, config.grid)[now]
    return encoder(features, points, cloud, views.to(device), total)


def labelled_part(parts: Sequence[Part], share: float, seed: int) -> frozenset[int] | None:
    """Numbers of the frames whose labels are used, at least one; None for all. A larger share holds a smaller one."""
    if share >= 1:
        return None
    frames = [index for part in parts for block in part.blocks for clip in block for index in clip]
    order = np.random.default_rng([seed, 2]).permutation(frames)
    return frozenset(order[: max(1, round(share * len(frames)))].tolist())


def divided(parts: Sequence[Part], labelled: frozenset[int]) -> tuple[Part, Part]:
    """Clips of single frames with labels, and those without."""
    blocks = [block for part in parts for block in part.blocks]

    def those(has_labels: bool) -> Part:
        chosen = [[clip for clip in block if (clip.start in labelled) == has_labels] for block in blocks]
        return Part([block for block in chosen if block])

    return those(True), those(False)


def with_own_labels(frame: Frame, cloud: PointCloud, labelled: bool) -> tuple[Frame, PointCloud]:
    """A frame and its accumulated cloud with the labels of this frame alone, or with none.

    Args:
        frame: with labels and points.
        cloud: its points, then those of earlier frames.
        labelled: whether its labels are used.
    """
    if not labelled:
        return replace(frame, labels=None), replace(cloud, classes=None)
    if cloud.classes is None:
        return frame, cloud
    classes = cloud.classes.copy()
    classes[0 if frame.points is None else len(frame.points) :] = UNKNOWN
    return frame, replace(cloud, classes=classes)

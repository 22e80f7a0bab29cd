"""Augmentation of clouds and of the boxes in them."""

from __future__ import annotations

import math

import numpy as np

from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.training.teacher_recipe import CloudAugmentation


def random_change(settings: CloudAugmentation, rng: np.random.Generator) -> Matrix:
    """(4, 4) a random turn about the vertical, mirror, growth, slope and shift, for points and boxes alike."""
    angle = rng.uniform(-math.pi, math.pi) if settings.rotate else 0.0
    growth = math.exp(rng.uniform(math.log(settings.scale[0]), math.log(settings.scale[1])))
    mirror = -1.0 if rng.random() < settings.mirror else 1.0
    cos, sin = math.cos(angle) * growth, math.sin(angle) * growth
    change = np.eye(4)
    change[:2, :2] = np.array([[cos, -sin], [sin, cos]]) @ np.diag([1.0, mirror])
    # A slope lifts what stands on it; at a degree or so nobody can tell this from a tilt.
    change[2, :3] = *np.tan(np.radians(rng.normal(0, settings.tilt_deg, 2))), growth
    change[:3, 3] = rng.normal(0, 1, 3) * (settings.shift_m, settings.shift_m, settings.lift_m)
    return change


def with_noise(cloud: PointCloud, settings: CloudAugmentation, rng: np.random.Generator) -> PointCloud:
    """A cloud of which points are missing, and perhaps all intensities, and whose points are a little elsewhere."""
    kept = cloud[rng.random(len(cloud)) >= rng.uniform(0, settings.drop_points)]
    if settings.jitter_m:
        kept.xyz = kept.xyz + rng.normal(0, settings.jitter_m, kept.xyz.shape).astype(np.float32)
    if rng.random() < settings.drop_intensity:
        kept.intensity = None
    return kept

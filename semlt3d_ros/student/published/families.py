"""The published families that this package computes, by the name that checkpoints carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from semlt3d_ros.student.published.config import Far3DConfig, PublishedConfig, StreamPETRConfig
from semlt3d_ros.student.published.far3d import Far3D
from semlt3d_ros.student.published.model import PublishedModel
from semlt3d_ros.student.published.streampetr import StreamPETR

CONFIGS: dict[str, type[PublishedConfig]] = {"streampetr": StreamPETRConfig, "far3d": Far3DConfig}
MODELS: dict[str, Callable[[Any], PublishedModel]] = {"streampetr": StreamPETR, "far3d": Far3D}

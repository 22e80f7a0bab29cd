"""The published families that this package computes, by the name that checkpoints carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from semlt3d_ros.student.published.config import PublishedConfig, StreamPETRConfig
from semlt3d_ros.student.published.model import PublishedModel
from semlt3d_ros.student.published.streampetr import StreamPETR

CONFIGS: dict[str, type[PublishedConfig]] = {"streampetr": StreamPETRConfig}
MODELS: dict[str, Callable[[Any], PublishedModel]] = {"streampetr": StreamPETR}

"""What is evaluated, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASSES


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of one evaluation; the defaults are those of LT3D (Peri et al., CoRL 2022, ``detection_lt3d.json``).

    Attributes:
        distances: centre distances in metres below which a prediction matches; a class's AP is the mean over them.
        tp_distance: the matching distance at which true-positive errors are measured.
        range_limit_m: truth and predictions at this distance from the ego origin, or farther, are left out; ``None``
            leaves each class its own range of the taxonomy. The smaller of the two counts.
        min_recall: recalls up to this one do not count (nuScenes' own configuration has 0.1, LT3D 0).
        min_precision: precision below this one counts as zero, the rest is rescaled to [0, 1].
        min_visible_pixels: truth known to cover fewer pixels over all images is left out.
        min_lidar_points: truth known to hold fewer LiDAR points is left out, as in nuScenes and LT3D.
        max_boxes: at most this many predictions of a frame count, the most confident ones.
        predictions: ``"all"`` takes every (box, class) pair of a frame as a prediction with the confidence of that
            class, as query-based detectors decode; ``"best"`` takes each box once, with its most confident class.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    distances: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    tp_distance: float = 2.0
    range_limit_m: float | None = None
    min_recall: float = 0.0
    min_precision: float = 0.0
    min_visible_pixels: int = 0
    min_lidar_points: int = 1
    max_boxes: int = 500
    predictions: Literal["all", "best"] = "all"

    def __post_init__(self) -> None:
        checks = (
            ("distances", bool(self.distances) and min(self.distances) > 0, "one or more positive metres"),
            ("tp_distance", self.tp_distance > 0, "positive metres"),
            ("range_limit_m", self.range_limit_m is None or self.range_limit_m > 0, "positive metres, or None"),
            ("min_recall", 0 <= self.min_recall < 1, "in [0, 1)"),
            ("min_precision", 0 <= self.min_precision < 1, "in [0, 1)"),
            ("max_boxes", self.max_boxes > 0, "positive"),
            ("predictions", self.predictions in ("all", "best"), "'all' or 'best'"),
        )
        for name, holds, expected in checks:
            if not holds:
                value = getattr(self, name)
                raise ConfigurationError(f"evaluation setting '{name}' is {value!r}; it must be {expected}")

    def class_range_m(self, class_id: int) -> float:
        """Metres from the ego origin within which a class is evaluated."""
        own = CLASSES[class_id].range_m
        return own if self.range_limit_m is None else min(own, self.range_limit_m)

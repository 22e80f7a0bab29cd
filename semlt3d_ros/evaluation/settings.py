"""What is evaluated, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.evaluation.protocols import LT3D, Protocol


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of one evaluation; the defaults are those of LT3D (Peri et al., CoRL 2022).

    Attributes:
        protocol: classes, ranges, distances and floors.
        range_limit_m: truth and predictions at this distance from the ego origin, or farther, are left out; ``None``
            leaves each class its own range. The smaller of the two counts.
        min_visible_pixels: truth known to cover fewer pixels over all images is left out.
        min_lidar_points: truth known to hold fewer LiDAR points is left out, as in nuScenes and LT3D.
        predictions: ``"all"`` takes every (box, class) pair of a frame as a prediction with the confidence of that
            class, as query-based detectors decode; ``"best"`` takes each box once, with its most confident class.
        absent_classes: a class without true boxes is ``"left_out"`` of every mean, or counts as ``"zero"`` (AP 0,
            errors 1) as the nuScenes development kit has it. The second is right for a benchmark's fixed split, where
            no class is absent; on a short drive it says more about the drive than about the detector.
        of_no_class: an object of none of the classes is ``"ignored"``: a detection near it that matches no true box is
            neither right nor wrong. Or it is ``"nothing"``, as in the development kits of nuScenes and LT3D, where what
            is detected on it is wrong.
        min_confidence: predictions less confident take no part in calibration and confusion, where the hundreds of
            near-zero ones that average precision calls for would drown the others.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    protocol: Protocol = LT3D
    range_limit_m: float | None = None
    min_visible_pixels: int = 0
    min_lidar_points: int = 1
    predictions: Literal["all", "best"] = "all"
    absent_classes: Literal["left_out", "zero"] = "left_out"
    of_no_class: Literal["ignored", "nothing"] = "ignored"
    min_confidence: float = 0.05

    def __post_init__(self) -> None:
        checks = (
            ("range_limit_m", self.range_limit_m is None or self.range_limit_m > 0, "positive metres, or None"),
            ("min_visible_pixels", self.min_visible_pixels >= 0, "0 or more"),
            ("predictions", self.predictions in ("all", "best"), "'all' or 'best'"),
            ("absent_classes", self.absent_classes in ("left_out", "zero"), "'left_out' or 'zero'"),
            ("of_no_class", self.of_no_class in ("ignored", "nothing"), "'ignored' or 'nothing'"),
            ("min_confidence", 0 <= self.min_confidence < 1, "in [0, 1)"),
        )
        for name, holds, expected in checks:
            if not holds:
                value = getattr(self, name)
                raise ConfigurationError(f"evaluation setting '{name}' is {value!r}; it must be {expected}")

    @property
    def ranges_m(self) -> tuple[float, ...]:
        """Metres from the ego origin within which each class of the protocol is evaluated."""
        limit = float("inf") if self.range_limit_m is None else self.range_limit_m
        return tuple(min(info.range_m, limit) for info in self.protocol.classes)

    def to_json(self) -> dict[str, Any]:
        """All settings as plain values."""
        return {**vars(self), "protocol": self.protocol.to_json()}

"""The student's shape. It travels as JSON inside every checkpoint."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES


@dataclass(frozen=True)
class StudentConfig:
    """Sizes and choices of a student.

    Attributes:
        image_width, image_height: pixels of each prepared image.
        top_crop: share of the full image's height that is cut off at the top (sky) before scaling.
        backbone: a timm model name that offers ``features_only``.
        backbone_args: further keyword arguments for ``timm.create_model``.
        pretrained: load timm's pretrained weights when a fresh student is made (needs the network or a local cache).
        strides: feature strides used, finest first.
        width: channels of features and queries.
        layers: decoder layers.
        heads: attention heads.
        feed_forward: hidden width of each decoder layer's feed-forward network.
        anchors: queries that start on a fixed spiral around the vehicle.
        proposals: queries that start at peaks of the 2D head; 0 makes that head a training-only branch.
        key_points: image samples per query, head and feature level.
        view_limit: cameras sampled per query, those that see it best.
        range_m: radius of the anchors; farther objects are not detected.
        depth_bins: bins of the LiDAR-supervised depth branch, from 1 m to ``range_m`` * 1.5, evenly in log depth.
        class_names: the classes, in the order of the logits.
        suppression_radius_m: of two boxes of one class closer than this, the less confident one is dropped.
        score_floor: boxes whose best confidence is lower are not given out.
        max_boxes: at most this many boxes are given out.
    """

    image_width: int = 224
    image_height: int = 96
    top_crop: float = 0.25
    backbone: str = "resnet10t"
    backbone_args: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    strides: tuple[int, ...] = (8, 16, 32)
    width: int = 96
    layers: int = 2
    heads: int = 4
    feed_forward: int = 256
    anchors: int = 120
    proposals: int = 60
    key_points: int = 8
    view_limit: int = 2
    range_m: float = 45.0
    depth_bins: int = 32
    class_names: tuple[str, ...] = CLASS_NAMES
    suppression_radius_m: float = 1.0
    score_floor: float = 0.01
    max_boxes: int = 200

    def __post_init__(self) -> None:
        faults = [
            f"{name} must be positive, not {getattr(self, name)}"
            for name in (
                "image_width",
                "image_height",
                "width",
                "layers",
                "heads",
                "key_points",
                "view_limit",
                "range_m",
            )
            if getattr(self, name) <= 0
        ]
        if self.width % self.heads:
            faults.append(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.anchors + self.proposals <= 0:
            faults.append("anchors and proposals must not both be 0")
        if not 0.0 <= self.top_crop < 1.0:
            faults.append(f"top_crop must lie in [0, 1), not {self.top_crop}")
        if len(set(self.class_names)) != len(self.class_names) or not self.class_names:
            faults.append("class_names must be unique and not empty")
        if faults:
            raise ConfigurationError("student config: " + "; ".join(faults))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StudentConfig:
        """Build from JSON or YAML values; unknown names are refused with the nearest known one.

        Raises:
            ConfigurationError: a name is unknown or a value does not fit.
        """
        known = {entry.name for entry in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise ConfigurationError(f"student config: unknown entry '{name}'{hint}")
        tuples: dict[str, Any] = {name: tuple(values[name]) for name in ("strides", "class_names") if name in values}
        return cls(**(values | tuples))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return dataclasses.asdict(self)

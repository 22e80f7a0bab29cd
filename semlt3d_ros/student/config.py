"""The student's shape. It travels as JSON inside every checkpoint."""

from __future__ import annotations

import dataclasses
import difflib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES

_TOKEN_STRIDE = 16
"""The stride whose cells are the tokens of global attention, as in StreamPETR."""


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
        cross_attention: how queries look at the images: ``sampled`` at projected key points of every level (Far3D), or
            ``global``ly at all tokens of stride 16 (StreamPETR).
        depth_points: points along each token's ray that make its 3D position embedding; ``global`` only.
        block: what follows attention in each layer: a ``plain`` feed-forward network, experts routed by the query's
            features (``feature_experts``), or by its similarity to the language anchors (``language_experts``).
        feed_forward: hidden width of the plain network.
        experts, experts_used: routed experts, and how many of them each query takes.
        expert_width, shared_width: hidden width of each routed expert, and of the one that every query takes.
        language_width: dimension of the language anchors; 0 for a student without language.
        language_share: share of the language-aligned logits in the class logits given out, in [0, 1].
        memory_frames: past frames remembered; 0 for a student that sees single frames.
        memory_queries: queries remembered of each frame; those of the last one are asked again.
        memory_gap_s: a longer gap between frames empties the memory.
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
    cross_attention: Literal["sampled", "global"] = "sampled"
    depth_points: int = 64
    block: Literal["plain", "feature_experts", "language_experts"] = "plain"
    feed_forward: int = 256
    experts: int = 4
    experts_used: int = 2
    expert_width: int = 64
    shared_width: int = 128
    language_width: int = 0
    language_share: float = 0.0
    memory_frames: int = 0
    memory_queries: int = 32
    memory_gap_s: float = 2.0
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
                "depth_points",
                "feed_forward",
                "key_points",
                "view_limit",
                "range_m",
                "depth_bins",
            )
            if getattr(self, name) <= 0
        ]
        if not self.strides or list(self.strides) != sorted(set(self.strides)):
            faults.append(f"strides must be given, finest first, not {list(self.strides)}")
        for name in ("cross_attention", "block"):
            allowed = get_args(get_type_hints(type(self))[name])
            if getattr(self, name) not in allowed:
                faults.append(f"{name} must be one of {', '.join(allowed)}, not '{getattr(self, name)}'")
        if self.cross_attention == "global" and _TOKEN_STRIDE not in self.strides:
            faults.append(f"cross_attention 'global' needs stride {_TOKEN_STRIDE} among strides {list(self.strides)}")
        if self.block == "language_experts" and self.language_width <= 0:
            faults.append("block 'language_experts' needs language_width, the dimension of the language anchors")
        if self.block != "plain" and not 1 <= self.experts_used <= self.experts:
            faults.append(f"experts_used must lie in 1 to experts ({self.experts}), not {self.experts_used}")
        if self.block != "plain" and (self.expert_width <= 0 or self.shared_width < 0):
            faults.append("expert_width must be positive, shared_width must not be negative")
        if not 0.0 <= self.language_share <= (1.0 if self.language_width else 0.0):
            faults.append("language_share must lie in [0, 1], and be 0 without language_width")
        if self.memory_frames < 0 or (self.memory_frames and min(self.memory_queries, self.memory_gap_s) <= 0):
            faults.append("memory_frames must not be negative, memory_queries and memory_gap_s must be positive")
        if self.width % self.heads:
            faults.append(f"width {self.width} must be a multiple of heads {self.heads}")
        if min(self.anchors, self.proposals) < 0 or self.anchors + self.proposals == 0:
            faults.append("anchors and proposals must not be negative, and must not both be 0")
        if not 0.0 <= self.top_crop < 1.0:
            faults.append(f"top_crop must lie in [0, 1), not {self.top_crop}")
        if len(set(self.class_names)) != len(self.class_names) or not self.class_names:
            faults.append("class_names must be unique and not empty")
        if faults:
            raise ConfigurationError("student config: " + "; ".join(faults))

    @property
    def token_level(self) -> int:
        """Number of the feature level whose cells are the tokens of global attention."""
        return self.strides.index(_TOKEN_STRIDE)

    @property
    def propagated(self) -> int:
        """Queries of the last frame that are asked again in this one."""
        return self.memory_queries if self.memory_frames else 0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StudentConfig:
        """Build from JSON or YAML values; unknown names are refused with the nearest known one.

        Raises:
            ConfigurationError: a name is unknown or a value does not fit.
        """
        known = {
            entry.name: entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
            for entry in dataclasses.fields(cls)
        }
        faults = []
        for name, value in values.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                faults.append(f"unknown entry '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
            elif not _alike(value, known[name]):
                faults.append(f"{name} must be like {json.dumps(known[name])}, not {value!r}")
        if faults:
            raise ConfigurationError("student config: " + "; ".join(faults))
        tuples: dict[str, Any] = {name: tuple(values[name]) for name in ("strides", "class_names") if name in values}
        return cls(**(values | tuples))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return dataclasses.asdict(self)


def _alike(value: Any, example: Any) -> bool:
    """Whether a YAML or JSON value is of the kind of ``example``."""
    if isinstance(example, tuple):
        return isinstance(value, (list, tuple)) and all(_alike(entry, example[0]) for entry in value)
    if isinstance(example, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(example)

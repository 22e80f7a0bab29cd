"""The student's shape. It travels as JSON inside every checkpoint."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args, get_type_hints

from semlt3d_ros.core.checks import Check, Checked, Checks, not_negative, positive, rule, share
from semlt3d_ros.core.taxonomy import CLASS_NAMES

_TOKEN_STRIDE = 16
"""The stride whose cells are the tokens of global attention, as in StreamPETR."""


def _choice(name: str) -> Check:
    def check(config: StudentConfig) -> list[str]:
        allowed, value = get_args(get_type_hints(StudentConfig)[name]), getattr(config, name)
        return [] if value in allowed else [f"{name} must be one of {', '.join(allowed)}, not {value!r}"]

    return check


@dataclass(frozen=True)
class StudentConfig(Checked):
    """Sizes and choices of a student.

    Attributes:
        image_width, image_height: pixels of each prepared image.
        top_crop: share of the full image's height that is cut off at the top (sky) before scaling.
        input: what images show: ``light``, what cameras see, or ``depth``, a LiDAR's points seen from the cameras (see
            ``student.depth_images``), for teachers of students.
        backbone: a timm model name that offers ``features_only``, or ``v2_99_ese`` (see ``student.backbone``).
        backbone_args: further keyword arguments for ``timm.create_model``.
        image_mean, image_deviation: of red, green and blue in grey levels, by which images are normalised. The defaults
            are ImageNet's rounded, with which the shipped checkpoint has learnt; published weights want them exact.
        pretrained: load timm's pretrained weights when a fresh student is made (needs the network or a local cache).
        strides: feature strides used, finest first.
        detail_stride: stride of the backbone map whose cells are handed to the finest level as they are, all of those
            within one of its cells, past the layers that blur them; 0 for none.
        width: channels of features and queries.
        layers: decoder layers.
        heads: attention heads.
        cross_attention: how queries look at the images: ``sampled`` at projected key points of every level (Far3D), or
            ``global``ly at all tokens of stride 16 (StreamPETR).
        depth_points: points along each token's ray that make its 3D position embedding; ``global`` only.
        token_height_m: height of such a point that counts as 1, as ``range_m`` does on the ground; points farther up or
            down count as 1 too. 0 takes ``range_m`` for the height as well, which leaves it hardly any weight.
        gated_tokens: let what a token shows scale its position embedding (PETRv2's featurised embedding).
        azimuth_octaves: sine waves of a query's direction in its position encoding, each of twice the frequency of the
            one before; 0 gives the direction as two plain numbers.
        block: what follows attention in each layer: a ``plain`` feed-forward network, experts routed by the query's
            features (``feature_experts``), or by its similarity to the language anchors (``language_experts``).
        feed_forward: hidden width of the plain network.
        dropout: share of attention weights, of what attention and feed-forward network add, and of the latter's hidden
            units that training leaves out.
        router: what language routes by: each query's similarities ``normalised`` by themselves, or ``centred``, less
            their averages over all queries, so that what is like nothing is routed alike.
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

    TITLE: ClassVar[str] = "student config"
    CHECKS: ClassVar[Checks] = (
        *positive("image_width", "image_height", "width", "layers", "heads", "depth_points", "feed_forward"),
        *positive("key_points", "view_limit", "range_m", "depth_bins"),
        *not_negative("suppression_radius_m", "max_boxes"),
        *not_negative("token_height_m", "azimuth_octaves"),
        *share("score_floor"),
        rule(lambda c: 0.0 <= c.dropout < 1.0, "dropout must lie in [0, 1), not {0.dropout}"),
        rule(lambda c: min(c.image_deviation) > 0, "image_deviation must be positive, not {0.image_deviation}"),
        _choice("input"),
        _choice("cross_attention"),
        _choice("block"),
        _choice("router"),
        rule(
            lambda c: c.strides and c.strides[0] > 0 and list(c.strides) == sorted(set(c.strides)),
            "strides must be given, finest first, not {0.strides}",
        ),
        *not_negative("detail_stride"),
        rule(
            lambda c: not c.detail_stride or c.strides[0] % c.detail_stride == 0 < c.strides[0] - c.detail_stride,
            "detail_stride must be finer than strides[0] ({0.strides[0]}) and divide it, not {0.detail_stride}",
        ),
        rule(
            lambda c: c.cross_attention != "global" or _TOKEN_STRIDE in c.strides,
            f"cross_attention 'global' needs stride {_TOKEN_STRIDE} among strides {{0.strides}}",
        ),
        rule(
            lambda c: c.block != "language_experts" or c.language_width > 0,
            "block 'language_experts' needs language_width, the dimension of the language anchors",
        ),
        rule(
            lambda c: c.block == "plain" or 1 <= c.experts_used <= c.experts,
            "experts_used must lie in 1 to experts ({0.experts}), not {0.experts_used}",
        ),
        rule(
            lambda c: c.block == "plain" or (c.expert_width > 0 and c.shared_width >= 0),
            "expert_width must be positive, shared_width must not be negative",
        ),
        *not_negative("language_width", "memory_frames"),
        rule(
            lambda c: 0.0 <= c.language_share <= (1.0 if c.language_width else 0.0),
            "language_share must lie in [0, 1], and be 0 without language_width",
        ),
        rule(
            lambda c: not c.memory_frames or min(c.memory_queries, c.memory_gap_s) > 0,
            "with memory_frames, memory_queries and memory_gap_s must be positive",
        ),
        rule(
            lambda c: c.heads <= 0 or c.width % c.heads == 0,
            "width {0.width} must be a multiple of heads {0.heads}",
        ),
        rule(
            lambda c: min(c.anchors, c.proposals) >= 0 and c.anchors + c.proposals > 0,
            "anchors and proposals must not be negative, and must not both be 0",
        ),
        rule(lambda c: 0.0 <= c.top_crop < 1.0, "top_crop must lie in [0, 1), not {0.top_crop}"),
        rule(
            lambda c: c.class_names and len(set(c.class_names)) == len(c.class_names),
            "class_names must be unique and not empty",
        ),
    )

    image_width: int = 224
    image_height: int = 96
    top_crop: float = 0.25
    input: Literal["light", "depth"] = "light"
    backbone: str = "resnet10t"
    backbone_args: dict[str, Any] = field(default_factory=dict)
    image_mean: tuple[float, float, float] = (123.7, 116.3, 103.5)
    image_deviation: tuple[float, float, float] = (58.4, 57.1, 57.4)
    pretrained: bool = False
    strides: tuple[int, ...] = (8, 16, 32)
    detail_stride: int = 0
    width: int = 96
    layers: int = 2
    heads: int = 4
    cross_attention: Literal["sampled", "global"] = "sampled"
    depth_points: int = 64
    token_height_m: float = 0.0
    gated_tokens: bool = False
    azimuth_octaves: int = 0
    block: Literal["plain", "feature_experts", "language_experts"] = "plain"
    feed_forward: int = 256
    dropout: float = 0.0
    router: Literal["normalised", "centred"] = "normalised"
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
        """Build from JSON or YAML values.

        Raises:
            ConfigurationError: names are unknown or values do not fit; all faults are named.
        """
        from semlt3d_ros.core.config import parse

        return parse(cls, values, cls.TITLE)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return dataclasses.asdict(self)

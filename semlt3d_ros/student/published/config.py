"""Shapes of published detectors. They travel as JSON inside the checkpoints that were made of their weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from semlt3d_ros.core.checks import Checked, Checks, positive, rule

Range = tuple[float, float, float, float, float, float]
"""Lowest x, y, z, then highest, metres in the model's frame."""
NUSCENES_LIDAR_TOP = (0.943713, 0.0, 1.84023, -1.3884, 0.338, -89.8835)
"""A LiDAR of nuScenes in ``base_link``: x, y, z in metres, roll, pitch, yaw in degrees.

It is tilted, so that the road rises ahead: models that were trained in its frame know no other road.
"""


def _is_range(name: str) -> Checks:
    def ordered(config: Any) -> bool:
        low, high = getattr(config, name)[:3], getattr(config, name)[3:]
        return all(first < second for first, second in zip(low, high, strict=True))

    return (rule(ordered, f"{name} must be lowest x, y, z and then higher ones, not {{0.{name}}}"),)


@dataclass(frozen=True)
class PublishedConfig(Checked):
    """What is said of every published detector.

    Attributes:
        class_names: in the order of the logits.
        image_width, image_height: pixels of each prepared image.
        backbone: ``resnet50``, ``resnet101``, or ``v2_99_ese`` (see ``student.backbone``).
        T_ego_model: the frame of the boxes in ``base_link``: x, y, z in metres, then roll, pitch, yaw in degrees.
        queries: with learnt start points.
        propagated: queries of the last frame that are asked again.
        remembered: queries of each frame that are remembered.
        memory_length: entries of the memory.
        memory_gap_s: a longer gap between frames empties the memory.
        memory_interval_s: a frame that follows the last remembered one sooner is looked at with the memory, but leaves
            nothing in it. So a model that has learnt at 2 Hz may run at 10. At 0 all are remembered.
        layers, heads, feed_forward: of the decoder.
        branch_layers: hidden layers of the class and box branches.
        pc_range: the cube that reference points are given in.
        post_center_range: boxes with centres outside are not given out.
        max_boxes: pairs of a box and a class that are given out at most.
        score_floor: boxes whose best confidence is lower are not given out.
    """

    TITLE: ClassVar[str] = "config of a published detector"
    CHECKS: ClassVar[Checks] = (
        *positive("image_width", "image_height", "queries", "propagated", "remembered", "memory_length", "layers"),
        *positive("heads", "feed_forward", "branch_layers", "max_boxes", "memory_gap_s"),
        *_is_range("pc_range"),
        *_is_range("post_center_range"),
        rule(
            lambda c: c.class_names and len(set(c.class_names)) == len(c.class_names),
            "class_names must be unique and not empty",
        ),
        rule(
            lambda c: c.propagated <= c.memory_length and c.remembered <= c.queries + c.propagated,
            "propagated must not exceed memory_length ({0.memory_length}), nor remembered all queries",
        ),
        rule(
            lambda c: 0.0 <= c.memory_interval_s < c.memory_gap_s,
            "memory_interval_s must lie in [0, memory_gap_s), not {0.memory_interval_s}",
        ),
        rule(lambda c: 0.0 <= c.score_floor < 1.0, "score_floor must lie in [0, 1), not {0.score_floor}"),
    )

    class_names: tuple[str, ...]
    image_width: int = 704
    image_height: int = 256
    backbone: str = "resnet50"
    T_ego_model: Range = NUSCENES_LIDAR_TOP
    queries: int = 300
    propagated: int = 128
    remembered: int = 128
    memory_length: int = 512
    memory_gap_s: float = 2.0
    memory_interval_s: float = 0.0
    layers: int = 6
    heads: int = 8
    feed_forward: int = 2048
    branch_layers: int = 2
    pc_range: Range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    post_center_range: Range = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
    max_boxes: int = 300
    score_floor: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class StreamPETRConfig(PublishedConfig):
    """The shape of a StreamPETR; what is not given is its ResNet-50 with 428 queries.

    Attributes:
        position_range: the cube that tokens' depth points are given in.
        depth_points: along each token's ray.
        depth_start_m: the first of them.
        stride: pixels between tokens.
    """

    TITLE: ClassVar[str] = "StreamPETR config"
    CHECKS: ClassVar[Checks] = (
        *PublishedConfig.CHECKS,
        *_is_range("position_range"),
        *positive("depth_start_m", "stride"),
        rule(lambda c: c.depth_points >= 30, "depth_points must be 30 or more, not {0.depth_points}"),
    )

    position_range: Range = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
    depth_points: int = 64
    depth_start_m: float = 1.0
    stride: int = 16


@dataclass(frozen=True)
class Far3DConfig(PublishedConfig):
    """The shape of a Far3D; what is not given is its V2-99 for Argoverse 2.

    Its frame is Argoverse's ``egovehicle``, in the middle of the rear axle, 33 cm above the road.

    Attributes:
        strides: pixels per cell of each feature level, finest first.
        groups: of channels that are weighed alike when features are sampled.
        points: places around each query where features are sampled.
        depth_bins: of the depth net.
        nearest_m, farthest_m: where the first bin begins and the last one ends.
        proposal_threshold: 2D boxes with higher scores become queries.
        max_proposals: of them, the best; the released code has no limit.
        time_unit_s: seconds that the memory counts as 1; the released training counts every fifth sweep of 10 Hz.
    """

    TITLE: ClassVar[str] = "Far3D config"
    CHECKS: ClassVar[Checks] = (
        *PublishedConfig.CHECKS,
        *positive("groups", "points", "depth_bins", "nearest_m", "max_proposals", "time_unit_s"),
        rule(lambda c: c.nearest_m < c.farthest_m, "farthest_m must be above nearest_m, not {0.farthest_m}"),
        rule(lambda c: 0.0 < c.proposal_threshold < 1.0, "proposal_threshold must lie in (0, 1)"),
        rule(
            lambda c: c.strides and c.strides[0] > 0 and list(c.strides) == sorted(set(c.strides)),
            "strides must be given, finest first, not {0.strides}",
        ),
    )

    image_width: int = 960
    image_height: int = 640
    backbone: str = "v2_99_ese"
    T_ego_model: Range = (0.0, 0.0, 0.33, 0.0, 0.0, 0.0)
    queries: int = 644
    propagated: int = 256
    remembered: int = 256
    memory_length: int = 1024
    feed_forward: int = 1024
    pc_range: Range = (-152.4, -152.4, -5.0, 152.4, 152.4, 5.0)
    post_center_range: Range = (-152.4, -152.4, -5.0, 152.4, 152.4, 5.0)
    strides: tuple[int, ...] = (8, 16, 32, 64)
    groups: int = 8
    points: int = 13
    depth_bins: int = 50
    nearest_m: float = 0.1
    farthest_m: float = 110.0
    proposal_threshold: float = 0.1
    max_proposals: int = 1000
    time_unit_s: float = 0.5

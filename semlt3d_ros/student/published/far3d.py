"""The 3D head of Far3D (Jiang et al., AAAI 2024), as the released code computes it in evaluation mode.

What it takes over from StreamPETR is in ``stream_head`` and ``memory``. Its own are the queries that 2D boxes propose,
and a cross-attention that samples features at points around each query. Quirks that released weights have learnt with:

* the weights of a query's samples sum to one over all cameras, whether these see the points or not;
* points behind a camera are not told from those before it: their depth is taken as 0.01 mm;
* boxes have no velocity, and sine and cosine of yaw are remembered in place of one;
* the feed-forward networks have 1024 hidden channels: the released config's 2048 does not reach them.

A decoder output that is not a number stays one, where the released code replaces it, and the certainty of a 2D box ends
at 13.8 (as a logit), where the released code gives up the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.student.geometry import inverse_rigid
from semlt3d_ros.student.published.config import Far3DConfig
from semlt3d_ros.student.published.fpn import FPN
from semlt3d_ros.student.published.memory import QueryMemory
from semlt3d_ros.student.published.model import Motion, PublishedModel, Views
from semlt3d_ros.student.published.parts import Attention, FeedForward, Modulation, two_layers
from semlt3d_ros.student.published.stream_head import WIDTH, HeadOutput, Queries, StreamHead
from semlt3d_ros.student.published.yolox import Boxes2D, DepthBins, YOLOXHead

_CODE = 8
_NEAREST_M = 1e-5
_FOCAL_UNIT = 1e3
_CERTAIN = 1e-6


@dataclass
class Cameras:
    """The V cameras of one frame; pixel 0 of an image reaches from 0 to 1.

    Attributes:
        intrinsics: (V, 3, 3).
        T_camera_model: (V, 4, 4) from the model's frame.
        valid: (V,) bool, False where no image is.
        width, height: of the images in pixels.
    """

    intrinsics: Tensor
    T_camera_model: Tensor
    valid: Tensor
    width: int
    height: int

    @property
    def projection(self) -> Tensor:
        """(V, 4, 4) from points (x, y, z, 1) to (u d, v d, d, 1)."""
        padded = F.pad(self.intrinsics, (0, 1, 0, 1))
        padded[:, 3, 3] = 1.0
        return padded @ self.T_camera_model

    @property
    def code(self) -> Tensor:
        """(V, 14) focal lengths in thousand pixels, and the rows of the pose."""
        focal = torch.stack([self.intrinsics[:, 0, 0], self.intrinsics[:, 1, 1]], dim=-1) / _FOCAL_UNIT
        return torch.cat([focal, self.T_camera_model[:, :3].flatten(1)], dim=-1)


class SampledAggregation(nn.Module):
    """Cross-attention to features at points around each query, weighed by content, position and camera."""

    def __init__(self, groups: int, levels: int, points: int) -> None:
        super().__init__()
        self.groups, self.levels, self.points = groups, levels, points
        self.weights_fc = nn.Linear(WIDTH, groups * levels * points)
        self.output_proj = nn.Linear(WIDTH, WIDTH)
        self.learnable_fc = nn.Linear(WIDTH, 3 * points)
        self.cam_embed = nn.Sequential(
            nn.Linear(12, WIDTH // 2), nn.ReLU(), nn.Linear(WIDTH // 2, WIDTH), nn.ReLU(), nn.LayerNorm(WIDTH)
        )

    def forward(
        self, queries: Tensor, position: Tensor, centers: Tensor, features: Sequence[Tensor], cameras: Cameras
    ) -> Tensor:
        """Queries (Q, C) after looking.

        Args:
            queries: content.
            position: (Q, C) code of the queries.
            centers: (Q, 3) metres in the model's frame.
            features: levels (V, C, h, w), finest first.
            cameras: of the V views.
        """
        projection = cameras.projection
        offsets = self.learnable_fc(queries).unflatten(-1, (self.points, 3))
        points = F.pad(centers[:, None] + offsets, (0, 1), value=1.0)
        image = points @ projection[:, None, :3].transpose(-1, -2)  # (V, Q, P, 3)
        size = torch.tensor([cameras.width, cameras.height], device=image.device)
        places = image[..., :2] / image[..., 2:].clamp_min(_NEAREST_M) / size
        weights = self._weights(queries + position, projection, cameras.valid)
        # Only cells that touch the image count: half a cell of the coarsest level beyond its rim.
        margin = 0.5 / torch.tensor(features[-1].shape[:1:-1], device=image.device)
        seen = ((places > -margin) & (places < 1 + margin)).all(dim=-1) & cameras.valid[:, None, None]
        found = torch.zeros_like(queries)
        for view in range(len(places)):
            rows = seen[view].any(dim=-1).nonzero()[:, 0]
            if len(rows):
                levels = [level[view] for level in features]
                found = found.index_add(0, rows, self._sampled(levels, places[view, rows], weights[view, rows]))
        result: Tensor = self.output_proj(found) + queries
        return result

    def _weights(self, queries: Tensor, projection: Tensor, valid: Tensor) -> Tensor:
        """(V, Q, L, P, G) shares of every sample; they sum to 1 over all but queries and groups."""
        of_query = F.linear(queries, self.weights_fc.weight, self.weights_fc.bias)
        of_camera = F.linear(self.cam_embed(projection[:, :3].flatten(1)), self.weights_fc.weight)
        logits = (of_query + of_camera[:, None]).masked_fill(~valid[:, None, None], -torch.inf)
        logits = logits.unflatten(-1, (self.levels * self.points, self.groups))
        shares = logits.transpose(0, 1).flatten(1, 2).softmax(dim=1)
        shares = shares.unflatten(1, (len(projection), self.levels, self.points))
        return shares.transpose(0, 1)

    def _sampled(self, features: Sequence[Tensor], places: Tensor, weights: Tensor) -> Tensor:
        """(R, C) weighted sums of what one view's levels (C, h, w) show at places (R, P, 2) in [0, 1]."""
        grid = (2 * places - 1)[None]
        total = places.new_zeros(len(places), self.groups, WIDTH // self.groups)
        for level, feature in enumerate(features):
            values = F.grid_sample(feature[None], grid.to(feature.dtype), align_corners=False)[0]
            values = values.unflatten(0, (self.groups, -1))
            total = total + torch.einsum("gcrp,rpg->rgc", values, weights[:, level].to(values.dtype))
        return total.flatten(1)


class DecoderLayer(nn.Module):
    """Self-attention to queries and memory, sampled features, feed-forward network; a norm after each."""

    def __init__(self, config: Far3DConfig) -> None:
        super().__init__()
        sampled = SampledAggregation(config.groups, len(config.strides), config.points)
        self.attentions = nn.ModuleList([Attention(WIDTH, config.heads), sampled])
        self.ffns = nn.ModuleList([FeedForward(WIDTH, config.feed_forward)])
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))

    def forward(
        self, queries: Queries, centers: Tensor, past: Queries, features: Sequence[Tensor], cameras: Cameras
    ) -> Tensor:
        """Content (1, Q, C) of the queries after this layer; their ``centers`` (Q, 3) are in metres."""
        keys = queries.followed_by(past)
        content = self.attentions[0](queries.content, queries.position, keys.content, keys.position)
        content = self.norms[0](content)[0]
        content = self.norms[1](self.attentions[1](content, queries.position[0], centers, features, cameras))
        result: Tensor = self.norms[2](self.ffns[0](content))[None]
        return result


class Decoder(nn.Module):
    """The layers; unlike StreamPETR's there is no norm after them."""

    def __init__(self, config: Far3DConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))

    def forward(
        self, queries: Queries, centers: Tensor, past: Queries, features: Sequence[Tensor], cameras: Cameras
    ) -> Tensor:
        """(L, 1, Q, C) what queries have become after each layer; the rest as in a layer."""
        outputs = []
        for layer in self.layers:
            queries = replace(queries, content=layer(queries, centers, past, features, cameras))
            outputs.append(queries.content)
        return torch.stack(outputs)


class Far3DHead(StreamHead):
    """From feature levels, 2D boxes and the memory to 3D boxes, one frame at a time."""

    def __init__(self, config: Far3DConfig) -> None:
        super().__init__(config, _CODE, Modulation(14, WIDTH, norm=False))
        self.bins = DepthBins(config.depth_bins, config.nearest_m, config.farthest_m)
        self.threshold = config.proposal_threshold
        self.context_embed = two_layers(WIDTH + 1, WIDTH, WIDTH)
        self.transformer = nn.ModuleDict({"decoder": Decoder(config)})

    def forward(
        self,
        features: Sequence[Tensor],
        cameras: Cameras,
        boxes: Boxes2D,
        depth: Tensor,
        memory: QueryMemory,
        continues: Tensor,
    ) -> HeadOutput:
        """Detect objects in one frame.

        Args:
            features: levels (V, C, h, w), finest first.
            cameras: of the V views.
            boxes: found by the 2D head.
            depth: (V, bins + 1, h, w) logits, or what has the same order, on the finest level.
            memory: of one stream, moved into the present frame.
            continues: (1,) 1 where ``memory`` is of frames before, 0 where the stream begins.
        """
        code = cameras.code[:, None]
        flat = [self.spatial_alignment(level.flatten(2).transpose(1, 2), code) for level in features]
        context = torch.cat(flat, dim=1)[boxes.views, boxes.cells]
        features = [
            values.transpose(1, 2).unflatten(2, level.shape[-2:]) for values, level in zip(flat, features, strict=True)
        ]
        learnt = self.reference_points.weight
        proposed = self.lifted(boxes, depth, cameras)
        content = torch.cat([torch.zeros_like(learnt[:, :1]).expand(-1, WIDTH), self._content(context, boxes.scores)])
        queries = self.present(torch.cat([learnt, proposed])[None], content[None])
        memory = self.begun(memory, continues)
        past = self.past(memory)
        queries = queries.followed_by(past.part(slice(self.propagated)))
        older = past.part(slice(self.propagated, None))

        centers = self.in_metres(queries.references[0])
        found = self.transformer["decoder"](queries, centers, older, features, cameras)
        return self.predicted(found, queries.references, memory)

    def lifted(self, boxes: Boxes2D, depth: Tensor, cameras: Cameras) -> Tensor:
        """(M, 3) centres of 2D boxes at their depth, in the unit cube of ``pc_range``, which they may leave.

        The depth is that at which the likeliest bin of the nearest cell begins.
        """
        rows, columns = depth.shape[-2:]
        center = boxes.boxes[:, :2]
        # The released code takes the width in cells as a fraction: in images whose sides are multiples of the stride,
        # as published, that is the nearest cell, in others one aside.
        stride = cameras.height // rows
        cell = (center / stride).round().long()
        column, row = cell[:, 0].clamp(0, columns - 1), cell[:, 1].clamp(0, rows - 1)
        flat = (row * (cameras.width / stride) + column).long().clamp_max(rows * columns - 1)
        metres = self.bins.edges(depth.flatten(2)[boxes.views, :, flat].argmax(dim=-1, keepdim=True))
        image = torch.cat([center * metres, metres, torch.ones_like(metres)], dim=-1)
        inverse = torch.linalg.inv(cameras.projection.double())[boxes.views]
        points = (inverse @ image.double()[..., None])[..., :3, 0]
        return self.in_cube(points.to(center.dtype))

    def _content(self, context: Tensor, scores: Tensor) -> Tensor:
        """(M, C) content of the queries of 2D boxes: the feature (M, C) there, and how far the score is above par."""
        threshold = torch.full_like(scores, self.threshold)
        content: Tensor = self.context_embed(torch.cat([context, scores.logit(_CERTAIN) - threshold.logit()], dim=-1))
        return content


class Far3D(PublishedModel):
    """The whole network: images and calibration to boxes, one frame at a time."""

    family = "far3d"

    def __init__(self, config: Far3DConfig) -> None:
        super().__init__(config, config.strides[:-1])
        self.neck = FPN(self.channels, WIDTH, len(config.strides))
        self.head = Far3DHead(config)
        self.image_head = YOLOXHead(WIDTH, len(config.class_names), config.strides, self.head.bins)
        self.threshold, self.most = config.proposal_threshold, config.max_proposals
        self.time_unit_s = config.time_unit_s

    def empty_memory(self, size: int = 1) -> QueryMemory:
        """The memory of ``size`` streams before their first frame."""
        return self.head.empty_memory(size)

    def forward(self, views: Views, memory: QueryMemory, motion: Motion) -> HeadOutput:
        """See ``PublishedModel``.

        Raises:
            ValueError: there is more than one frame; their 2D boxes would differ in number.
        """
        if len(views.images) != 1:
            raise ValueError(f"Far3D takes one frame at a time, not {len(views.images)}")
        with self.half_precision():
            features = self.neck(self.maps(self.normalised(views.images)))
        features = [level.float() for level in features]
        levels, depth = self.image_head(features)
        valid = views.valid[0]
        boxes = self.image_head.found(levels, self.threshold, valid, self.most)
        height, width = views.images.shape[-2:]
        T_camera_model = inverse_rigid(views.T_model_camera[0].double()).float()
        cameras = Cameras(views.intrinsics[0].float(), T_camera_model, valid, width, height)
        moved = memory.moved(motion.T_now_last, motion.elapsed_s / self.time_unit_s, motion.continues)
        result: HeadOutput = self.head(features, cameras, boxes, depth, moved, motion.continues)
        return result

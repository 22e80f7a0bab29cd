"""What the heads of StreamPETR and Far3D have in common: queries of now and of the past, and the branches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semlt3d_ros.student.published.config import PublishedConfig
from semlt3d_ros.student.published.memory import QueryMemory
from semlt3d_ros.student.published.parts import (
    Modulation,
    box_branch,
    class_branch,
    inverse_sigmoid,
    motion_waves,
    point_waves,
    two_layers,
    waves,
)

WIDTH = 256
"""Of queries and tokens; the released modulation and sine codes are made for no other."""
_MOTION = 180


@dataclass
class HeadOutput:
    """Predictions of all L layers for B frames.

    Attributes:
        logits: (L, B, Q, K), before the sigmoid; the learnt queries first, then those of 2D boxes where there are any,
            then the propagated ones.
        boxes: (L, B, Q, code) centre in metres, logarithms of length, width and height, sine and cosine of yaw,
            velocity in m/s where the code has it; all in the model's frame.
        memory: what to carry to the next frame.
    """

    logits: Tensor
    boxes: Tensor
    memory: QueryMemory


@dataclass
class Queries:
    """Queries, or what is remembered of former ones.

    Attributes:
        content: (B, Q, C).
        position: (B, Q, C) code of where and when they are.
        references: (B, Q, 3) points in the unit cube of ``pc_range``; those of the past may lie outside.
    """

    content: Tensor
    position: Tensor
    references: Tensor

    def part(self, rows: slice) -> Queries:
        """Some of them."""
        return Queries(self.content[:, rows], self.position[:, rows], self.references[:, rows])

    def followed_by(self, others: Queries) -> Queries:
        """These, then the others."""
        return Queries(
            torch.cat([self.content, others.content], dim=1),
            torch.cat([self.position, others.position], dim=1),
            torch.cat([self.references, others.references], dim=1),
        )


class StreamHead(nn.Module):
    """The part of a head that makes queries and reads them; parameters have the names of the released checkpoints."""

    pc_range: Tensor

    def __init__(self, config: PublishedConfig, code: int, alignment: Modulation) -> None:
        """Set up.

        Args:
            config: sizes.
            code: numbers of a box.
            alignment: how features are modulated by the cameras.
        """
        super().__init__()
        self.register_buffer("pc_range", torch.tensor(config.pc_range))
        self.memory_length, self.remembered, self.propagated = (
            config.memory_length,
            config.remembered,
            config.propagated,
        )
        # The released checkpoints hold the branches once for each layer, but they are one module.
        self.cls_branches = nn.ModuleList([class_branch(WIDTH, config.branch_layers, len(config.class_names))])
        self.reg_branches = nn.ModuleList([box_branch(WIDTH, config.branch_layers, code)])
        self.reference_points = nn.Embedding(config.queries, 3)
        self.pseudo_reference_points = nn.Embedding(config.propagated, 3)
        self.query_embedding = two_layers(WIDTH * 3 // 2, WIDTH, WIDTH)
        self.spatial_alignment = alignment
        self.time_embedding = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH))
        self.ego_pose_pe = Modulation(_MOTION, WIDTH)
        self.ego_pose_memory = Modulation(_MOTION, WIDTH)

    def empty_memory(self, size: int = 1) -> QueryMemory:
        """The memory of ``size`` streams before their first frame."""
        return QueryMemory.empty(size, self.memory_length, WIDTH, self.pc_range.device)

    def in_metres(self, points: Tensor) -> Tensor:
        """Points (..., 3) of the unit cube in the model's frame."""
        return points * (self.pc_range[3:] - self.pc_range[:3]) + self.pc_range[:3]

    def in_cube(self, points: Tensor) -> Tensor:
        """Points (..., 3) of the model's frame in the unit cube; those outside the range lie outside it."""
        return (points - self.pc_range[:3]) / (self.pc_range[3:] - self.pc_range[:3])

    def begun(self, memory: QueryMemory, continues: Tensor) -> QueryMemory:
        """The memory with the checkpoint's pseudo points in the streams (B,) that do not continue."""
        return memory.with_pseudo_points(self.in_metres(self.pseudo_reference_points.weight), continues)

    def present(self, references: Tensor, content: Tensor) -> Queries:
        """Queries at ``references`` (B, Q, 3) with ``content`` (B, Q, C), which have not moved."""
        position = self.query_embedding(point_waves(references))
        motion = torch.cat([torch.zeros(3), torch.eye(4)[:3].flatten()]).to(references)
        code = motion_waves(motion).expand(*position.shape[:2], -1)
        still = self.time_embedding(waves(torch.zeros_like(references[..., 0]), WIDTH))
        return Queries(self.ego_pose_memory(content, code), self.ego_pose_pe(position, code) + still, references)

    def past(self, memory: QueryMemory) -> Queries:
        """What is remembered, newest first."""
        references, code = self.in_cube(memory.reference_point), motion_waves(memory.motion())
        position = self.ego_pose_pe(self.query_embedding(point_waves(references)), code)
        age = self.time_embedding(waves(memory.timestamp[..., 0], WIDTH))
        return Queries(self.ego_pose_memory(memory.embedding, code), position + age, references)

    def predicted(self, found: Tensor, references: Tensor, memory: QueryMemory) -> HeadOutput:
        """What queries (L, B, Q, C) after each layer say; all layers start from the same ``references`` (B, Q, 3)."""
        logits, code = self.cls_branches[0](found), self.reg_branches[0](found)
        centers = self.in_metres((code[..., :3] + inverse_sigmoid(references)).sigmoid())
        boxes = torch.cat([centers, code[..., 3:]], dim=-1)
        # Of a code without velocity its last two numbers are remembered in place of one: sine and cosine of yaw.
        kept = memory.remember(found[-1], centers[-1], code[-1, ..., -2:], logits[-1], self.remembered)
        return HeadOutput(logits, boxes, kept)


@torch.no_grad()
def decode(logits: Tensor, boxes: Tensor, limits: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The best pairs of a query and a class of one frame, best first.

    Args:
        logits: (Q, K) of the last layer.
        boxes: (Q, code).
        limits: (6,) lowest and highest centre that is given out, metres.
        most: pairs that are looked at.

    Returns:
        ``(N, code - 1)`` centre, sizes, yaw and what follows it, in the model's frame; ``(N,)`` the pairs, as query
        times K plus class.
    """
    scores = logits.sigmoid().flatten()
    pairs = scores.topk(min(most, len(scores))).indices
    rows = boxes[pairs.div(logits.shape[-1], rounding_mode="floor")]
    yaw = torch.atan2(rows[:, 6], rows[:, 7])
    decoded = torch.cat([rows[:, :3], rows[:, 3:6].exp(), yaw[:, None], rows[:, 8:]], dim=-1)
    inside = ((decoded[:, :3] >= limits[:3]) & (decoded[:, :3] <= limits[3:])).all(dim=-1)
    return decoded[inside], pairs[inside]

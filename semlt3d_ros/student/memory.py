"""Temporal memory of queries (StreamPETR): what was seen in past frames, moved to where it should be now.

Each frame leaves its most confident queries behind. They are carried along by the ego motion and by their own velocity
over the real time that has passed, and a motion-aware layer norm tells their embeddings how the view has changed since.
Those of the last frame become queries again, the older ones are further keys of self-attention.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import inverse_rigid, ray_axes, spiral, to_ray_frame

RESETS: tuple[str, ...] = ("kept", "start", "time jump", "long gap", "no ego pose", "pose jump")
"""Why the memory was emptied before a frame; ``kept``: it was not."""
KEPT, _START, _TIME_JUMP, _LONG_GAP, _NO_POSE, _POSE_JUMP = range(6)
_MAX_EGO_SPEED_MPS, _POSE_SLACK_M = 100.0, 5.0
"""No vehicle moves faster: a larger step is another scene, or a localisation that has started anew."""
_MAX_SPEED_MPS = 40.0
_SPEED_UNIT_MPS = 10.0
_FARTHEST_M = 1000.0
"""No camera sees an object farther away: what a diverging network places there is not remembered."""


@dataclass
class Memory:
    """What is remembered of B streams: N entries each, those of the latest frame first.

    Attributes:
        embeddings: (B, N, C).
        references: (B, N, 3) metres in the ego frame of the stream's last frame.
        velocity: (B, N, 2) m/s in the axes of that frame.
        rays: (B, N, 2) direction in that frame in which the entry was seen, a unit vector.
        distances: (B, N) metres at which it was seen.
        age_s: (B, N) seconds since it was seen.
        valid: (B, N) bool; all else is zero where False.
        stamps: (B,) int64 nanoseconds of the last frame.
        T_world_ego: (B, 4, 4) float64 ego pose of the last frame, NaN where unknown.
        started: (B,) bool, False before the first frame.
    """

    embeddings: Tensor
    references: Tensor
    velocity: Tensor
    rays: Tensor
    distances: Tensor
    age_s: Tensor
    valid: Tensor
    stamps: Tensor
    T_world_ego: Tensor
    started: Tensor

    @classmethod
    def empty(cls, size: int, config: StudentConfig, device: torch.device | str = "cpu") -> Memory:
        """The memory of ``size`` streams before their first frame."""
        count = config.memory_frames * config.memory_queries

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(size, *shape, dtype=dtype, device=device)

        return cls(
            zeros(count, config.width),
            zeros(count, 3),
            zeros(count, 2),
            zeros(count, 2),
            zeros(count),
            zeros(count),
            zeros(count, dtype=torch.bool),
            zeros(dtype=torch.int64),
            zeros(4, 4, dtype=torch.float64),
            zeros(dtype=torch.bool),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; ``Memory(**tensors)`` gives back exactly this memory."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def forget(self, rows: Tensor) -> Memory:
        """Empty the streams ``rows`` (B,) bool."""
        kept = {name: values * ~rows.view(-1, *[1] * (values.dim() - 1)) for name, values in self.tensors().items()}
        # NaN poses do not vanish by multiplication.
        kept["T_world_ego"] = torch.where(rows[:, None, None], 0.0, self.T_world_ego)
        return Memory(**kept)


@dataclass
class Recall:
    """The memory as this frame sees it.

    Attributes:
        memory: all entries, moved into the present ego frame, unchanged in their embeddings.
        embeddings: (B, N, C) modulated by the motion since.
        references: (B, N, 3) where the entries should be now; fixed pseudo points where the last frame left none.
        resets: (B,) int64 index into ``RESETS``.
    """

    memory: Memory
    embeddings: Tensor
    references: Tensor
    resets: Tensor


class TemporalAlignment(nn.Module):
    """Moves a memory to the present frame."""

    pseudo: Tensor
    _MOTION = 8

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.propagated, self.gap_s, width = config.propagated, config.memory_gap_s, config.width
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Sequential(
            nn.Linear(self._MOTION, width), nn.ReLU(inplace=True), nn.Linear(width, 2 * width)
        )
        nn.init.zeros_(self.modulate[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.modulate[-1].bias)  # type: ignore[arg-type]
        self.register_buffer("pseudo", spiral(config.propagated, config.range_m), persistent=False)

    def forward(self, memory: Memory, batch: Batch) -> Recall:
        """Align ``memory`` with the frames of ``batch``; streams whose time or pose does not connect are emptied."""
        elapsed = (batch.stamps - memory.stamps).double() * 1e-9
        resets = why_anew(memory.stamps, memory.T_world_ego, memory.started, batch, self.gap_s)
        memory = memory.forget(resets != KEPT)
        kept = resets == KEPT
        elapsed = torch.where(kept, elapsed, 0.0).float()[:, None]
        memory = _moved(memory, _relative_pose(memory, batch, kept), elapsed)
        scale, shift = self.modulate(self._motion(memory)).chunk(2, dim=-1)
        embeddings = (self.norm(memory.embeddings) * (1 + scale) + shift) * memory.valid[..., None]
        pseudo = F.pad(self.pseudo, (0, 0, 0, memory.valid.shape[1] - self.propagated))
        references = torch.where(memory.valid[..., None], memory.references, pseudo)
        return Recall(memory, embeddings, references, resets)

    @staticmethod
    def _motion(memory: Memory) -> Tensor:
        """(B, N, 8) how the view of each entry has changed: all bounded, none depends on the choice of ego axes."""
        cos, sin = ray_axes(memory.references)
        velocity = to_ray_frame(memory.velocity, cos, sin) / _SPEED_UNIT_MPS
        turn = to_ray_frame(memory.rays, cos, sin)
        nearer = ((1.0 + memory.distances) / (1.0 + memory.references[..., :2].norm(dim=-1))).log()
        age = memory.age_s
        motion = [velocity, turn, nearer[..., None], age[..., None], (1.0 + 10.0 * age)[..., None].log() / 3.0]
        motion.append((velocity.norm(dim=-1) * age)[..., None])
        return torch.cat(motion, dim=-1).clamp(-4.0, 4.0)


def why_anew(stamps: Tensor, T_world_ego: Tensor, started: Tensor, batch: Batch, gap_s: float) -> Tensor:
    """(B,) int64 index into ``RESETS``: why frames do not follow the last ones of their streams, or that they do.

    Args:
        stamps: (B,) int64 nanoseconds of the last frames.
        T_world_ego: (B, 4, 4) float64 their ego poses, NaN where unknown.
        started: (B,) bool, False where there was none.
        batch: the frames.
        gap_s: a longer gap in time breaks a stream.
    """
    elapsed = (batch.stamps - stamps).double() * 1e-9
    resets = torch.full_like(batch.stamps, KEPT)
    unknown = ~torch.isfinite(T_world_ego).flatten(1).all(1)
    unknown = unknown | ~torch.isfinite(batch.T_world_ego).flatten(1).all(1)
    step = (batch.T_world_ego - T_world_ego)[:, :3, 3].norm(dim=-1)
    resets = torch.where(step > _POSE_SLACK_M + _MAX_EGO_SPEED_MPS * elapsed, _POSE_JUMP, resets)
    resets = torch.where(unknown, _NO_POSE, resets)
    resets = torch.where(elapsed > gap_s, _LONG_GAP, resets)
    resets = torch.where(elapsed <= 0, _TIME_JUMP, resets)
    return torch.where(started, resets, _START)


def _relative_pose(memory: Memory, batch: Batch, kept: Tensor) -> Tensor:
    """(B, 4, 4) float32 transform from each stream's last ego frame to its present one."""
    identity = torch.eye(4, dtype=torch.float64, device=kept.device)
    now = torch.where(kept[:, None, None], batch.T_world_ego, identity)
    then = torch.where(kept[:, None, None], memory.T_world_ego, identity)
    # Map coordinates can be millions of metres: only the difference fits single precision.
    return (inverse_rigid(now) @ then).float()


def _moved(memory: Memory, T_now_then: Tensor, elapsed: Tensor) -> Memory:
    speed = memory.velocity.norm(dim=-1, keepdim=True)
    velocity = memory.velocity * (_MAX_SPEED_MPS / speed.clamp_min(_MAX_SPEED_MPS))
    drifted = memory.references + F.pad(velocity * elapsed[..., None], (0, 1))
    rotation = T_now_then[:, :3, :3].transpose(1, 2)
    valid = memory.valid[..., None]
    return replace(
        memory,
        references=(drifted @ rotation + T_now_then[:, None, :3, 3]) * valid,
        velocity=velocity @ rotation[:, :2, :2],
        rays=memory.rays @ rotation[:, :2, :2],
        age_s=(memory.age_s + elapsed) * memory.valid,
    )


@torch.no_grad()
def remember(memory: Memory, output: LayerOutput, batch: Batch, count: int) -> Memory:
    """Push the ``count`` most confident queries of ``output`` in front and drop as many of the oldest entries.

    A query that is not finite, or absurdly far away, is not remembered.
    """
    boxes = output.boxes().float()
    usable = torch.cat([boxes, output.logits, output.embeddings], dim=-1).isfinite().all(-1)
    usable = usable & (boxes[..., :3].abs().amax(dim=-1) < _FARTHEST_M)
    score = output.logits.float().amax(dim=-1).masked_fill(~usable, -torch.inf)
    chosen = score.topk(count, dim=1)
    rows = torch.arange(len(boxes), device=boxes.device)[:, None]
    valid = chosen.values > -torch.inf
    boxes = boxes[rows, chosen.indices].masked_fill(~valid[..., None], 0.0)
    cos, sin = ray_axes(boxes[..., :3])
    new = {
        "embeddings": output.embeddings[rows, chosen.indices].float().masked_fill(~valid[..., None], 0.0),
        "references": boxes[..., :3],
        "velocity": boxes[..., 7:9],
        "rays": torch.stack([cos, sin], dim=-1) * valid[..., None],
        "distances": boxes[..., :2].norm(dim=-1),
        "age_s": torch.zeros_like(cos),
        "valid": valid,
    }
    old = memory.tensors()
    kept = {name: torch.cat([values, old[name][:, : old[name].shape[1] - count]], 1) for name, values in new.items()}
    return Memory(**kept, stamps=batch.stamps, T_world_ego=batch.T_world_ego, started=torch.ones_like(memory.started))

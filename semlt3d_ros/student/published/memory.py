"""The memory of StreamPETR and Far3D: the best queries of past frames, as their authors carry them.

The originals keep it in a map frame, in single precision. Here it is kept in the frame of the last image set and moved
by the motion since, which is the same to rounding and stays so far away from the map's origin. Entries of a memory that
is not full yet are not masked: they lie at the origin of the frame it began in, with an empty pose, and are seen.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class QueryMemory:
    """What is remembered of B streams: N entries each, those of the latest frame first.

    Attributes:
        embedding: (B, N, C).
        reference_point: (B, N, 3) metres in the model's frame at the last image set.
        timestamp: (B, N, 1) seconds from when an entry was seen to the last image set.
        egopose: (B, N, 4, 4) from the model's frame when an entry was seen to that at the last image set.
        velo: (B, N, 2) m/s in the frame in which it was seen.
    """

    embedding: Tensor
    reference_point: Tensor
    timestamp: Tensor
    egopose: Tensor
    velo: Tensor

    @classmethod
    def empty(cls, size: int, length: int, width: int, device: torch.device | str = "cpu") -> QueryMemory:
        """The memory of ``size`` streams before their first frame."""
        shapes = ((width,), (3,), (1,), (4, 4), (2,))
        return cls(*(torch.zeros(size, length, *shape, device=device) for shape in shapes))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; ``QueryMemory(**tensors)`` gives back exactly this memory."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def moved(self, T_now_last: Tensor, elapsed_s: Tensor, continues: Tensor) -> QueryMemory:
        """The memory as a new image set sees it.

        Args:
            T_now_last: (B, 4, 4) from the model's frame at the last image set to the present one.
            elapsed_s: (B,) seconds between the two.
            continues: (B,) 1 where this set follows the last one, 0 where the stream begins anew.
        """
        rotation, shift = T_now_last[:, None, :3, :3], T_now_last[:, None, :3, 3]
        points = (rotation @ self.reference_point[..., None])[..., 0] + shift
        kept = continues.to(points.dtype)[:, None, None]
        return QueryMemory(
            self.embedding * kept,
            points * kept,
            (self.timestamp + elapsed_s[:, None, None]) * kept,
            (T_now_last[:, None] @ self.egopose) * kept[..., None],
            self.velo * kept,
        )

    def with_pseudo_points(self, points: Tensor, continues: Tensor) -> QueryMemory:
        """Of streams that begin anew, the first entries at ``points`` (P, 3) metres, with an identity pose."""
        count = len(points)
        begins = (1.0 - continues.to(points.dtype))[:, None, None]
        identity = torch.eye(4, dtype=points.dtype, device=points.device)
        reference, pose = self.reference_point, self.egopose
        reference = torch.cat([reference[:, :count] + begins * points, reference[:, count:]], dim=1)
        pose = torch.cat([pose[:, :count] + begins[..., None] * identity, pose[:, count:]], dim=1)
        return QueryMemory(self.embedding, reference, self.timestamp, pose, self.velo)

    def motion(self) -> Tensor:
        """(B, N, 15) what the modulation of an entry depends on: velocity, age, pose."""
        return torch.cat([self.velo, self.timestamp, self.egopose[..., :3, :].flatten(-2)], dim=-1)

    def remember(
        self, embeddings: Tensor, points: Tensor, velocities: Tensor, logits: Tensor, count: int
    ) -> QueryMemory:
        """Push the ``count`` best queries in front; as many of the oldest entries are dropped.

        Args:
            embeddings: (B, Q, C) after the last layer.
            points: (B, Q, 3) metres, their boxes' centres.
            velocities: (B, Q, 2).
            logits: (B, Q, K) of classes.
            count: how many are remembered of a frame.
        """
        chosen = logits.sigmoid().amax(dim=-1).topk(count, dim=1).indices[..., None]
        identity = torch.eye(4, dtype=points.dtype, device=points.device).expand(len(points), count, 4, 4)
        new = {
            "embedding": embeddings.gather(1, chosen.expand(-1, -1, embeddings.shape[-1])),
            "reference_point": points.gather(1, chosen.expand(-1, -1, 3)),
            "timestamp": torch.zeros_like(self.timestamp[:, :count]),
            "egopose": identity,
            "velo": velocities.gather(1, chosen.expand(-1, -1, 2)),
        }
        length = self.embedding.shape[1]
        return QueryMemory(
            **{name: torch.cat([values, getattr(self, name)], dim=1)[:, :length] for name, values in new.items()}
        )

"""Features of a frozen image encoder on disk: computed once per view, read by every run that shares the encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from semlt3d_ros.core.outputs import whole
from semlt3d_ros.student.batch import Batch


class FeatureCache:
    """Feature maps by the content of a view: its pixels and what its calibration tells the encoder.

    The encoder must be in evaluation mode and never change. Values are kept in half precision, also where they are
    computed just now, so that a first run gives what a second one gives. Several processes may share a folder.

    Args:
        folder: where to keep the maps.
        encoder: whose maps they are; other weights have other maps.
    """

    def __init__(self, folder: Path, encoder: nn.Module) -> None:
        digest = hashlib.blake2b(digest_size=8)
        for name, values in sorted({**encoder.state_dict(), **dict(encoder.named_buffers())}.items()):
            digest.update(name.encode() + values.detach().cpu().numpy().tobytes())
        self._folder = folder / digest.hexdigest()

    def __call__(self, batch: Batch, compute: Callable[[Batch], list[Tensor]]) -> list[Tensor]:
        """Maps of all views (B, V, C, h, w), from disk where every view of a frame is known, computed otherwise."""
        frames = [self._frame(batch.part(slice(b, b + 1)), compute) for b in range(len(batch.images))]
        return [torch.cat(level).to(batch.images.device) for level in zip(*frames, strict=True)]

    def _frame(self, batch: Batch, compute: Callable[[Batch], list[Tensor]]) -> list[Tensor]:
        paths = [self._path(batch, view) for view in range(batch.valid.shape[1])]
        if not all(path.exists() for path in paths):
            with torch.no_grad():
                levels = [level.half().cpu() for level in compute(batch)]
            for view, path in enumerate(paths):
                _write(path, [level[0, view] for level in levels])
            return [level.float() for level in levels]
        views = [_read(path) for path in paths]
        return [torch.stack(level)[None].float() for level in zip(*views, strict=True)]

    def _path(self, batch: Batch, view: int) -> Path:
        digest = hashlib.blake2b(batch.images[0, view].cpu().contiguous().numpy().tobytes(), digest_size=16)
        # Only the third row of the pose matters to the encoder: turning the ego axes changes no map.
        seen = torch.cat([batch.intrinsics[0, view].flatten(), batch.T_ego_camera[0, view, 2]])
        # Adding zero turns -0.0 into 0.0, which is the same but has other bytes.
        digest.update((np.round(seen.cpu().numpy().astype(np.float64), 3) + 0.0).tobytes())
        name = digest.hexdigest()
        return self._folder / name[:2] / f"{name[2:]}.maps"


def _write(path: Path, levels: list[Tensor]) -> None:
    """The number of levels and their shapes as int32, then their values as float16: read in one go."""
    with whole(path, durable=False) as draft, open(draft, "wb") as file:
        file.write(np.array([len(levels), *(size for level in levels for size in level.shape)], np.int32).tobytes())
        for level in levels:
            file.write(level.contiguous().numpy().tobytes())


def _read(path: Path) -> list[Tensor]:
    data = bytearray(path.read_bytes())
    count = int(np.frombuffer(data, np.int32, 1)[0])
    shapes = np.frombuffer(data, np.int32, 3 * count, offset=4).reshape(count, 3).tolist()
    levels, start = [], 4 + 12 * count
    for shape in shapes:
        size = int(np.prod(shape))
        levels.append(torch.frombuffer(data, dtype=torch.float16, count=size, offset=start).reshape(shape))
        start += 2 * size
    return levels

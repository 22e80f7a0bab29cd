"""What a student that sees depth says of training frames, for one that sees light (MonoSTL)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, read_config
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.kept_arrays import KeptArrays
from semlt3d_ros.losses.signal import DepthSignal, Looked
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.depth_images import seeing_depth

Sight = dict[str, NDArray]
"""What is kept of one frame: maps ``level0``, ``level1``, ... (V, h, w, C), and ``LAYER`` of the last decoder layer."""


@dataclass
class Known:
    """What a teacher has said of a frame before.

    Attributes:
        name: of the frame.
        said: that; None where it has to be asked.
    """

    name: str
    said: Sight | None


LAYER = ("logits", "codes", "log_scale", "references", "embeddings")
_SAME = ("width", "strides", "image_width", "image_height", "top_crop", "class_names")
"""What a teacher and its student have in common: the maps of the one lie over those of the other."""


class DepthTeaching:
    """A teacher that looks at depth, frozen.

    Args:
        path: its checkpoint.
        student: who follows it.
        folder: where what it says is kept.
        limit_bytes: how much of that.
        device: where it computes.

    Raises:
        ConfigurationError: the checkpoint cannot be used, sees light, or is of another architecture.
    """

    def __init__(
        self, path: Path, student: StudentConfig, folder: Path, limit_bytes: float, device: str = "cpu"
    ) -> None:
        refuse_other(read_config(path), student, path)
        checkpoint = read_checkpoint(path)
        self._teacher = checkpoint.student(device).requires_grad_(False)
        self._kept = KeptArrays(folder, checkpoint.version, limit_bytes)
        self._keys = (*(f"level{number}" for number in range(len(student.strides))), *LAYER)
        self._device = device

    def known(self, batch: Batch, points: Tensor, mirror: bool) -> Known:
        """What it has said before.

        Args:
            batch: of one frame, as it was recorded.
            points: (P, 3) of it.
            mirror: whether it is looked at mirrored.
        """
        name = _digest(batch, points, mirror)
        return Known(name, self._kept.read(name, self._keys) if len(points) else None)

    def signal(self, known: Sequence[Known], batch: Batch, points: Sequence[Tensor], T: Tensor) -> DepthSignal:
        """What it says of the frames of a batch.

        Args:
            known: what it has said of them before; of others with points it is asked now.
            batch: the frames, as they were recorded or mirrored.
            points: of each (P, 3).
            T: (B, 4, 4) from the ego frame of the recordings to that of the batch.
        """
        sights = [
            self._asked(each.name, batch.part(slice(row, row + 1)), points[row])
            if each.said is None and len(points[row])
            else each.said
            for row, each in enumerate(known)
        ]
        there = torch.tensor([sight is not None for sight in sights])
        looked = Looked(there, batch.intrinsics, batch.T_ego_camera, T)
        blank = next((sight for sight in sights if sight is not None), None)
        if blank is None:
            blank = self._look(batch.part(slice(0, 1)), points[0])

        def stacked(name: str) -> Tensor:
            rows = [np.zeros_like(blank[name]) if sight is None else sight[name] for sight in sights]
            return torch.from_numpy(np.stack(rows)).float()

        layer = LayerOutput(
            stacked("logits"), stacked("codes"), stacked("log_scale"), stacked("references"), stacked("embeddings")
        )
        return DepthSignal(looked, [stacked(name) for name in self._keys if name not in LAYER], layer)

    def _asked(self, name: str, batch: Batch, points: Tensor) -> Sight:
        sight = self._look(batch, points)
        self._kept.keep(name, sight)
        return sight

    @torch.no_grad()
    def _look(self, batch: Batch, points: Tensor) -> Sight:
        output = self._teacher(seeing_depth(batch.to(self._device), [points.to(self._device)]))
        assert output.features is not None
        levels = {
            f"level{number}": values[0].permute(0, 2, 3, 1).half().contiguous()
            for number, values in enumerate(output.features)
        }
        layer = output.layers[-1]
        said = {name: getattr(layer, name)[0] for name in LAYER}
        said = {name: values if name == "references" else values.half() for name, values in said.items()}
        return {name: values.cpu().numpy() for name, values in {**levels, **said}.items()}


def refuse_other(config: StudentConfig, student: StudentConfig, path: Path) -> None:
    """Refuse a depth teacher at ``path`` whose maps would not lie over those of the student.

    Raises:
        ConfigurationError: it sees light, or is of another architecture.
    """
    if config.input != "depth":
        raise ConfigurationError(
            f"distillation.monostl.teacher '{path}' sees light as its student does; train one with student: "
            "{input: depth}, as config/recipes/depth_teacher.yaml does"
        )
    other = [
        f"{name} is {getattr(config, name)}, the student's {getattr(student, name)}"
        for name in _SAME
        if getattr(config, name) != getattr(student, name)
    ]
    if other:
        raise ConfigurationError(
            f"distillation.monostl.teacher '{path}' is of another architecture than the student: {'; '.join(other)}; "
            "train it with the student's own entries"
        )


def _digest(batch: Batch, points: Tensor, mirror: bool) -> str:
    """A name for what is looked at: the points, from where, and whether in a mirror."""
    digest = hashlib.blake2b(bytes([mirror]), digest_size=20)
    for values, scale in ((points, 50.0), (batch.intrinsics, 1e3), (batch.T_ego_camera, 1e4), (batch.valid, 1.0)):
        # Adding zero turns -0.0 into 0.0, which is the same but has other bytes.
        digest.update((np.round(values.cpu().numpy() * scale) + 0.0).astype(np.int32).tobytes())
    return digest.hexdigest()

"""Parameters and operations of networks, part by part; a part is named modules of the network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semlt3d_ros.student.batch import Batch
    from semlt3d_ros.student.config import StudentConfig
    from semlt3d_ros.student.published.config import PublishedConfig

Parts = Mapping[str, tuple[str, ...]]
"""Parts to the names of the modules that make them up; ``*`` stands for a number, but not as the last word."""

CAMERAS = 6
NOT_COUNTED = "element-wise operations, norms, softmax, interpolation and sorting"


def count_parameters(model: Any, parts: Parts) -> dict[str, int]:
    """Parameters by part; the parts cover the whole model."""
    counts = dict.fromkeys(parts, 0)
    for part, module in _modules(model, "", parts):
        counts[part] += sum(parameter.numel() for parameter in module.parameters())
    return {part: count for part, count in counts.items() if count}


@contextmanager
def counting(root: Any, prefix: str, parts: Parts) -> Iterator[Counter[str]]:
    """Within the context, operations in the parts of ``root`` add up in the counter; ``prefix`` as in ``_modules``."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def bag(table: Any, index: Any, *_: Any, **__: Any) -> int:
        return 2 * math.prod(index) * table[1]

    aten = torch.ops.aten
    # One sampled value is one multiply-add per channel; torch does not count that by itself.
    custom = {aten._embedding_bag: bag, aten._embedding_bag_forward_only: bag}
    counts: Counter[str] = Counter()
    handles = []
    with FlopCounterMode(display=False, custom_mapping=custom) as mode:
        for part, module in _modules(root, prefix, parts):

            def start(*_: Any, part: str = part) -> None:
                counts[part] -= mode.get_total_flops()

            def stop(*_: Any, part: str = part) -> None:
                counts[part] += mode.get_total_flops()

            handles += [module.register_forward_pre_hook(start), module.register_forward_hook(stop)]
        try:
            yield counts
        finally:
            for handle in handles:
                handle.remove()


def _modules(root: Any, prefix: str, parts: Parts) -> Iterator[tuple[str, Any]]:
    """Each part's modules; ``prefix`` is what names of the model's modules begin with before those of ``root``."""
    wanted = {pattern: part for part, patterns in parts.items() for pattern in patterns}
    for name, module in root.named_modules():
        *words, last = (prefix + name).split(".")
        pattern = ".".join([*("*" if word.isdigit() else word for word in words), last])
        if pattern in wanted:
            yield wanted[pattern], module


def six_cameras(config: StudentConfig | PublishedConfig) -> Batch:
    """One frame of six cameras that together see all around, as on nuScenes' vehicles; the images are noise."""
    import torch

    from semlt3d_ros.student.batch import Batch

    width, height = config.image_width, config.image_height
    focal = 0.79 * width  # 65 degrees, as the five wide cameras there
    azimuth = torch.arange(CAMERAS) * (2 * math.pi / CAMERAS)
    poses = torch.eye(4).repeat(CAMERAS, 1, 1)
    poses[:, 0, 0], poses[:, 1, 0] = azimuth.sin(), -azimuth.cos()
    poses[:, :3, 1] = torch.tensor([0.0, 0.0, -1.0])
    poses[:, 0, 2], poses[:, 1, 2], poses[:, 2, 2] = azimuth.cos(), azimuth.sin(), 0.0
    poses[:, :3, 3] = 0.8 * poses[:, :3, 2] + torch.tensor([0.0, 0.0, 1.5])
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Batch(
        torch.randint(0, 256, (1, CAMERAS, 3, height, width), dtype=torch.uint8),
        intrinsics.expand(1, CAMERAS, 3, 3),
        poses[None],
        torch.ones(1, CAMERAS, dtype=torch.bool),
        torch.zeros(1, dtype=torch.int64),
        torch.eye(4, dtype=torch.float64)[None],
    )

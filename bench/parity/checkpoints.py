"""Checkpoints laid out as the originals' training writes them, with weights made by rule: no download is needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.parity.fixtures import weight
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.student.published.config import Far3DConfig, StreamPETRConfig
from semlt3d_ros.student.published.far3d import Far3D
from semlt3d_ros.student.published.model import PublishedModel
from semlt3d_ros.student.published.streampetr import StreamPETR, depths

RULES = (
    {"match": r"running_var$", "value": "0.5 + 0.3 * abs(z)"},
    {"match": r"running_mean$", "value": "0.1 * z"},
    {"match": r"reference_points\.weight$", "value": "u"},
    {"match": r"gamma\.bias$", "value": "1 + 0.05 * z"},
    {
        "match": r"(norms?\.\d|post_norm|time_embedding\.1|cls_branches\.\d\.[14]|/norm)\.weight$",
        "value": "1 + 0.1 * z",
    },
    {"match": r"(bn\d|downsample\.1)\.weight$", "value": "0.5 + 0.1 * z"},
    {"match": r"(\.bn|depth_head\.\d\.1|cam_embed\.4)\.weight$", "value": "1 + 0.1 * z"},
    {"match": r"conv_obj\.\d\.bias$", "value": "0.1 * z - 2"},
    {"match": r"cls_branches\.\d\.6\.weight$", "value": "3.0 * z / fan_in ** 0.5"},
    {"match": r"cls_branches\.\d\.6\.bias$", "value": "0.5 * z - 2"},
    {"match": r"bias$", "value": "0.05 * z"},
    {"match": r"reg_branches\.\d\.4\.weight$", "value": "0.5 * z / fan_in ** 0.5"},
    {"match": r".", "value": "z / fan_in ** 0.5"},
)
COPIES = 6
"""How often released heads store the branches that their layers share."""


def original_name(name: str) -> str:
    """What the originals call a tensor of this package's published models."""
    if name.startswith("image_head."):
        return f"img_roi_{name.removeprefix('image_')}"
    if name.startswith("head."):
        return f"pts_bbox_{name}"
    if name.startswith("neck."):
        return f"img_{name}"
    name = re.sub(r"stem_(\d)\.(conv|bn)\.", lambda m: f"stem.stem_{int(m[1]) + 1}/{_layer(m[2])}.", name)
    block = re.match(r"backbone\.stages_(\d)\.blocks\.(\d+)\.(.*)$", name)
    if block:
        stage, number, rest = int(block[1]) + 2, int(block[2]) + 1, block[3]
        osa = f"OSA{stage}_{number}"
        rest = re.sub(r"conv_mid\.(\d)\.(conv|bn)\.", lambda m: f"layers.{m[1]}.{osa}_{m[1]}/{_layer(m[2])}.", rest)
        rest = re.sub(r"conv_concat\.(conv|bn)\.", lambda m: f"concat.{osa}_concat/{_layer(m[1])}.", rest)
        name = f"backbone.stage{stage}.{osa}.{rest.replace('attn.fc.', 'ese.fc.')}"
    return f"img_{name}"


def streampetr_tensors(config: StreamPETRConfig) -> dict[str, Tensor]:
    """A state dict as the original's, 2D head, loss weights and copies of shared branches included."""
    made = _made(StreamPETR, config)
    head = "pts_bbox_head."
    made[f"{head}pc_range"] = torch.tensor(config.pc_range)
    made[f"{head}position_range"] = torch.tensor(config.position_range)
    made[f"{head}coords_d"] = depths(config)
    made[f"{head}code_weights"] = made[f"{head}match_costs"] = torch.tensor([2.0, 2.0, *[1.0] * 8])
    made["img_roi_head.cls.weight"] = weight("img_roi_head.cls.weight", (10, 256, 1, 1), RULES)
    made["img_roi_head.cls.bias"] = weight("img_roi_head.cls.bias", (10,), RULES)
    return made


def far3d_tensors(config: Far3DConfig) -> dict[str, Tensor]:
    """A state dict as the original's, loss weights and copies of shared branches included."""
    made = _made(Far3D, config)
    made["pts_bbox_head.pc_range"] = torch.tensor(config.pc_range)
    made["pts_bbox_head.code_weights"] = made["pts_bbox_head.match_costs"] = torch.ones(8)
    return made


def write_streampetr(path: Path, **changes: Any) -> Path:
    """Write such a checkpoint as mmcv's runner does; ``changes`` are to the shape of R50 with 428 queries."""
    config = StreamPETRConfig(class_names=tuple(f"class_{index}" for index in range(10)), **changes)
    return _write(path, streampetr_tensors(config))


def write_far3d(path: Path, **changes: Any) -> Path:
    """Write such a checkpoint; ``changes`` are to the shape of the released Far3D."""
    config = Far3DConfig(**{"class_names": load_class_list("argoverse2").names, **changes})
    return _write(path, far3d_tensors(config))


def _made(model: Callable[[Any], PublishedModel], config: Any) -> dict[str, Tensor]:
    """What a rule makes of a state dict, copies of shared branches included."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        shapes = {original_name(name): tensor.shape for name, tensor in model(config).state_dict().items()}
    made: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            made[key] = torch.tensor(1000)
        elif not key.endswith(("pc_range", "position_range", "coords_d")):
            made[key] = weight(key, shape, RULES)
    for key in [key for key in made if re.search(r"_branches\.0\.", key)]:
        made |= {key.replace("_branches.0.", f"_branches.{copy}."): made[key] for copy in range(1, COPIES)}
    return made


def _write(path: Path, tensors: dict[str, Tensor]) -> Path:
    meta = {"epoch": 60, "iter": 105480, "mmcv_version": "1.6.0", "CLASSES": ["car", "truck"], "time": "Thu"}
    torch.save({"meta": meta, "state_dict": tensors, "optimizer": {"state": {}}}, path)
    return path


def _layer(name: str) -> str:
    return "norm" if name == "bn" else name

"""StreamPETR's checkpoints (github.com/exiawsh/StreamPETR): ResNet and V2-99 backbones, any number of queries."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from semlt3d_ros.checkpoints.import_weights import (
    Choices,
    Imported,
    chosen_classes,
    layers_in,
    need,
    one_of_shared,
    part,
    take_over,
)
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.backbone import V2_99
from semlt3d_ros.student.published.config import Range, StreamPETRConfig
from semlt3d_ros.student.published.streampetr import StreamPETR
from semlt3d_ros.student.published.vovnet import timm_names

_HEAD, _BACKBONE, _NECK = "pts_bbox_head.", "img_backbone.", "img_neck."
_SHARED = ("cls_branches", "reg_branches")
_TRAINING = ("code_weights", "match_costs")
_RESNETS = {6: ("resnet50", "r50"), 23: ("resnet101", "r101")}
"""By blocks of the third stage."""
_V2_99_BLOCKS = 9
_SIZES = {"resnet50": (704, 256), "resnet101": (1408, 512), V2_99: (800, 320)}
_FRAMES_REMEMBERED = 4


def knows(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of a StreamPETR."""
    wanted = ("memory_embed.0.weight", "featurized_pe.conv_reduce.weight", "ego_pose_memory.gamma.weight")
    return all(_HEAD + name in tensors for name in wanted)


def convert(tensors: Mapping[str, Tensor], choices: Choices) -> Imported:
    """The model, its sizes read off the shapes."""
    given = part(tensors, _HEAD)
    head = {key: tensor for key, tensor in one_of_shared(given, _SHARED).items() if key not in _TRAINING}
    backbone, short, weights = backbone_of(part(tensors, _BACKBONE))
    channels = choices.channels or ("bgr" if backbone == V2_99 else "rgb")
    if channels == "bgr":
        first = "stem_0.conv.weight" if backbone == V2_99 else "conv1.weight"
        weights[first] = weights[first].flip(1)
    config = _config(head, backbone, choices)
    neck = part(tensors, _NECK)
    own = {f"backbone.{key}": tensor for key, tensor in weights.items()}
    own |= {f"neck.{key}": tensor for key, tensor in neck.items()} | {f"head.{key}": each for key, each in head.items()}
    with torch.random.fork_rng(devices=[]):
        model = StreamPETR(config)
    take_over(model, own)
    all_queries = config.queries + config.propagated
    dropped = {
        "copies of the branches that all layers share": sum(key.startswith(_SHARED) for key in given)
        - sum(key.startswith(_SHARED) for key in head),
        "weights of losses": sum(key in given for key in _TRAINING),
        "the 2D head, which only trains": len(part(tensors, "img_roi_head.")),
    }
    dropped["others"] = len(tensors) - len(own) - sum(dropped.values())
    return Imported(
        model,
        chosen_classes(choices, "nuscenes", len(config.class_names)),
        f"streampetr_{short}_{all_queries}q",
        {
            "model": "StreamPETR",
            "backbone": backbone,
            "queries": f"{config.queries} learnt and {config.propagated} of the last frame, {all_queries} together",
            "decoder layers": str(config.layers),
            "classes": str(len(config.class_names)),
        },
        {
            "images": f"{config.image_width}x{config.image_height}",
            "channels": f"{channels.upper()}{', turned in the first convolution' if channels == 'bgr' else ''}",
            "memory": f"{config.memory_length} entries, {config.remembered} of each frame",
            "model's frame in base_link": " ".join(f"{value:g}" for value in config.T_ego_model),
            "classes": ", ".join(config.class_names),
        },
        len(own),
        {what: count for what, count in dropped.items() if count},
    )


def backbone_of(tensors: dict[str, Tensor]) -> tuple[str, str, dict[str, Tensor]]:
    """A backbone's name, a short one, and its tensors as this package names them.

    Raises:
        ConfigurationError: it is none that is known.
    """
    if "conv1.weight" in tensors and "layer3.0.conv3.weight" in tensors:
        blocks = layers_in(tensors, "layer3.")
        if blocks in _RESNETS:
            return (*_RESNETS[blocks], {key: each for key, each in tensors.items() if not key.startswith("fc.")})
    if "stem.stem_1/conv.weight" in tensors:
        blocks = sum(key.startswith("stage4.") and key.endswith("ese.fc.weight") for key in tensors)
        if blocks == _V2_99_BLOCKS:
            return V2_99, "v2_99", timm_names(tensors)
    known = ", ".join([*(name for name, _ in _RESNETS.values()), "V2-99"])
    raise ConfigurationError(
        f"its backbone is none of {known}; its tensors are named {', '.join(list(tensors)[:3]) or 'nothing'}"
    )


def range_of(tensors: Mapping[str, Tensor], key: str) -> Range:
    """A cube that the checkpoint holds, without the noise of single precision."""
    x0, y0, z0, x1, y1, z1 = (round(value, 4) for value in need(tensors, key, (6,)).tolist())
    return x0, y0, z0, x1, y1, z1


def _config(head: Mapping[str, Tensor], backbone: str, choices: Choices) -> StreamPETRConfig:
    propagated = len(need(head, "pseudo_reference_points.weight", (None, 3)))
    branch = part(head, "reg_branches.0.")
    classes = part(head, "cls_branches.0.")
    outputs = len(need(classes, f"{max(int(key.split('.')[0]) for key in classes)}.bias", (None,)))
    hidden = len([key for key in branch if key.endswith("weight")]) - 1
    depths = need(head, "coords_d", (None,))
    width, height = choices.image_size or _SIZES[backbone]
    return StreamPETRConfig(
        class_names=chosen_classes(choices, "nuscenes", outputs).names,
        image_width=width,
        image_height=height,
        backbone=backbone,
        T_ego_model=choices.T_ego_model or StreamPETRConfig.T_ego_model,
        queries=len(need(head, "reference_points.weight", (None, 3))),
        propagated=propagated,
        remembered=propagated,
        memory_length=_FRAMES_REMEMBERED * propagated,
        memory_interval_s=choices.memory_interval_s,
        layers=layers_in(head, "transformer.decoder.layers."),
        feed_forward=len(need(head, "transformer.decoder.layers.0.ffns.0.layers.0.0.bias", (None,))),
        branch_layers=hidden,
        pc_range=range_of(head, "pc_range"),
        position_range=range_of(head, "position_range"),
        depth_points=len(depths),
        depth_start_m=float(depths[0]),
    )

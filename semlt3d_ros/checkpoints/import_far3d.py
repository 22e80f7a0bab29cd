"""Far3D's checkpoint (github.com/megvii-research/Far3D): V2-99, the 26 classes of Argoverse 2."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from semlt3d_ros.checkpoints.import_streampetr import backbone_of, range_of
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
from semlt3d_ros.student.published.config import Far3DConfig
from semlt3d_ros.student.published.far3d import Far3D

_HEAD, _IMAGE_HEAD, _BACKBONE, _NECK = "pts_bbox_head.", "img_roi_head.", "img_backbone.", "img_neck."
_SHARED = ("cls_branches", "reg_branches")
_TRAINING = ("code_weights", "match_costs")
_LAYERS, _LEVELS = "transformer.decoder.layers.", "multi_level_conv_cls."
_FIRST_CONVOLUTION = "stem_0.conv.weight"
_FINEST_STRIDE = 8
_FRAMES_REMEMBERED = 4
_CLASSES = "argoverse2"


def knows(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of a Far3D: it alone has 2D heads per level beside queries with a memory."""
    wanted = (f"{_IMAGE_HEAD}{_LEVELS}0.weight", f"{_HEAD}context_embed.0.weight", f"{_HEAD}ego_pose_pe.gamma.weight")
    return all(name in tensors for name in wanted)


def convert(tensors: Mapping[str, Tensor], choices: Choices) -> Imported:
    """The model, its sizes read off the shapes."""
    given = part(tensors, _HEAD)
    head = {key: tensor for key, tensor in one_of_shared(given, _SHARED).items() if key not in _TRAINING}
    image_head = part(tensors, _IMAGE_HEAD)
    backbone, short, weights = backbone_of(part(tensors, _BACKBONE))
    if backbone != V2_99:
        raise ConfigurationError(f"its backbone is {backbone}, but Far3D was released with V2-99 alone")
    channels = choices.channels or "bgr"
    if channels == "bgr":
        weights[_FIRST_CONVOLUTION] = weights[_FIRST_CONVOLUTION].flip(1)
    config = _config(head, image_head, choices)
    parts = {"backbone": weights, "neck": part(tensors, _NECK), "head": head, "image_head": image_head}
    own = {f"{name}.{key}": tensor for name, values in parts.items() for key, tensor in values.items()}
    with torch.random.fork_rng(devices=[]):
        model = Far3D(config)
    take_over(model, own)
    dropped = {
        "copies of the branches that all layers share": sum(key.startswith(_SHARED) for key in given)
        - sum(key.startswith(_SHARED) for key in head),
        "weights of losses": sum(key in given for key in _TRAINING),
    }
    dropped["others"] = len(tensors) - len(own) - sum(dropped.values())
    return Imported(
        model,
        chosen_classes(choices, _CLASSES, len(config.class_names)),
        f"far3d_{short}",
        {
            "model": "Far3D",
            "backbone": backbone,
            "queries": f"{config.queries} learnt, {config.propagated} of the last frame, and one per 2D box",
            "decoder layers": str(config.layers),
            "classes": str(len(config.class_names)),
        },
        {
            "images": f"{config.image_width}x{config.image_height}",
            "channels": f"{channels.upper()}{', turned in the first convolution' if channels == 'bgr' else ''}",
            "memory": f"{config.memory_length} entries, {config.remembered} of each frame",
            "time between frames": f"{config.time_unit_s:g} s",
            "2D boxes": f"those that score above {config.proposal_threshold:g}, at most {config.max_proposals}",
            "model's frame in base_link": " ".join(f"{value:g}" for value in config.T_ego_model),
            "classes": ", ".join(config.class_names),
        },
        len(own),
        {what: count for what, count in dropped.items() if count},
    )


def _config(head: Mapping[str, Tensor], image_head: Mapping[str, Tensor], choices: Choices) -> Far3DConfig:
    propagated = len(need(head, "pseudo_reference_points.weight", (None, 3)))
    branch, classes = part(head, "reg_branches.0."), part(head, "cls_branches.0.")
    hidden = sum(key.endswith("weight") for key in branch) - 1
    outputs = len(need(classes, f"{3 * hidden}.bias", (None,)))
    levels, cross = layers_in(image_head, _LEVELS), f"{_LAYERS}0.attentions.1."
    points = max(1, len(need(head, f"{cross}learnable_fc.bias", (None,))) // 3)
    limits = range_of(head, "pc_range")
    width, height = choices.image_size or (Far3DConfig.image_width, Far3DConfig.image_height)
    return Far3DConfig(
        class_names=chosen_classes(choices, _CLASSES, outputs).names,
        image_width=width,
        image_height=height,
        backbone=V2_99,
        T_ego_model=choices.T_ego_model or Far3DConfig.T_ego_model,
        queries=len(need(head, "reference_points.weight", (None, 3))),
        propagated=propagated,
        remembered=propagated,
        memory_length=_FRAMES_REMEMBERED * propagated,
        memory_interval_s=choices.memory_interval_s,
        layers=layers_in(head, _LAYERS),
        feed_forward=len(need(head, f"{_LAYERS}0.ffns.0.layers.0.0.bias", (None,))),
        branch_layers=hidden,
        pc_range=limits,
        post_center_range=limits,
        strides=tuple(_FINEST_STRIDE * 2**level for level in range(levels)),
        groups=len(need(head, f"{cross}weights_fc.bias", (None,))) // (points * levels),
        points=points,
        depth_bins=len(need(image_head, "depthnet.depth_classifier.bias", (None,))) - 1,
    )

"""Far3D's head against ``student.published.far3d``, frame by frame with its memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.parity.fixtures import Comparison, Fixture, standard, uniform
from bench.parity.streampetr import boxes_compared, decoded_compared
from semlt3d_ros.checkpoints.import_weights import one_of_shared
from semlt3d_ros.student.published.config import Far3DConfig
from semlt3d_ros.student.published.far3d import Cameras, Far3DHead
from semlt3d_ros.student.published.stream_head import HeadOutput, decode
from semlt3d_ros.student.published.yolox import Boxes2D


def head_of(fixture: Fixture) -> Far3DHead:
    """The head with the fixture's sizes and weights."""
    config, tensors = fixture.config, fixture.weights()
    hidden = tensors["transformer.decoder.layers.0.ffns.0.layers.0.0.bias"]
    shape = Far3DConfig(
        class_names=tuple(f"class_{index}" for index in range(config["classes"])),
        image_width=config["image_width"],
        image_height=config["image_height"],
        queries=config["learnt_queries"],
        propagated=config["propagated_queries"],
        remembered=config["remembered_per_frame"],
        memory_length=config["memory_length"],
        layers=config["layers"],
        heads=config["heads"],
        feed_forward=len(hidden),  # the config's number does not reach the original network
        branch_layers=config["class_hidden_layers"],
        pc_range=tuple(config["pc_range"]),
        post_center_range=tuple(config["post_center_range"]),
        max_boxes=config["decoded_max"],
        strides=tuple(config["strides"]),
        groups=config["groups"],
        points=config["points"],
        depth_bins=config["depth_bins"],
        nearest_m=float(config["depth_min"]),
        farthest_m=float(config["depth_max"]),
    )
    head = Far3DHead(shape).eval()
    weights = one_of_shared(tensors, ("cls_branches", "reg_branches"))
    head.load_state_dict({key: tensor for key, tensor in weights.items() if key not in ("code_weights", "match_costs")})
    return head


def boxes_2d(fixture: Fixture, frame: int) -> Boxes2D:
    """The 2D boxes that the original was given in a frame."""
    given = fixture.info["inputs"]
    valid = uniform(given["valid"]["key"].format(frame=frame), given["valid"]["shape"]) > 0.97
    views, cells, _ = valid.nonzero(as_tuple=True)
    config = fixture.config
    scale = torch.tensor([config["image_width"], config["image_height"], 40, 40])
    boxes = uniform(given["boxes"]["key"].format(frame=frame), (len(views), 4)) * scale
    scores = uniform(given["scores"]["key"].format(frame=frame), (len(views), 1)) * 0.8 + 0.1
    return Boxes2D(views, cells, boxes, scores)


def frames(fixture: Fixture, head: Far3DHead) -> Iterator[tuple[HeadOutput, Tensor]]:
    """Outputs of all frames, and the points of their 2D queries."""
    config, given, arrays = fixture.config, fixture.info["inputs"], fixture.arrays
    poses, stamps = torch.from_numpy(arrays["input.ego_pose64"]), arrays["input.timestamp"]
    cameras = Cameras(
        torch.from_numpy(arrays["input.intrinsics"])[:, :3, :3],
        torch.from_numpy(arrays["input.extrinsics"]),
        torch.ones(config["cameras"], dtype=torch.bool),
        config["image_width"],
        config["image_height"],
    )
    features, depth = given["img_feats"], given["depth"]
    memory = head.empty_memory()
    for index, salt in enumerate(features["salt_of_frame"]):
        first = index in config["reset_before_frames"]
        before = index if first else index - 1
        motion = (poses[index].inverse() @ poses[before]).float()[None]
        elapsed, continues = (
            torch.tensor([float(stamps[index] - stamps[before])]),
            torch.tensor([0.0 if first else 1.0]),
        )
        levels = [
            standard(features["key"].format(salt=salt, frame=index, level=level), shape)[0]
            for level, shape in enumerate(features["shape_of_level"])
        ]
        bins = uniform(depth["key"].format(frame=index), depth["shape"])
        boxes = boxes_2d(fixture, index)
        output = head(levels, cameras, boxes, bins, memory.moved(motion, elapsed, continues), continues)
        memory = output.memory
        yield output, head.lifted(boxes, bins, cameras)


@torch.inference_mode()
def compare(fixture: Fixture) -> Iterator[Comparison]:
    """Logits and boxes of all layers, decoded boxes, points of the 2D queries."""
    head, tolerance = head_of(fixture), fixture.info["tolerance"]
    limits = torch.tensor(fixture.config["post_center_range"])
    for index, (output, points) in enumerate(frames(fixture, head)):
        frame, stored = f"frame{index}", fixture.arrays
        yield fixture.compare(f"{frame}.logits", output.logits[:, 0], stored[f"{frame}.logits"], tolerance["logits"])
        yield boxes_compared(fixture, f"{frame}.boxes", output.boxes[:, 0].numpy())
        name = f"{frame}.reference_points2d"
        yield fixture.compare(name, points, stored[name], tolerance["reference_points2d"])
        logits, boxes = output.logits[-1, 0], output.boxes[-1, 0]
        decoded, pairs = decode(logits, boxes, limits, fixture.config["decoded_max"])
        scores = logits.sigmoid().flatten()[pairs]
        yield from decoded_compared(fixture, frame, decoded.numpy(), scores.numpy(), pairs.numpy(), logits.shape[-1])

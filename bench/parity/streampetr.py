"""StreamPETR's head against ``student.published.streampetr``, frame by frame with its memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.parity.fixtures import Comparison, Fixture, standard
from semlt3d_ros.checkpoints.import_weights import one_of_shared
from semlt3d_ros.student.published.config import StreamPETRConfig
from semlt3d_ros.student.published.stream_head import HeadOutput, decode
from semlt3d_ros.student.published.streampetr import StreamPETRHead

STAGES = ("memory_embed", "spatial_alignment", "position_encoder", "featurized_pe")
QUERY_STAGES = ("query_embedding", "ego_pose_pe", "ego_pose_memory", "time_embedding")
TOKENS, ROWS = [0, 7, 23, 24, 100, 143], [0, 1, 17, -1]
"""Of which the inner stages are stored."""


def head_of(fixture: Fixture) -> StreamPETRHead:
    """The head with the fixture's sizes and weights."""
    config = fixture.config
    shape = StreamPETRConfig(
        class_names=tuple(f"class_{index}" for index in range(config["classes"])),
        image_width=config["image_width"],
        image_height=config["image_height"],
        queries=config["learnt_queries"],
        propagated=config["propagated_queries"],
        remembered=config["remembered_per_frame"],
        memory_length=config["memory_length"],
        layers=config["layers"],
        heads=config["heads"],
        feed_forward=config["feedforward"],
        branch_layers=config["class_hidden_layers"],
        pc_range=tuple(config["pc_range"]),
        position_range=tuple(config["position_range"]),
        post_center_range=tuple(config["post_center_range"]),
        max_boxes=config["decoded_max"],
        depth_points=len(fixture.info["constants"]["coords_d"]),
        stride=config["stride"],
    )
    head = StreamPETRHead(shape).eval()
    weights = one_of_shared(fixture.weights(), ("cls_branches", "reg_branches"))
    weights = {key: tensor for key, tensor in weights.items() if key not in ("code_weights", "match_costs")}
    head.load_state_dict(weights)
    return head


def frames(fixture: Fixture, head: StreamPETRHead) -> Iterator[tuple[HeadOutput, dict[str, Tensor]]]:
    """Outputs of all frames, and of the modules whose stages are stored."""
    config, given = fixture.config, fixture.info["inputs"]
    poses = torch.from_numpy(fixture.arrays["input.ego_pose"]).double()
    stamps = fixture.arrays["input.timestamp"]
    cameras = torch.from_numpy(fixture.arrays["input.lidar2img"]).inverse()[None]
    intrinsics = torch.from_numpy(fixture.arrays["input.intrinsics"])[None]
    key, salts, shape = given["img_feats"]["key"], given["img_feats"]["salt_of_frame"], given["img_feats"]["shape"]
    memory, seen = head.empty_memory(), {}

    def record(name: str) -> None:
        def take(_module: object, _inputs: object, output: Tensor) -> None:
            seen.setdefault(name, []).append(output)

        head.get_submodule(name).register_forward_hook(take)

    for name in (*STAGES, *QUERY_STAGES):
        record(name)
    for index, salt in enumerate(salts):
        seen.clear()
        first = index in config["reset_before_frames"]
        before = index if first else index - 1
        motion = (poses[index].inverse() @ poses[before]).float()[None]
        elapsed = torch.tensor([float(stamps[index] - stamps[before])])
        continues = torch.tensor([0.0 if first else 1.0])
        moved = memory.moved(motion, elapsed, continues)
        positions = head.token_positions(intrinsics, cameras, config["token_rows"], config["token_columns"])
        features = standard(key.format(salt=salt, frame=index), shape)
        output = head(features, *positions, moved, continues)
        memory = output.memory
        yield output, _stages(seen)


def _stages(seen: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """What was seen inside, the rows that fixtures store."""
    found = {}
    for name in STAGES:
        found[name] = seen[name][0][0][[token for token in TOKENS if token < seen[name][0].shape[1]]]
    for name in QUERY_STAGES:
        for part, values in zip(("new", "memory"), seen[name], strict=True):
            found[f"{name}.{part}"] = values[0][ROWS]
    return found


@torch.inference_mode()
def compare(fixture: Fixture) -> Iterator[Comparison]:
    """Logits and boxes of all layers, decoded boxes, inner stages."""
    head, tolerance = head_of(fixture), fixture.info["tolerance"]
    most = fixture.config["decoded_max"]
    limits = torch.tensor(fixture.config["post_center_range"])
    for index, (output, stages) in enumerate(frames(fixture, head)):
        frame = f"frame{index}"
        stored = fixture.arrays
        yield fixture.compare(f"{frame}.logits", output.logits[:, 0], stored[f"{frame}.logits"], tolerance["logits"])
        yield boxes_compared(fixture, f"{frame}.boxes", output.boxes[:, 0].numpy())
        logits, boxes = output.logits[-1, 0], output.boxes[-1, 0]
        decoded, pairs = decode(logits, boxes, limits, most)
        scores = logits.sigmoid().flatten()[pairs]
        yield from decoded_compared(fixture, frame, decoded.numpy(), scores.numpy(), pairs.numpy(), logits.shape[-1])
        for name, values in stages.items():
            if f"{frame}.stage.{name}" in stored:
                yield fixture.compare(
                    f"{frame}.stage.{name}", values, stored[f"{frame}.stage.{name}"], tolerance["stages"]
                )


def boxes_compared(fixture: Fixture, output: str, mine: NDArray) -> Comparison:
    """Boxes by their two tolerances, in units of the one for centres."""
    stored, tolerance = fixture.arrays[output], fixture.info["tolerance"]
    scale = tolerance["boxes_centre_m"] / tolerance["boxes_other"]
    weights = np.array([1.0] * 3 + [scale] * (stored.shape[-1] - 3))
    return fixture.compare(output, mine * weights, stored * weights, tolerance["boxes_centre_m"])


def decoded_compared(
    fixture: Fixture, frame: str, boxes: NDArray, scores: NDArray, pairs: NDArray, classes: int
) -> Iterator[Comparison]:
    """Decoded boxes, matched by pair; only pairs as good as the last one, to the tolerance, may be missing."""
    stored = {name: fixture.arrays[f"{frame}.decoded.{name}"] for name in ("boxes", "labels", "pair", "scores")}
    tolerance = fixture.info["tolerance"]
    wanted = {int(pair): row for row, pair in enumerate(stored["pair"])}
    mine = {int(pair): row for row, pair in enumerate(pairs)}
    common = [pair for pair in wanted if pair in mine]
    lacking = [stored["scores"][wanted[pair]] - stored["scores"].min() for pair in wanted if pair not in mine]
    lacking += [scores[mine[pair]] - scores.min() for pair in mine if pair not in wanted]
    here, there = [mine[pair] for pair in common], [wanted[pair] for pair in common]
    off = float(np.abs(len(wanted) - len(mine)))
    yield Comparison(fixture.name, f"{frame}.decoded.pair", max([off, *lacking]), tolerance["decoded_scores"])
    labels = np.array(common) % classes
    yield fixture.compare(f"{frame}.decoded.labels", labels, stored["labels"][there], 0.0)
    yield fixture.compare(f"{frame}.decoded.scores", scores[here], stored["scores"][there], tolerance["decoded_scores"])
    difference = boxes[here] - stored["boxes"][there]
    difference[:, 6] = (difference[:, 6] + np.pi) % (2 * np.pi) - np.pi
    # Yaw has a tolerance of its own; here it is in units of the one for the rest.
    difference[:, 6] *= tolerance["decoded_boxes"] / tolerance["decoded_yaw"]
    yield fixture.compare(f"{frame}.decoded.boxes", difference, np.zeros_like(difference), tolerance["decoded_boxes"])

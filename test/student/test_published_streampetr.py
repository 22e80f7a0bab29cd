"""StreamPETR's head where the fixtures are not at hand: some of the original's numbers, and its quirks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.parity.checkpoints import COPIES
from bench.parity.fixtures import standard, weight
from semlt3d_ros.checkpoints.import_weights import one_of_shared
from semlt3d_ros.core import rigid
from semlt3d_ros.student.published.config import StreamPETRConfig
from semlt3d_ros.student.published.memory import QueryMemory
from semlt3d_ros.student.published.stream_head import decode
from semlt3d_ros.student.published.streampetr import StreamPETRHead

RULES = (
    {"match": r"reference_points\.weight$", "value": "u"},
    {"match": r"gamma\.bias$", "value": "1 + 0.05 * z"},
    {"match": r"(norms?\.\d|post_norm|time_embedding\.1|cls_branches\.\d\.[14])\.weight$", "value": "1 + 0.1 * z"},
    {"match": r"cls_branches\.\d\.6\.weight$", "value": "3.0 * z / fan_in ** 0.5"},
    {"match": r"cls_branches\.\d\.6\.bias$", "value": "0.5 * z - 2"},
    {"match": r"bias$", "value": "0.05 * z"},
    {"match": r"attentions\.\d\.attn\.(in_proj_weight|out_proj\.weight)$", "value": "1.5 * z / fan_in ** 0.5"},
    {"match": r"reg_branches\.\d\.4\.weight$", "value": "0.5 * z / fan_in ** 0.5"},
    {"match": r"query_embedding\.0\.weight$", "value": "2.0 * z / fan_in ** 0.5"},
    {"match": r".", "value": "z / fan_in ** 0.5"},
)
SALTS, SECONDS, STARTS = (2, 0, 9, 6, 0), (0.0, 0.5, 1.1, 1.5, 1.95), (0, 3)
ROWS, COLUMNS, CAMERAS = 4, 6, 6
ORIGINAL_LOGITS = {
    0: [[-0.00649, -6.50715, -5.54908], [0.15809, -6.54238, -5.4513], [-0.15551, -6.69372, -5.15311]],
    4: [[-0.99035, -4.35131, -3.81373], [-0.44963, -4.55674, -3.66186], [0.497, -5.29136, -5.40061]],
}
"""Of the last layer: queries 0, 17 and 55, the first three classes."""
ORIGINAL_BOXES = {
    0: [[49.8561, -11.4741, -4.0999, 0.0296, 0.0981], [28.2918, 15.5338, -3.2232, -0.0316, 0.0667]],
    4: [[50.0616, -15.3916, -4.0093, -0.0261, 0.0955], [31.0043, 12.3538, -2.945, -0.0184, 0.1451]],
}
"""Of the last layer: queries 0 and 17, x, y, z, logarithms of length and width."""
ORIGINAL_MEANS = {0: (-2.195959, -0.652138), 4: (-1.886356, 0.155830)}
"""Of all logits and all boxes."""


@pytest.fixture(scope="module")
def head():
    """Two layers, 40 learnt and 16 propagated queries, weights by the fixtures' rule."""
    config = StreamPETRConfig(
        tuple(f"class_{index}" for index in range(10)), image_width=96, image_height=64, queries=40, propagated=16,
        remembered=16, memory_length=64, layers=2,
    )  # fmt: skip
    module = StreamPETRHead(config).eval()
    fixed = ("pc_range", "position_range", "coords_d")
    shapes = {key: value.shape for key, value in module.state_dict().items() if key not in fixed}
    module.load_state_dict({key: weight(key, shape, RULES) for key, shape in shapes.items()}, strict=False)
    return module


def cameras():
    """Intrinsics and T_model_image of six cameras that look all around, each with focal lengths of its own."""
    intrinsics, poses = np.tile(np.eye(4), (CAMERAS, 1, 1)), np.zeros((CAMERAS, 4, 4))
    for view in range(CAMERAS):
        intrinsics[view, :2, :3] = [[560 + 10 * view, 0, 48], [0, 550 + 10 * view, 32]]
        mount = np.array([[0, 0, 1, 1.5], [-1, 0, 0, 0], [0, -1, 0, -0.3 + 0.02 * view], [0, 0, 0, 1]])
        poses[view] = rigid.planar(0.0, 0.0, 2 * np.pi * view / CAMERAS) @ mount
    given = torch.from_numpy(intrinsics)[None]
    return given.float(), (torch.from_numpy(poses)[None] @ given.inverse()).float()


def poses(index):
    return torch.from_numpy(rigid.planar(4.0 * index, 1.0 * index, 0.3 + 0.05 * index, 0.2))


@torch.inference_mode()
def test_the_original_s_numbers(head):
    memory, positions = head.empty_memory(), head.token_positions(*cameras(), ROWS, COLUMNS)
    for index, salt in enumerate(SALTS):
        first = index in STARTS
        before = index if first else index - 1
        motion = (poses(index).inverse() @ poses(before)).float()[None]
        continues = torch.tensor([0.0 if first else 1.0])
        moved = memory.moved(motion, torch.tensor([SECONDS[index] - SECONDS[before]]), continues)
        output = head(standard(f"img_feats/{salt}/{index}", (1, 6, 256, 4, 6)), *positions, moved, continues)
        memory = output.memory
        if index in ORIGINAL_LOGITS:
            logits, boxes = output.logits[:, 0], output.boxes[:, 0]
            assert logits[1][[0, 17, 55], :3].numpy() == pytest.approx(np.array(ORIGINAL_LOGITS[index]), abs=3e-4)
            assert boxes[1][[0, 17], :5].numpy() == pytest.approx(np.array(ORIGINAL_BOXES[index]), abs=6e-4)
            assert (logits.mean().item(), boxes.mean().item()) == pytest.approx(ORIGINAL_MEANS[index], abs=1e-4)


def test_a_token_gets_the_focal_lengths_of_the_camera_of_its_number(head):
    """The slip of the released code: token n those of camera n modulo 6."""
    _, cone = head.token_positions(*cameras(), ROWS, COLUMNS)
    focal = 0.56 + 0.01 * (torch.arange(CAMERAS * ROWS * COLUMNS) % CAMERAS)
    assert torch.allclose(cone[0, :, 0], focal)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_cameras(head, count):
    intrinsics, images = (each[:, :count] for each in cameras())
    memory, start = head.empty_memory(), torch.zeros(1)
    features = torch.randn(1, count, 256, ROWS, COLUMNS)
    with torch.inference_mode():
        output = head(features, *head.token_positions(intrinsics, images, ROWS, COLUMNS), memory, start)
    assert output.logits.shape == (2, 1, 56, 10) and output.boxes.isfinite().all()


def test_a_camera_that_is_masked_is_one_that_is_not_there_but_for_the_focal_slip(head):
    intrinsics, images = cameras()
    intrinsics = intrinsics[:, :1].expand(-1, CAMERAS, -1, -1)  # equal ones, so that their order does not matter
    features, start = torch.randn(1, CAMERAS, 256, ROWS, COLUMNS), torch.zeros(1)
    absent = torch.tensor([[False, False, True, False, False, False]])
    others = ~absent[0]
    with torch.inference_mode():
        masked = head(
            features, *head.token_positions(intrinsics, images, ROWS, COLUMNS), head.empty_memory(), start, absent
        )
        positions = head.token_positions(intrinsics[:, others], images[:, others], ROWS, COLUMNS)
        alone = head(features[:, others], *positions, head.empty_memory(), start)
    assert torch.allclose(masked.logits, alone.logits, atol=1e-4)


def test_memory_moved_step_by_step_is_memory_in_a_fixed_frame():
    """Points and poses carried over three motions are where the first frame's pose puts them."""
    torch.manual_seed(0)
    ones, seconds = torch.ones(1), torch.tensor([0.5])
    points, velocities = torch.randn(1, 20, 3) * 20, torch.randn(1, 20, 2)
    logits = torch.arange(20.0)[None, :, None]
    memory = QueryMemory.empty(1, 12, 4).remember(torch.randn(1, 20, 4), points, velocities, logits, 8)
    best = points[:, [19, 18, 17, 16, 15, 14, 13, 12]]
    assert torch.equal(memory.reference_point[:, :8], best) and memory.embedding.shape == (1, 12, 4)
    for index in range(1, 4):
        memory = memory.moved((poses(index).inverse() @ poses(index - 1)).float()[None], seconds, ones)
    T = (poses(3).inverse() @ poses(0)).float()
    expected = best @ T[:3, :3].T + T[:3, 3]
    assert torch.allclose(memory.reference_point[:, :8], expected, atol=1e-4)
    assert torch.allclose(memory.egopose[:, :8], T.expand(1, 8, 4, 4), atol=1e-5)
    assert torch.allclose(memory.timestamp, torch.full((1, 12, 1), 1.5))
    assert torch.equal(memory.velo[:, :8], velocities[:, [19, 18, 17, 16, 15, 14, 13, 12]])
    # What was never filled lies at the origin of the first frame, without a pose.
    assert torch.allclose(memory.reference_point[:, 8:], T[:3, 3].expand(1, 4, 3), atol=1e-5)
    assert not memory.egopose[:, 8:].any()
    begun = memory.moved(torch.eye(4)[None], seconds, torch.zeros(1))
    assert not any(values.any() for values in begun.tensors().values())


def test_decoded_boxes():
    """Best pairs first, sizes as length, width, height, centres outside the limits dropped."""
    logits = torch.tensor([[0.0, 3.0], [2.0, -9.0], [9.0, 9.0]])
    boxes = torch.tensor(
        [
            [1.0, 2.0, 0.5, math.log(4), math.log(2), math.log(1.5), 1.0, 0.0, 3.0, 4.0],
            [5.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0],
            [99.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        ]
    )
    limits = torch.tensor([-61.2, -61.2, -10.0, 61.2, 61.2, 10.0])
    decoded, pairs = decode(logits, boxes, limits, 5)
    assert pairs.tolist() == [1, 2, 0]
    assert decoded[0].tolist() == pytest.approx([1.0, 2.0, 0.5, 4.0, 2.0, 1.5, math.pi / 2, 3.0, 4.0])
    assert abs(decoded[1, 6].item()) == pytest.approx(math.pi)


def test_copies_of_shared_branches():
    tensors = {f"cls_branches.{copy}.0.bias": torch.ones(2) for copy in range(COPIES)} | {"other": torch.zeros(1)}
    assert list(one_of_shared(tensors, ("cls_branches",))) == ["cls_branches.0.0.bias", "other"]

"""The parts of Far3D that no fixture covers: feature pyramid, 2D boxes, depth bins, and cameras that are missing."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.student.published.config import Far3DConfig
from semlt3d_ros.student.published.far3d import Cameras, Far3D, Far3DHead, SampledAggregation
from semlt3d_ros.student.published.fpn import FPN
from semlt3d_ros.student.published.model import Motion, Views
from semlt3d_ros.student.published.yolox import Boxes2D, DepthBins, LevelOutput, YOLOXHead

BINS = DepthBins(50, 0.1, 110.0)


def head_2d(strides: tuple[int, ...] = (8, 16), classes: int = 3) -> YOLOXHead:
    return YOLOXHead(32, classes, strides, BINS).eval()


def level(views: int, rows: int, columns: int, objectness: torch.Tensor | None = None) -> LevelOutput:
    """A level whose classes are certain, so that a cell's score is that of its objectness (V, h, w)."""
    empty = torch.full((views, 1, rows, columns), -20.0)
    return LevelOutput(
        torch.full((views, 3, rows, columns), 20.0),
        torch.zeros(views, 4, rows, columns),
        empty if objectness is None else objectness[:, None],
        torch.zeros(views, 2, rows, columns),
    )


def test_the_pyramid_sums_from_coarse_to_fine_and_adds_a_level_on_the_last_output_as_it_is() -> None:
    torch.manual_seed(0)
    pyramid = FPN([3, 5, 7], 4, 5).eval()
    levels = [torch.randn(2, 3, 9, 13), torch.randn(2, 5, 5, 7), torch.randn(2, 7, 3, 4)]
    maps = pyramid(levels)
    assert [tuple(each.shape) for each in maps] == [
        (2, 4, 9, 13),
        (2, 4, 5, 7),
        (2, 4, 3, 4),
        (2, 4, 2, 2),
        (2, 4, 1, 1),
    ]
    coarse = pyramid.lateral_convs[2](levels[2])
    middle = pyramid.lateral_convs[1](levels[1]) + coarse[:, :, [0, 0, 1, 1, 2]][..., [0, 0, 1, 1, 2, 2, 3]]
    torch.testing.assert_close(maps[1], pyramid.fpn_convs[1](middle))
    assert (maps[2] < 0).any()  # so that a rectifier before the first further level would show
    torch.testing.assert_close(maps[3], pyramid.fpn_convs[3](maps[2]))
    torch.testing.assert_close(maps[4], pyramid.fpn_convs[4](maps[3].relu()))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 6), st.integers(1, 7))
def test_boxes_are_the_cells_that_no_neighbour_exceeds(seed: int, views: int, rows: int, columns: int) -> None:
    random = torch.Generator().manual_seed(seed)
    # Few different values, so that there are ties: all cells of a plateau are given out.
    scores = torch.randint(-4, 4, (views, rows, columns), generator=random).float()
    valid = torch.rand(views, generator=random) < 0.8
    found = head_2d().found([level(views, rows, columns, scores), level(views, 2, 1)], 0.1, valid, 1000)
    around = F.pad(scores, (1, 1, 1, 1), value=-torch.inf)
    wanted = [
        (view, row * columns + column)
        for view in range(views)
        for row in range(rows)
        for column in range(columns)
        if valid[view]
        and scores[view, row, column] == around[view, row : row + 3, column : column + 3].max()
        and scores[view, row, column].sigmoid() > 0.1
    ]
    assert list(zip(found.views.tolist(), found.cells.tolist(), strict=True)) == wanted
    torch.testing.assert_close(found.scores[:, 0], scores.flatten(1)[found.views, found.cells].sigmoid())


def test_of_too_many_boxes_the_best_are_kept_in_their_order() -> None:
    scores = torch.full((2, 5, 5), -20.0)
    scores[0, 0, 0], scores[0, 2, 2], scores[1, 4, 4], scores[1, 0, 4] = 0.1, 0.3, 0.2, 0.0
    found = head_2d().found([level(2, 5, 5, scores), level(2, 3, 3)], 0.1, torch.tensor([True, True]), 2)
    assert found.views.tolist() == [0, 1] and found.cells.tolist() == [12, 24]


def test_boxes_are_in_pixels_of_their_level() -> None:
    scores = torch.full((2, 2, 3), -20.0)
    scores[1, 1, 2] = 0.0
    fine, coarse = level(2, 4, 6), level(2, 2, 3, scores)
    coarse.boxes[1, :, 1, 2] = torch.tensor([0.25, -0.5, 1.0, 2.0])
    found = head_2d().found([fine, coarse], 0.1, torch.tensor([True, True]), 1000)
    assert found.views.tolist() == [1] and found.cells.tolist() == [4 * 6 + 1 * 3 + 2]
    torch.testing.assert_close(found.boxes[0], torch.tensor([36.0, 8.0, 16 * 2.718282, 16 * 7.389056]))
    torch.testing.assert_close(found.scores, torch.tensor([[0.5]]))


def test_depth_bins_grow_from_the_nearest_to_the_farthest() -> None:
    edges = BINS.edges(torch.arange(51.0))
    assert edges[0] == pytest.approx(0.1) and edges[50] == pytest.approx(110.0)
    growth = edges.diff()
    torch.testing.assert_close(growth.diff(), growth[:1].expand(49), rtol=1e-2, atol=1e-3)


def cameras(views: int, width: int = 64, height: int = 48) -> Cameras:
    """Cameras in a ring, looking outwards."""
    intrinsics = torch.tensor([[50.0, 0.0, 32.0], [0.0, 52.0, 24.0], [0.0, 0.0, 1.0]]).repeat(views, 1, 1)
    poses = []
    for view in range(views):
        angle = torch.tensor(2 * torch.pi * view / views)
        forward = torch.stack([angle.cos(), angle.sin(), torch.zeros(())])
        right = torch.stack([angle.sin(), -angle.cos(), torch.zeros(())])
        pose = torch.eye(4)
        pose[:3, :3] = torch.stack([right, torch.tensor([0.0, 0.0, -1.0]), forward], dim=1)
        pose[:3, 3] = torch.tensor([0.3, 0.1, 1.5])
        poses.append(pose.inverse())
    return Cameras(intrinsics, torch.stack(poses), torch.ones(views, dtype=torch.bool), width, height)


def perturbed(module: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return module.eval()


def small(classes: int = 4) -> Far3DConfig:
    return Far3DConfig(
        class_names=tuple("abcdefgh"[:classes]),
        image_width=64,
        image_height=48,
        queries=12,
        propagated=5,
        remembered=6,
        memory_length=15,
        layers=2,
        feed_forward=32,
        strides=(8, 16),
        points=3,
    )


def inputs(head: Far3DHead, views: int, boxes: int) -> tuple:
    torch.manual_seed(2)
    features = [torch.randn(views, 256, 6, 8), torch.randn(views, 256, 3, 4)]
    found = Boxes2D(
        torch.arange(boxes) % views,
        torch.arange(boxes) % 60,
        40 * torch.rand(boxes, 4),
        0.1 + 0.8 * torch.rand(boxes, 1),
    )
    return features, cameras(views), found, torch.rand(views, 51, 6, 8), head.empty_memory(), torch.zeros(1)


@torch.inference_mode()
@pytest.mark.parametrize("boxes", [0, 1, 7])
def test_any_number_of_2d_boxes_becomes_queries(boxes: int) -> None:
    config = small()
    head = perturbed(Far3DHead(config))
    output = head(*inputs(head, 3, boxes))
    assert output.logits.shape == (2, 1, 12 + boxes + 5, 4) and output.boxes.shape[-1] == 8
    assert output.memory.embedding.shape == (1, 15, 256)
    assert output.logits.isfinite().all() and output.boxes.isfinite().all()


@torch.inference_mode()
def test_a_certain_2d_box_spoils_nothing_and_a_broken_feature_is_not_hidden() -> None:
    head = perturbed(Far3DHead(small()))
    features, rig, boxes, depth, memory, continues = inputs(head, 3, 2)
    certain = replace(boxes, scores=torch.tensor([[1.0], [0.5]]))
    assert head(features, rig, certain, depth, memory, continues).logits.isfinite().all()
    features[0][0, :, 2, 3] = torch.nan
    assert not head(features, rig, boxes, depth, memory, continues).logits.isfinite().all()


@torch.inference_mode()
def test_a_missing_camera_is_as_none() -> None:
    head = perturbed(Far3DHead(small()))
    features, rig, boxes, depth, memory, continues = inputs(head, 3, 4)
    boxes = replace(boxes, views=boxes.views % 2)
    missing = [torch.cat([each[:2], torch.full_like(each[2:], 1e4)]) for each in features]
    some = replace(rig, valid=torch.tensor([True, True, False]))
    masked = head(missing, some, boxes, depth, memory, continues)
    two = Cameras(rig.intrinsics[:2], rig.T_camera_model[:2], rig.valid[:2], rig.width, rig.height)
    without = head([each[:2] for each in features], two, boxes, depth[:2], memory, continues)
    torch.testing.assert_close(masked.logits, without.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(masked.boxes, without.boxes, rtol=1e-4, atol=1e-4)
    all_of_them = head(features, rig, boxes, depth, memory, continues)
    assert not torch.allclose(all_of_them.logits, masked.logits, atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize(("width", "cell"), [(64, 3 * 8 + 2), (60, int(3 * 7.5 + 2))])
def test_the_depth_of_a_2d_box_is_read_where_the_original_reads_it(width: int, cell: int) -> None:
    """At the nearest cell; of an image that is no multiple of 8 wide, a row counts as the fraction of cells in it."""
    head, rig = Far3DHead(small()), cameras(1, width)
    depth = torch.zeros(1, 51, 6, 8)
    depth[0, 20].view(-1)[cell] = 1.0
    box = Boxes2D(
        torch.zeros(1).long(), torch.zeros(1).long(), torch.tensor([[16.0, 24.0, 5.0, 5.0]]), torch.ones(1, 1)
    )
    point = head.in_metres(head.lifted(box, depth, rig))[0]
    seen = rig.projection[0] @ torch.cat([point, torch.ones(1)])
    assert seen[2] == pytest.approx(float(BINS.edges(torch.tensor(20.0))), abs=1e-3)


@torch.inference_mode()
def test_features_are_sampled_where_points_are_seen() -> None:
    """Against a plain sum over all cameras, levels and points, the unseen ones included."""
    torch.manual_seed(3)
    layer = perturbed(SampledAggregation(8, 2, 3))
    rig, features = cameras(4), [torch.randn(4, 256, 6, 8), torch.randn(4, 256, 3, 4)]
    queries, position = torch.randn(20, 256), torch.randn(20, 256)
    centers = torch.randn(20, 3) * torch.tensor([20.0, 20.0, 2.0])
    found = layer(queries, position, centers, features, rig)

    points = centers[:, None] + layer.learnable_fc(queries).reshape(20, 3, 3)
    logits = torch.stack(
        [layer.weights_fc(queries + position + layer.cam_embed(each[:3].flatten())) for each in rig.projection], dim=1
    )
    shares = logits.reshape(20, -1, 8).softmax(dim=1).reshape(20, 4, 2, 3, 8)
    wanted = torch.zeros(20, 8, 32)
    for view, projection in enumerate(rig.projection):
        image = torch.cat([points, torch.ones(20, 3, 1)], -1) @ projection[:3].T
        place = image[..., :2] / image[..., 2:].clamp_min(1e-5) / torch.tensor([64.0, 48.0])
        for number, feature in enumerate(features):
            values = F.grid_sample(feature[view][None], 2 * place[None] - 1, align_corners=False)[0]
            values = values.reshape(8, 32, 20, 3).permute(2, 3, 0, 1)
            wanted += (values * shares[:, view, number][..., None]).sum(dim=1)
    torch.testing.assert_close(found, layer.output_proj(wanted.flatten(1)) + queries, rtol=1e-4, atol=1e-4)


def network() -> Far3D:
    """With a small backbone, whose 2D head finds something."""
    torch.manual_seed(4)
    model = Far3D(replace(small(), backbone="resnet10t", strides=(8, 16, 32, 64))).eval()
    for branch in model.image_head.multi_level_conv_obj:
        branch.bias.data.fill_(1.0)
    return model


def views(frames: int = 1, cameras_seen: int = 3) -> Views:
    rig = cameras(cameras_seen)
    images = torch.randint(0, 256, (frames, cameras_seen, 3, 48, 64), dtype=torch.uint8)
    return Views(
        images,
        rig.intrinsics.double().expand(frames, -1, -1, -1),
        rig.T_camera_model.double().inverse().expand(frames, -1, -1, -1),
        torch.ones(frames, cameras_seen, dtype=torch.bool),
    )


def after(seconds: float, continues: bool = True) -> Motion:
    return Motion(torch.eye(4)[None], torch.tensor([seconds]), torch.tensor([float(continues)]))


@torch.inference_mode()
def test_the_network_remembers_in_units_of_half_a_second() -> None:
    model, seen = network(), views()
    first = model(seen, model.empty_memory(), after(0.0, continues=False))
    assert first.logits.shape[2] > 12 + 5  # the learnt and the propagated ones, and some of 2D boxes
    second = model(seen, first.memory, after(0.5))
    third = model(seen, second.memory, after(0.1))
    assert third.memory.timestamp[0, :, 0].tolist() == pytest.approx([0.0] * 6 + [0.2] * 6 + [1.2] * 3)


@torch.inference_mode()
def test_the_network_takes_one_frame_at_a_time_and_knows_which_cameras_there_are() -> None:
    model, seen = network(), views(cameras_seen=2)
    with pytest.raises(ValueError, match="one frame at a time, not 2"):
        model(views(2), model.empty_memory(2), after(0.0, continues=False))
    none = replace(seen, valid=torch.zeros(1, 2, dtype=torch.bool))
    first = replace(seen, valid=torch.tensor([[True, False]]))
    both = model(seen, model.empty_memory(), after(0.0, continues=False)).logits
    one = model(first, model.empty_memory(), after(0.0, continues=False)).logits
    nothing = model(none, model.empty_memory(), after(0.0, continues=False)).logits
    assert both.shape[2] > one.shape[2] > nothing.shape[2] == 12 + 5
    assert nothing.isfinite().all()

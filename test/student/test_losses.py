"""Matching, losses and denoising on cases with known answers."""

import math
from dataclasses import replace

import pytest
import torch

from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.denoising import Denoiser
from semlt3d_ros.losses.image_losses import CenterLoss, DepthLoss, HeatLoss
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.matcher import match
from semlt3d_ros.losses.query_losses import AlignmentLoss, ClassLoss
from semlt3d_ros.losses.targets import Targets, collate_targets
from semlt3d_ros.losses.term import view_of
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import encode_boxes, project
from semlt3d_ros.student.image_head import ImageHead, ImageOutput, depth_bin_edges
from semlt3d_ros.student.student import StudentOutput


def perfect_layer(targets: Targets, extra: int = 6) -> LayerOutput:
    """Queries that hold the truth, in reverse order, after ``extra`` empty ones far away."""
    B, T = targets.classes.shape
    boxes = targets.boxes.flip(1).nan_to_num()
    logits = torch.full((B, extra + T, 18), -9.0)
    references = torch.cat([torch.full((B, extra, 3), 60.0), boxes[..., :3]], 1)
    codes = torch.cat([torch.zeros(B, extra, 10), encode_boxes(boxes, references[:, extra:])], 1)
    for b in range(B):
        for t in range(T):
            if targets.classes[b, t] >= 0:
                logits[b, extra + T - 1 - t, targets.classes[b, t]] = 9.0
    return LayerOutput(logits, codes, torch.full((B, extra + T), -4.0), references, torch.zeros(B, extra + T, 4))


def test_every_object_is_matched_to_its_own_query_and_losses_vanish(config, frames) -> None:
    targets = collate_targets(frames, 30.0, 0)
    layer = perfect_layer(targets)
    T = targets.classes.shape[1]
    for b, (queries, objects) in enumerate(match(layer, targets)):
        assert len(queries) == int((targets.classes[b] >= 0).sum())
        assert torch.equal(queries, 6 + T - 1 - objects)
    criterion = student_criterion(config, LossWeights())
    losses = criterion(StudentOutput([layer], [], None), targets, collate(frames, 96, 64))
    assert losses["classes"] < 1e-3 and losses["boxes"] < 1e-4
    worse = replace(layer, codes=layer.codes + 0.3)
    assert criterion(StudentOutput([worse], [], None), targets, collate(frames, 96, 64))["boxes"] > 0.5


def test_unknown_velocity_costs_nothing_and_no_objects_is_fine(config, frames) -> None:
    targets = collate_targets(frames, 30.0, 0)
    layer = perfect_layer(targets)
    targets.boxes[..., 7:] = torch.nan
    criterion = student_criterion(config, LossWeights())
    losses = criterion(StudentOutput([layer], [], None), targets, collate(frames, 96, 64))
    assert all(torch.isfinite(value) for value in losses.values()) and losses["boxes"] < 1e-4
    nothing = collate_targets([frames[1]], 30.0, 0)
    assert nothing.classes.shape == (1, 0) and Denoiser(18, 8)(nothing) is None
    empty = LayerOutput(
        layer.logits[:1], layer.codes[:1], layer.log_scale[:1], layer.references[:1], layer.embeddings[:1]
    )
    losses = criterion(StudentOutput([empty], [], None), nothing, collate([frames[1]], 96, 64))
    assert torch.isfinite(losses["classes"]) and losses["boxes"] == 0


def test_matching_survives_a_diverged_network(frames) -> None:
    targets = collate_targets(frames, 30.0, 0)
    layer = perfect_layer(targets)
    layer.codes[:, ::2] = torch.nan
    assert [len(rows) for rows, _ in match(layer, targets)] == [4, 0, 7]


def test_targets_leave_out_far_and_hidden_objects(frames) -> None:
    frame = frames[0]
    assert frame.labels is not None
    frame.labels.visible_pixels = torch.tensor([100, 3, -1, 50]).numpy()
    radius = float(torch.tensor(frame.labels.boxes.centers[3, :2]).norm()) - 0.1
    near = torch.tensor(frame.labels.boxes.centers[:, :2]).norm(dim=-1) <= radius
    near[1] = False
    assert (collate_targets([frame], radius, 6).classes >= 0).sum() == near.sum()


def test_class_losses_are_focal_with_known_values_and_gradients(frames) -> None:
    targets = collate_targets(frames[:1], 30.0, 0)
    layer = perfect_layer(targets)
    logits = torch.zeros_like(layer.logits).requires_grad_()
    output = StudentOutput([replace(layer, logits=logits, aligned=logits)], [], None)
    view = replace(view_of(output, targets, collate(frames[:1], 96, 64)), matches=[match(layer, targets)])
    losses, matches = {**ClassLoss(1.0)(view), **AlignmentLoss(1.0)(view)}, view.matches[0]
    objects, others = len(matches[0][0]), logits.numel() - len(matches[0][0])
    # At probability 1/2 the modulating factor is 1/4 and the entropy log 2; alpha is 1/4 for objects, else 3/4.
    expected = math.log(2) / 4 * (0.25 * objects + 0.75 * others) / objects
    assert losses["classes"].item() == pytest.approx(expected) and torch.equal(losses["alignment"], losses["classes"])
    (gradient,) = torch.autograd.grad(losses["classes"] * objects, logits)
    # d/dx of -(1 - p)^2 log p is -p (1 - p)^2 (2 log(1/p)) - (1 - p)^3, at 1/2: -(log 2) / 4 - 1 / 8; mirrored else.
    slope = math.log(2) / 4 + 1 / 8
    (rows, _), wanted = matches[0], gradient < 0
    assert wanted.sum() == objects and wanted[0, rows].any(dim=-1).all()
    assert torch.allclose(gradient, torch.where(wanted, -0.25, 0.75) * slope)


def test_image_losses_vanish_on_the_truth_and_depth_takes_the_nearest_point(config, frames) -> None:
    frame = frames[0]
    batch, targets = collate([frame], 96, 64), collate_targets([frame], 30.0, 0)
    heat = torch.full((1, 6, 18, 16, 24), -12.0)
    offset, log_depth = torch.zeros(1, 6, 2, 16, 24), torch.zeros(1, 6, 16, 24)
    pixels, depth = project(targets.boxes[..., :3], batch.intrinsics, batch.T_ego_camera)
    cells = (pixels + 0.5) / 4 - 0.5
    placed = 0
    for view in range(6):
        for target, kind in enumerate(targets.classes[0]):
            u, v = cells[0, view, target].round().long().tolist()
            if depth[0, view, target] > 0.5 and 0 <= u < 24 and 0 <= v < 16:
                heat[0, view, kind, v, u] = 12.0
                offset[0, view, :, v, u] = cells[0, view, target] - torch.tensor([u, v])
                log_depth[0, view, v, u] = depth[0, view, target].log()
                placed += 1
    image = ImageOutput(heat, offset, log_depth, torch.randn(1, 6, 8, 16, 24), 4)
    assert placed >= 4
    view = view_of(StudentOutput([perfect_layer(targets)], [], image), targets, batch)
    assert HeatLoss(1.0)(view)["heat"] < 1e-2 and CenterLoss(1.0)(view)["centers"] < 1e-4
    proposals = ImageHead.propose(image, torch.randn(1, 6, 32, 16, 24), batch, placed)
    distance = (proposals.points[0, :, None] - targets.boxes[0, None, :, :3]).norm(dim=-1)
    assert (distance.amin(0) < 1e-3).all(), "every object is proposed at its true place"

    pose = batch.T_ego_camera[0, 0]
    near, far = (pose @ torch.tensor([0.0, 0.0, z, 1.0]))[:3], (pose @ torch.tensor([0.0, 0.0, 3 * z, 1.0]))[:3]
    targets = replace(targets, points=[torch.stack([far, near])])
    truth = int(torch.bucketize(torch.tensor(z), depth_bin_edges(8, 30.0, torch.device("cpu"))))
    logits = torch.zeros(1, 6, 8, 16, 24)
    logits[:, :, truth] = 20.0
    view = replace(view, output=replace(view.output, image=replace(image, depth_logits=logits)), targets=targets)
    assert DepthLoss(1.0, config.range_m)(view)["depth"] < 1e-3


z = 7.0

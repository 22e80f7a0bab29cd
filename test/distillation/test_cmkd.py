"""CMKD's losses: values by hand, what counts and what does not, and the branch that training alone has."""

import math
from dataclasses import replace

import pytest
import torch

from semlt3d_ros.distillation.cmkd import (
    EMPTY_WEIGHT,
    BevBranch,
    CmkdLoss,
    cell_box_loss,
    feature_loss,
    quality_focal_loss,
    query_losses,
    taught_targets,
)
from semlt3d_ros.distillation.settings import Cmkd
from semlt3d_ros.losses.matcher import match
from semlt3d_ros.losses.term import view_of
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import encode_boxes
from semlt3d_ros.student.student import Student

KNOWN = torch.tensor([True, True, False])


def test_features_by_hand() -> None:
    said, taught = torch.zeros(2, 2, 1, 2), torch.zeros(2, 2, 1, 2)
    said[0, :, 0, 0] = torch.tensor([1.0, 3.0])  # an error of 5 in a cell with points
    said[0, :, 0, 1] = 2.0  # one of 4 in an empty one
    said[1] = 100.0  # never taught
    occupied = torch.tensor([[[True, False]], [[True, True]]])
    loss = feature_loss(said, taught, occupied, torch.tensor([True, False]))
    assert loss.item() == pytest.approx((5.0 + EMPTY_WEIGHT * 4.0) / (1.0 + EMPTY_WEIGHT))
    assert feature_loss(said, taught, occupied, torch.tensor([False, False])).item() == 0.0


def test_the_quality_focal_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, 1.0, 9.0], [-1.0, -2.0, 9.0]])
    taught = torch.tensor([[0.8, 0.0, 0.0], [0.0, 0.0, 0.0]])
    sigmoid = torch.tensor([[0.5, 1 / (1 + math.exp(-1))], [1 / (1 + math.e), 1 / (1 + math.exp(2))]])
    entropy = [[math.log(2), math.log(1 + math.e)], [math.log(1 + math.exp(-1)), math.log(1 + math.exp(-2))]]
    each = torch.tensor(entropy) * (sigmoid - taught[:, :2]).square()
    both = torch.tensor([True, True])
    # The teacher says something at one of the two places; of the last class it knows nothing.
    assert quality_focal_loss(logits, taught, both, KNOWN).item() == pytest.approx(each.sum().item(), rel=1e-5)
    first = quality_focal_loss(logits, taught, torch.tensor([True, False]), KNOWN)
    assert first.item() == pytest.approx(each[0].sum().item(), rel=1e-5)
    assert quality_focal_loss(torch.logit(taught.clamp(1e-7)), taught, both, KNOWN).item() == pytest.approx(
        0.0, abs=1e-6
    )


def test_boxes_of_cells_by_hand() -> None:
    taught = torch.full((1, 9, 1, 2), torch.nan)
    taught[0, :, 0, 0] = torch.tensor([0.1, -0.2, 1.0, 4.0, 2.0, 1.5, 0.5, 1.0, torch.nan])
    said = torch.zeros(1, 10, 1, 2)
    exact = [0.1, -0.2, 1.0, math.log(4), math.log(2), math.log(1.5), math.sin(0.5), math.cos(0.5), 1.0, 7.0]
    said[0, :, 0, 0] = torch.tensor(exact)
    score = torch.tensor([[[0.6, 0.05]]])
    assert cell_box_loss(said, taught, score).item() == pytest.approx(0.0, abs=1e-12)
    said[0, 2, 0, 0] += 0.4  # half of its square, weight 1; the teacher's 0.6 goes in and is divided by 1
    said[0, 8, 0, 0] += 3.0  # smooth L1 of 2.5, weight 0.05
    assert cell_box_loss(said, taught, score).item() == pytest.approx(0.6 * (0.08 + 0.05 * 2.5), rel=1e-5)
    assert cell_box_loss(said, taught, score * 0.1).item() == 0.0  # not sure enough


def layer_like(targets, scores) -> LayerOutput:
    """A layer that says what the teacher says, and nothing elsewhere."""
    references = torch.cat([targets.boxes[..., :3] + 0.5, torch.full((2, 2, 3), 15.0)], 1)
    boxes = torch.cat([targets.boxes.nan_to_num(0.0), torch.tensor([15.0, 15, 1, 2, 2, 2, 0, 0, 0]).expand(2, 2, 9)], 1)
    wanted = torch.cat([scores, torch.zeros(2, 2, 3)], 1).clamp(1e-7, 1 - 1e-7)
    return LayerOutput(
        torch.logit(wanted), encode_boxes(boxes, references), torch.zeros(2, 4), references, torch.zeros(2, 4, 8)
    )


def losses_of(layer, signal, targets, counted=None):
    taught = taught_targets(signal, targets)
    counted = signal.there[:, None].expand(2, 4) if counted is None else counted
    return query_losses(layer, taught, signal.scores, match(layer, taught), counted, signal.known)


def test_queries_that_say_what_the_teacher_says_have_no_loss(signal, targets) -> None:
    layer = layer_like(targets, signal.scores)
    classes, codes = losses_of(layer, signal, targets)
    assert classes.item() == pytest.approx(0.0, abs=1e-5) and codes.item() == pytest.approx(0.0, abs=1e-5)
    # The second box's velocity is unknown: nothing is said about it.
    layer.codes[0, 1, 8:] += 5.0
    assert losses_of(layer, signal, targets)[1].item() == pytest.approx(0.0, abs=1e-5)
    # A height that is off by 1 counts as much as the teacher is sure: 0.6 of 0.8 + 0.6.
    layer.codes[0, 1, 2] += 1.0
    assert losses_of(layer, signal, targets)[1].item() == pytest.approx(0.6 / 1.4, rel=1e-4)


def test_queries_where_the_teacher_cannot_look_do_not_count(signal, targets) -> None:
    layer = layer_like(targets, signal.scores)
    layer.logits[0, 2, 0] = 2.0  # a car that the teacher does not see
    layer.logits[1, :, 0] = 2.0  # a frame that it has not seen
    layer.logits[0, 3, 2] = 2.0  # a class that it does not know
    counted = signal.there[:, None].expand(2, 4).clone()
    seen = losses_of(layer, signal, targets, counted)[0].item()
    sigmoid = 1 / (1 + math.exp(-2))
    assert seen == pytest.approx(math.log(1 + math.exp(2)) * sigmoid**2 / 2, rel=1e-4)  # two queries are taught
    counted[0, 2] = False
    assert losses_of(layer, signal, targets, counted)[0].item() == pytest.approx(0.0, abs=1e-5)


@pytest.fixture
def step(config, batch, targets, signal):
    student = Student(config).train()
    return student, view_of(student(batch), targets, batch, signal=signal)


NAMES = {"cmkd_features", "cmkd_heat", "cmkd_boxes", "cmkd_classes", "cmkd_codes"}


def test_everything_reaches_the_student_and_nothing_the_teacher(config, step) -> None:
    student, view = step
    loss = CmkdLoss(Cmkd(frames=1.0), BevBranch(config, 6))
    losses = loss(view)
    assert set(losses) == NAMES and all(torch.isfinite(each) and each > 0 for each in losses.values())
    for name, value in losses.items():
        student.zero_grad()
        value.backward(retain_graph=True)
        moved = [n for n, p in student.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]
        # What is on the map is of image features and depths, what is of queries is of the decoder too.
        assert any(n.startswith("features.backbone") for n in moved), name
        assert any(n.startswith("decoder") for n in moved) == (name in ("cmkd_classes", "cmkd_codes")), name
    assert not view.signal.bev.requires_grad


def test_the_first_stage_learns_features_alone(config, step) -> None:
    _, view = step
    loss = CmkdLoss(Cmkd(frames=1.0, first_stage=0.5), BevBranch(config, 6))
    before, after = loss(replace(view, share=0.4)), loss(replace(view, share=0.6))
    assert {name for name, value in before.items() if value > 0} == {"cmkd_features"}
    assert all(value > 0 for value in after.values())


def test_frames_that_were_not_taught_change_nothing(config, step) -> None:
    _, view = step
    branch = BevBranch(config, 6)
    branch.eval()  # statistics of the other frame would change the maps
    loss = CmkdLoss(Cmkd(frames=1.0), branch)
    losses = loss(view)
    signal = view.signal
    noise = {name: getattr(signal, name).clone() for name in ("bev", "heat", "cells", "boxes")}
    for values in noise.values():
        values[1] = 0.7
    again = loss(replace(view, signal=replace(signal, **noise)))
    assert {name: value.item() for name, value in losses.items()} == {n: v.item() for n, v in again.items()}
    assert loss(replace(view, signal=None)) == {}
    nobody = replace(signal, there=torch.zeros(2, dtype=torch.bool), scores=signal.scores * 0.0)
    nothing = loss(replace(view, signal=nobody))
    assert all(value.item() == 0.0 for value in nothing.values())


def test_a_share_of_the_frames_is_looked_at_on_the_map(config, step) -> None:
    _, view = step
    branch, seen = BevBranch(config, 6), []
    branch.register_forward_hook(lambda module, given, said: seen.append((len(given[0]), given[0])))
    loss = CmkdLoss(Cmkd(frames=0.5), branch)
    values = [loss(view)["cmkd_features"].item() for _ in range(12)]
    assert {count for count, _ in seen} == {1}
    # Now the frame that was taught, now the other one, of which nothing is learnt.
    assert min(values) == 0.0 and max(values) > 0.0


def test_weights_are_factors_and_a_student_may_follow_the_answers_alone(config, step) -> None:
    _, view = step
    one, two = (CmkdLoss(Cmkd(features=w, heat=w, boxes=w, query_classes=w, query_codes=w), None) for w in (1.0, 2.0))
    assert set(one(view)) == {"cmkd_classes", "cmkd_codes"}
    assert all(two(view)[name].item() == pytest.approx(2 * value.item()) for name, value in one(view).items())
    mapped = CmkdLoss(Cmkd(frames=1.0, query_classes=0.0, query_codes=0.0), BevBranch(config, 6))
    assert set(mapped(view)) == {"cmkd_features", "cmkd_heat", "cmkd_boxes"}


def test_mixed_precision_says_nearly_the_same(config, batch, targets, signal) -> None:
    student, loss = Student(config).eval(), CmkdLoss(Cmkd(frames=1.0), BevBranch(config, 6))
    student.image_head.train()  # which gives depths in training alone
    exact = loss(view_of(student(batch), targets, batch, signal=signal))
    with torch.autocast("cpu", torch.bfloat16):
        output = student(batch)
    rough = loss(view_of(output, targets, batch, signal=signal))
    for name, value in exact.items():
        # Which query answers to what depends on digits, in a student that has learnt nothing.
        near = 0.05 if name in ("cmkd_features", "cmkd_heat", "cmkd_boxes") else 0.5
        assert torch.isfinite(rough[name]) and rough[name].item() == pytest.approx(value.item(), rel=near), name


def test_the_map_follows_the_axes_of_augmentation(config, batch, targets, signal) -> None:
    """A world that is turned and mirrored for the student is the same to the teacher."""
    T = torch.tensor([[0.0, 1.0, 0.0, 2.0], [1.0, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    T = T.expand(2, 4, 4)
    student, branch = Student(config).eval(), BevBranch(config, 6).eval()
    student.image_head.train()
    output, moved = student(batch), replace(batch, T_ego_camera=T[:, None] @ batch.T_ego_camera)
    on_map = CmkdLoss(Cmkd(frames=1.0, query_classes=0.0, query_codes=0.0), branch)
    plain = on_map(view_of(output, targets, batch, signal=signal))
    turned = on_map(view_of(output, targets.transformed(T), moved, signal=signal))
    for name, value in plain.items():
        assert turned[name].item() == pytest.approx(value.item(), rel=1e-3), name
    boxes, wanted = taught_targets(signal, targets.transformed(T)).boxes, targets.transformed(T).boxes
    assert torch.allclose(boxes[0].nan_to_num(), wanted[0].nan_to_num(), atol=1e-5)

"""Losses of the LiDAR teacher: by hand, their gradients, what they leave out."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.teacher_losses import box_loss, heat_loss, point_loss, teacher_losses
from semlt3d_ros.losses.teacher_targets import TaskTargets, center_targets
from semlt3d_ros.losses.teacher_weights import TeacherLossWeights
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import Teacher, TeacherOutput

WEIGHTS = TeacherLossWeights()


def one_center() -> TaskTargets:
    """A row of three cells: the centre of the only class, half of its heat beside it, nothing beyond."""
    where = torch.tensor([0])
    return TaskTargets(torch.tensor([[[[1.0, 0.5, 0.0]]]]), where, where, where, where, torch.zeros(1, 10))


def perfect_maps(wanted: TaskTargets, sure: float = 30.0) -> dict[str, Tensor]:
    """Maps that say exactly what they should, and of velocities that are not known, something."""
    heat = torch.full_like(wanted.heat, -sure)
    heat[wanted.cloud, wanted.label, wanted.row, wanted.column] = sure
    maps = {"heat": heat}
    parts = wanted.values.nan_to_num(7.0).split([2, 1, 3, 2, 2], 1)
    for name, values in zip(("offset", "height", "size", "heading", "velocity"), parts, strict=True):
        maps[name] = torch.zeros(len(heat), values.shape[1], *heat.shape[2:])
        maps[name][wanted.cloud, :, wanted.row, wanted.column] = values
    return maps


def clouds() -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.rand(count, 5, generator=generator) * 6 - 3 for count in (60, 40)]


def looked(config: TeacherConfig) -> TeacherOutput:
    torch.manual_seed(0)
    return Teacher(config).eval()(clouds())


def test_heat_is_a_focal_loss_of_known_value_and_gradient() -> None:
    logits = torch.zeros(1, 1, 1, 3, requires_grad=True)
    loss = heat_loss(logits, one_center())
    # At one half the entropy is log 2 and the pull a quarter; beside the centre (1 - 0.5)^4 of it.
    assert loss.item() == pytest.approx(math.log(2) / 4 * (1 + 1 / 16 + 1))
    (gradient,) = torch.autograd.grad(loss, logits)
    # Of p^2 log(1 / (1 - p)): 2 p^2 (1 - p) log 2 + p^3, at one half.
    slope = math.log(2) / 4 + 1 / 8
    assert gradient.flatten().tolist() == pytest.approx([-slope, slope / 16, slope])


def test_heat_where_nobody_looked_costs_nothing_but_centres_count() -> None:
    logits = torch.tensor([[[[0.3, -0.2, 1.0]]]], requires_grad=True)
    judged = torch.tensor([[[False, True, False]]])
    (gradient,) = torch.autograd.grad(heat_loss(logits, one_center(), judged), logits)
    (everywhere,) = torch.autograd.grad(heat_loss(logits, one_center()), logits)
    assert torch.equal(gradient[..., :2], everywhere[..., :2]) and gradient[..., 2] == 0 != everywhere[..., 2]


def test_boxes_cost_their_distance_and_moving_ones_more(config) -> None:
    where = torch.zeros(2, dtype=torch.int64)
    column = torch.tensor([0, 1])
    values = torch.zeros(2, 10)
    values[0, 8:] = torch.tensor([0.3, 0.4])  # stands: 0.5 m/s
    values[1, 8:] = torch.tensor([0.6, 0.8])
    wanted = TaskTargets(torch.zeros(1, 1, 1, 2), where, where, where, column, values)
    maps = {
        name: torch.full((1, width, 1, 2), level, requires_grad=True)
        for name, width, level in (
            ("offset", 2, 0.1), ("height", 1, 1.0), ("size", 3, -0.5), ("heading", 2, 2.0), ("velocity", 2, 0.0),
        )
    }  # fmt: skip
    loss = box_loss(maps, wanted, config)
    plain = 2 * 0.1 + 1.0 + 3 * 0.5 + 2 * 2.0
    assert loss.item() == pytest.approx(2 * plain + 0.5 * 0.7 + 0.5 * 4 * 1.4)
    loss.backward()
    assert maps["size"].grad.unique().tolist() == [-1.0] and maps["heading"].grad.unique().tolist() == [1.0]
    assert maps["velocity"].grad[0, 0, 0].tolist() == [-0.5, -2.0]
    still = replace(config, velocity=False)
    alone = {name: values for name, values in maps.items() if name != "velocity"}
    assert box_loss(alone, wanted, still).item() == pytest.approx(2 * plain)


def test_what_is_not_known_of_a_box_costs_nothing(config) -> None:
    values = torch.zeros(1, 10)
    values[0, 8:] = math.nan
    wanted = replace(one_center(), values=values)
    maps = {name: v.requires_grad_() for name, v in perfect_maps(wanted).items()}
    loss = box_loss(maps, wanted, config)
    loss.backward()
    assert loss == 0 and maps["velocity"].grad.abs().sum() == 0
    assert all(v.grad.isfinite().all() for name, v in maps.items() if name != "heat")


def test_only_cells_of_centres_learn_boxes(config, targets) -> None:
    wanted = center_targets(targets, config, config.grid)[0]
    maps = {name: (v + 1.0).requires_grad_() for name, v in perfect_maps(wanted).items()}
    box_loss(maps, wanted, config).backward()
    learns = maps["height"].grad[:, 0].nonzero()
    assert learns.tolist() == torch.stack([wanted.cloud, wanted.row, wanted.column], 1).tolist()


def test_points_of_rare_classes_count_more() -> None:
    logits = torch.zeros(6, 2, requires_grad=True)
    classes = torch.tensor([0, 0, 0, 0, 1, -1])
    loss = point_loss(logits, classes)
    # Every known point costs log 2, whatever it counts.
    assert loss.item() == pytest.approx(math.log(2))
    (gradient,) = torch.autograd.grad(loss, logits)
    # One of the rare class counts twice as much as one of four times as many: 4 * 1 + 1 * 2 in all.
    assert gradient[:, 0].tolist() == pytest.approx([-0.5 / 6] * 4 + [1 / 6, 0.0])
    many = torch.tensor([0] * 9_999 + [1])
    (gradient,) = torch.autograd.grad(point_loss(again := torch.zeros(10_000, 2, requires_grad=True), many), again)
    assert (gradient[-1, 0] / -gradient[0, 0]).item() == pytest.approx(5.0, rel=1e-4)


def test_points_of_which_nothing_is_known_cost_nothing() -> None:
    for count in (0, 3):
        logits = torch.randn(count, 4, requires_grad=True)
        loss = point_loss(logits, torch.full((count,), -1))
        loss.backward()
        assert loss == 0 and logits.grad.abs().sum() == 0


def test_what_is_perfect_costs_nothing(config, targets) -> None:
    tasks = [perfect_maps(wanted) for wanted in center_targets(targets, config, config.grid)]
    output = looked(config)
    classes = [torch.arange(len(each)) % 4 for each in clouds()]
    kept = torch.cat(classes)[output.pillars.kept]
    output = replace(output, tasks=tasks, point_logits=torch.nn.functional.one_hot(kept, 4) * 60.0)
    losses = teacher_losses(output, targets, classes, config, config.grid, WEIGHTS)
    assert set(losses) == {"heat", "boxes", "points"} and all(value.item() < 1e-6 for value in losses.values())


def test_losses_are_counted_by_object_and_weighted(config, targets) -> None:
    tasks = [perfect_maps(wanted) for wanted in center_targets(targets, config, config.grid)]
    for maps in tasks:
        maps["height"] = maps["height"] + 1.0
    output = replace(looked(config), tasks=tasks, point_logits=None)
    losses = teacher_losses(output, targets, [], config, config.grid, TeacherLossWeights(heat=3.0, boxes=0.5))
    # One metre for each of two vehicles, and for the adult: each task is divided by its own objects.
    assert losses["boxes"].item() == pytest.approx(0.5 * (2 / 2 + 1 / 1)) and "points" not in losses
    assert losses["heat"].item() == pytest.approx(0.0, abs=1e-5)
    doubled = teacher_losses(output, targets, [], config, config.grid, TeacherLossWeights(boxes=1.0))
    assert doubled["boxes"].item() == pytest.approx(2 * losses["boxes"].item())


def test_without_objects_the_background_is_learnt_and_nothing_else(config, nothing) -> None:
    output = looked(config)
    unknown = [torch.full((len(each),), -1) for each in clouds()]
    losses = teacher_losses(output, nothing, unknown, config, config.grid, WEIGHTS)
    assert losses["heat"] > 0 and losses["boxes"] == 0 and losses["points"] == 0
    sum(losses.values()).backward()


def test_every_parameter_of_the_teacher_learns(config, targets) -> None:
    torch.manual_seed(0)
    teacher = Teacher(config).train()
    classes = [torch.arange(len(each)) % 4 for each in clouds()]
    targets.boxes.nan_to_num_(1.0)
    losses = teacher_losses(teacher(clouds()), targets, classes, config, config.grid, WEIGHTS)
    sum(losses.values()).backward()
    idle = [name for name, values in teacher.named_parameters() if values.grad is None or not values.grad.any()]
    assert idle == [] and all(values.grad.isfinite().all() for values in teacher.parameters())


def test_half_precision_gives_losses_in_full(config, targets) -> None:
    torch.manual_seed(0)
    teacher = Teacher(config).eval()
    classes = [torch.arange(len(each)) % 4 for each in clouds()]
    with torch.autocast("cpu", torch.bfloat16):
        output = teacher(clouds())
        losses = teacher_losses(output, targets, classes, config, config.grid, WEIGHTS)
    assert output.tasks[0]["heat"].dtype == torch.bfloat16
    assert all(value.dtype == torch.float32 for value in losses.values())
    full = teacher_losses(teacher(clouds()), targets, classes, config, config.grid, WEIGHTS)
    for name, value in losses.items():
        assert value.item() == pytest.approx(full[name].item(), rel=0.02)
    sum(losses.values()).backward()


def test_processes_that_share_a_step_add_up_to_one(config, targets) -> None:
    """Two processes with the same frames: their totals are twice what each has, their losses half of one's."""
    output = looked(config)
    classes = [torch.arange(len(each)) % 4 for each in clouds()]
    alone = teacher_losses(output, targets, classes, config, config.grid, WEIGHTS)
    shared = teacher_losses(output, targets, classes, config, config.grid, WEIGHTS, lambda values: values * 2)
    for name, value in alone.items():
        assert shared[name].item() == pytest.approx(value.item() / 2, rel=1e-5), name


def test_padding_is_no_object(config, targets) -> None:
    output = looked(config)
    padded = Targets(
        torch.cat([targets.boxes, torch.zeros(2, 3, 9)], 1), torch.cat([targets.classes, torch.full((2, 3), -1)], 1), []
    )
    classes = [torch.zeros(len(each), dtype=torch.int64) for each in clouds()]
    plain, more = (teacher_losses(output, t, classes, config, config.grid, WEIGHTS) for t in (targets, padded))
    assert plain == more

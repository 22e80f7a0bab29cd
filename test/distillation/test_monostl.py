"""MonoSTL's losses: values by hand, what counts and what does not, and who learns from whom."""

import math
from dataclasses import replace

import pytest
import torch

from semlt3d_ros.distillation.monostl import (
    OFF_IMAGE_WEIGHT,
    MonoStlLoss,
    cell_weights,
    depth_uncertainty,
    feature_loss,
    need_of_help,
    sureness,
)
from semlt3d_ros.distillation.relations import relation_loss
from semlt3d_ros.distillation.sampling import regions_of
from semlt3d_ros.distillation.settings import MonoStl
from semlt3d_ros.losses.signal import DepthSignal, ImageSignals, Looked
from semlt3d_ros.losses.term import view_of
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.augmentation import mirrored, rotated

NAMES = {"monostl_features", "monostl_relations", "monostl_query_features", "monostl_query_relations"}
BOTH = torch.tensor([True, True])


def test_features_by_hand() -> None:
    said, taught = (
        torch.tensor([[1.0, 3.0], [0.0, 0.0], [5.0, 5.0]]),
        torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]]),
    )
    # Half of the mean squares 5, 2 and 25, by their weights, over four places of all processes.
    loss = feature_loss(said, taught, torch.tensor([0.8, 0.5, 0.0]), torch.tensor(4.0))
    assert loss.item() == pytest.approx((2.5 * 0.8 + 1.0 * 0.5) / 4)
    assert feature_loss(taught, taught, torch.ones(3), torch.tensor(3.0)).item() == 0.0


def test_relations_by_hand() -> None:
    said = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [1.0, 1.0]])
    taught = torch.tensor([[1.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    frame = torch.tensor([0, 0, 0, 1])  # the last one is alone in its frame
    weight = torch.tensor([[9.0, 1.0, 2.0, 9.0], [1.0, 9.0, 0.5, 9.0], [2.0, 0.5, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0]])
    # Cosines 0, 1, 0 where the teacher has 1, 0, 0.
    expected = 0.5 * (1.0 * 1 + 2.0 * 1 + 0.5 * 0) / (1.0 + 2.0 + 0.5)
    assert relation_loss(said, taught, frame, weight).item() == pytest.approx(expected)
    assert relation_loss(3.0 * taught, taught, frame, weight).item() == pytest.approx(0.0, abs=1e-6)
    assert relation_loss(said[:1], taught[:1], frame[:1], weight[:1, :1]).item() == 0.0
    assert relation_loss(said[:0], taught[:0], frame[:0], weight[:0, :0]).item() == 0.0


def test_weights_by_uncertainty_by_hand() -> None:
    assert need_of_help(torch.tensor([0.5, 1.0, 2.0, 10.0])).tolist() == pytest.approx([0.0, 0.0, 0.5, 0.9])
    sure = sureness(torch.tensor([1.0, 2.0]))
    assert sure.tolist() == [pytest.approx([1 / 2, 1 / 5]), pytest.approx([1 / 5, 1 / 8])]
    # Surer than anybody can be counts as a quarter of a metre.
    assert sureness(torch.tensor([1e-6]))[0, 0].item() == pytest.approx(8.0)


def test_uncertainty_is_in_metres(config, batch) -> None:
    layer = Student(config).eval()(batch).layers[-1]
    layer = replace(layer, log_scale=torch.full_like(layer.log_scale, math.log(0.5)))
    layer.references[0, 0] = torch.tensor([30.0, 40.0, 1.0])
    assert depth_uncertainty(layer)[0, 0].item() == pytest.approx(0.5 * (1 + 0.1 * 50))


def test_objects_are_found_in_the_views(batch, targets) -> None:
    regions = regions_of(targets, batch, BOTH)
    # One is ahead and seen by the camera to the front, the other one behind.
    assert regions.seen[0].tolist() == [[True, False], [False, True]] and not regions.seen[1].any()
    assert torch.equal(regions.centered, regions.seen)
    left, top, right, bottom = regions.bounds[0, 0, 0].tolist()
    assert left < 31.5 - 40 / 12 < right and top < 12 + 40 * 0.7 / 12 < bottom
    batch.valid[0, 0] = False
    assert not regions_of(targets, batch, BOTH).seen[0, 0].any()
    assert not regions_of(targets, batch, torch.tensor([False, True])).seen.any()


def test_an_object_at_the_edge_is_seen_without_its_centre(batch, targets) -> None:
    targets.boxes[0, 0, :2] = torch.tensor([6.0, 5.2])
    regions = regions_of(targets, batch, BOTH)
    assert regions.seen[0, 0, 0] and not regions.centered[0, 0, 0]
    assert regions.bounds[0, 0, 0, 0].item() == -0.5  # to the border, not beyond


def test_cells_by_hand(batch, targets) -> None:
    regions = regions_of(targets, batch, BOTH)
    regions.bounds[0, 0, 0] = torch.tensor([7.6, 8.0, 16.2, 15.4])
    inside, weight = cell_weights(regions, torch.full((2, 2, 2), 0.3), 8, 4, 8)
    # Pixels 7.6 to 16.2 reach into the cells 1 and 2, 8 to 15.4 into cell 1.
    assert inside[0, 0].nonzero().tolist() == [[1, 1], [1, 2]]
    assert weight[0, 0][inside[0, 0]].tolist() == pytest.approx([0.3, 0.3]) and weight[
        0, 0
    ].sum().item() == pytest.approx(0.6)
    # What counts nothing is in a box all the same; of two boxes the greater weight counts.
    inside, weight = cell_weights(regions, torch.zeros(2, 2, 2), 8, 4, 8)
    assert inside[0, 0].sum() == 2 and weight.sum() == 0
    regions.seen[0, 0, 1], regions.bounds[0, 0, 1] = True, regions.bounds[0, 0, 0]
    _, weight = cell_weights(regions, torch.tensor([0.3, 0.7]).expand(2, 2, 2), 8, 4, 8)
    assert weight[0, 0, 1, 1].item() == pytest.approx(0.7)
    none = replace(regions, seen=torch.zeros_like(regions.seen))
    assert not cell_weights(none, torch.ones(2, 2, 2), 8, 4, 8)[0].any()


def signal_of(output, batch, there=BOTH, T=None) -> DepthSignal:
    """What a teacher says that has given this output for this batch."""
    T = torch.eye(4).repeat(2, 1, 1) if T is None else T
    looked = Looked(there, batch.intrinsics, batch.T_ego_camera, T)
    layer = replace(output.layers[-1].part(slice(None)), routing=None)
    for name in ("logits", "codes", "log_scale", "embeddings"):
        layer = replace(layer, **{name: getattr(layer, name).detach()})
    return DepthSignal(looked, [f.detach().permute(0, 1, 3, 4, 2) for f in output.features], layer)


def in_half(view):
    """A step whose student has computed in bfloat16, but for the digits that decide which query answers to what."""
    layer, features = view.layers[-1], [values.bfloat16() for values in view.output.features]
    half = {name: getattr(layer, name).bfloat16() for name in ("embeddings", "log_scale")}
    return replace(view, output=replace(view.output, features=features), layers=[replace(layer, **half)])


@pytest.fixture
def step(config, batch, targets):
    student = Student(config).train()
    teacher = Student(replace(config, input="depth")).eval()
    with torch.no_grad():
        taught = signal_of(teacher(batch), batch)
    return student, view_of(student(batch), targets, batch, images=ImageSignals(taught))


def test_everything_reaches_the_student_and_nothing_the_teacher(config, step) -> None:
    student, view = step
    loss = MonoStlLoss(MonoStl("teacher"), config)
    losses = loss(view)
    assert set(losses) == NAMES and all(torch.isfinite(each) and each > 0 for each in losses.values())
    for name, value in losses.items():
        student.zero_grad()
        value.backward(retain_graph=True)
        moved = [n for n, p in student.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]
        assert any(n.startswith("features.backbone") for n in moved), name
        assert any(n.startswith("decoder") for n in moved) == name.startswith("monostl_query"), name
    taught = view.images.depth
    assert not any(each.requires_grad for each in (*taught.features, taught.layer.embeddings, taught.layer.log_scale))


def test_a_perfect_student_has_no_loss(config, batch, targets) -> None:
    output = Student(config).eval()(batch)
    view = view_of(output, targets, batch, images=ImageSignals(signal_of(output, batch)))
    for name, value in MonoStlLoss(MonoStl("teacher"), config)(view).items():
        assert value.item() == pytest.approx(0.0, abs=1e-6), name


def test_a_mirrored_and_turned_world_is_compared_where_it_is_the_same(config, batch, targets) -> None:
    """The teacher has looked at the mirrored frames; then the student's axes were turned, which changes no map."""
    student, which = Student(config).eval(), torch.tensor([True, True])
    seen, moved = mirrored(batch, targets, which)
    with torch.no_grad():
        taught = signal_of(student(seen), seen, T=moved.T_ego_recorded)
    turned, moved = rotated(seen, moved, torch.tensor([0.7, -2.0]))
    output = student(turned)
    losses = MonoStlLoss(MonoStl("teacher"), config)(view_of(output, moved, turned, images=ImageSignals(taught)))
    assert losses["monostl_features"].item() == pytest.approx(0.0, abs=1e-5)
    assert losses["monostl_relations"].item() == pytest.approx(0.0, abs=1e-4)
    # A teacher that had looked at the other side would be another one.
    taught.looked = replace(taught.looked, T_ego_recorded=torch.eye(4).repeat(2, 1, 1))
    wrong = MonoStlLoss(MonoStl("teacher"), config)(view_of(output, moved, turned, images=ImageSignals(taught)))
    assert wrong["monostl_features"].item() > 1e-3


def test_queries_are_compared_in_whatever_axes(config, batch, targets) -> None:
    """A student that says in turned axes what the teacher has said of the recorded ones has nothing to learn."""
    output = Student(config).eval()(batch)
    taught = signal_of(output, batch)
    turned, moved = rotated(batch, targets, torch.tensor([2.0, 1.0]))
    turn = moved.T_ego_recorded[:, :3, :3]
    layer = replace(output.layers[-1], references=output.layers[-1].references @ turn.transpose(1, 2))
    view = view_of(replace(output, layers=[layer]), moved, turned, images=ImageSignals(taught))
    for name, value in MonoStlLoss(MonoStl("teacher"), config)(view).items():
        assert value.item() == pytest.approx(0.0, abs=1e-4), name


def test_frames_without_a_cloud_change_nothing(config, step) -> None:
    _, view = step
    loss, taught = MonoStlLoss(MonoStl("teacher"), config), view.images.depth
    before = loss(view)
    noise = [torch.cat([values[:1], torch.randn_like(values[1:])]) for values in taught.features]
    # The second frame has no objects: what a teacher says of it counts for nothing.
    again = loss(replace(view, images=ImageSignals(replace(taught, features=noise))))
    assert {n: v.item() for n, v in before.items()} == {n: v.item() for n, v in again.items()}
    looked = replace(taught.looked, there=torch.tensor([False, True]))
    nothing = loss(replace(view, images=ImageSignals(replace(taught, looked=looked))))
    assert set(nothing) == NAMES and all(value.item() == 0.0 for value in nothing.values())
    sum(nothing.values()).backward()
    assert loss(replace(view, images=ImageSignals())) == {}


def test_frames_without_objects_have_no_loss(config, batch, targets) -> None:
    student = Student(config).train()
    output = student(batch)
    empty = replace(targets, boxes=targets.boxes[:, :0], classes=targets.classes[:, :0])
    view = view_of(output, empty, batch, images=ImageSignals(signal_of(output, batch)))
    losses = MonoStlLoss(MonoStl("teacher"), config)(view)
    assert all(value.item() == 0.0 for value in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in student.parameters())


def test_more_is_learnt_of_objects_whose_depth_the_student_does_not_know(config, step) -> None:
    _, view = step
    loss = MonoStlLoss(MonoStl("teacher"), config)

    def of_scale(log_scale: float) -> dict[str, float]:
        layer = replace(view.layers[-1], log_scale=torch.full_like(view.layers[-1].log_scale, log_scale))
        return {name: value.item() for name, value in loss(replace(view, layers=[layer])).items()}

    sure, unsure = of_scale(-4.0), of_scale(4.0)
    assert sure["monostl_features"] == 0.0 and unsure["monostl_features"] > 0.0
    assert sure["monostl_query_features"] == 0.0 and unsure["monostl_query_features"] > 0.0
    assert sure["monostl_relations"] == unsure["monostl_relations"]  # by the teacher's uncertainty


def test_a_view_without_the_centre_counts_little(config, step, targets) -> None:
    _, view = step
    targets.boxes[0, 0, :2], targets.classes[0, 1] = torch.tensor([6.0, 5.2]), -1
    layer = replace(view.layers[-1], log_scale=torch.full_like(view.layers[-1].log_scale, 4.0))
    loss = MonoStlLoss(MonoStl("teacher"), config)
    off = loss(view_of(replace(view.output, layers=[layer]), targets, view.batch, images=view.images))
    places, count = [], []
    for cells, taught, stride in zip(view.cells, view.images.depth.features, config.strides, strict=True):
        inside, _ = cell_weights(regions_of(targets, view.batch, BOTH), torch.ones(2, 2, 2), stride, *cells.shape[2:4])
        places.append(0.5 * (cells - taught).square().mean(-1)[inside].sum().item())
        count.append(inside.sum().item())
    expected = sum(OFF_IMAGE_WEIGHT * value / number for value, number in zip(places, count, strict=True))
    assert off["monostl_features"].item() == pytest.approx(expected, rel=1e-3)


def test_weights_are_factors(config, step) -> None:
    _, view = step
    one, two = (
        MonoStlLoss(MonoStl("teacher", features=w, relations=w, query_features=w, query_relations=w), config)(view)
        for w in (1.0, 2.0)
    )
    assert all(two[name].item() == pytest.approx(2 * value.item()) for name, value in one.items())
    assert set(MonoStlLoss(MonoStl("teacher", relations=0.0, query_relations=0.0), config)(view)) == {
        "monostl_features",
        "monostl_query_features",
    }


def test_mixed_precision_says_nearly_the_same(config, batch, targets, step) -> None:
    student, view = step
    loss = MonoStlLoss(MonoStl("teacher"), config)
    exact, rough = loss(view), loss(in_half(view))
    for name, value in exact.items():
        assert rough[name].item() == pytest.approx(value.item(), rel=0.05, abs=1e-3), name
    with torch.autocast("cpu", torch.bfloat16):
        output = student(batch)
    losses = loss(view_of(output, targets, batch, images=view.images))
    assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.values())
    sum(losses.values()).backward()


def test_two_processes_add_up_to_one(config, step, targets, rows_of, add_up) -> None:
    _, view = step
    targets.boxes[1, 0], targets.classes[1, 0] = targets.boxes[0, 0], 2
    loss = MonoStlLoss(MonoStl("teacher"), config)

    def of(rows, total):
        output, taught = rows_of(view.output, rows), rows_of(view.images, rows)
        return view_of(output, rows_of(targets, rows), rows_of(view.batch, rows), total, images=taught)

    add_up(of, loss)

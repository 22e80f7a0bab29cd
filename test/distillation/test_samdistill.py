"""SAMDistill's losses: values by hand, what stands still and what moves, and who learns from whom."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.distillation.cmkd import taught_targets
from semlt3d_ros.distillation.samdistill import (
    SamDistillLoss,
    alignment_loss,
    context_loss,
    instance_losses,
    looked_up,
    some_points,
    within_moving,
)
from semlt3d_ros.distillation.sampling import first_view, sampled
from semlt3d_ros.distillation.settings import SamDistill
from semlt3d_ros.losses.matcher import match
from semlt3d_ros.losses.signal import ImageSignals, Looked, SamSignal, SignalBefore
from semlt3d_ros.losses.term import view_of
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import encode_boxes
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.augmentation import mirrored

LIDAR = {"samdistill_alignment", "samdistill_context", "samdistill_relations", "samdistill_classes", "samdistill_boxes"}
KNOWN = torch.tensor([True, True, False])


def test_alignment_by_hand() -> None:
    said, taught = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 3.0], [2.0, 0.0]])
    expected = (1.0 + 1.0 - math.sqrt(0.5)) / 4
    assert alignment_loss(said, taught, torch.tensor(4.0)).item() == pytest.approx(expected)
    assert alignment_loss(2.0 * taught, taught, torch.tensor(2.0)).item() == pytest.approx(0.0, abs=1e-6)


def test_context_by_hand() -> None:
    before = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]])
    known = torch.tensor([[True, True, False]])
    said, taught = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
    # Over a temperature of 0.1 the teacher finds the first place (6, 8) like the two, the student (10, 0).
    log = torch.tensor([[6.0, 8.0], [10.0, 0.0]]).log_softmax(-1)
    expected = (log[0].exp() * (log[0] - log[1])).sum().item()
    first = torch.tensor([[True, False]])
    assert context_loss(said, taught, before, first, known, torch.tensor(2.0)).item() == pytest.approx(expected / 2)
    both = torch.tensor([[True, True]])  # the student is right about the second place
    assert context_loss(said, taught, before, both, known, torch.tensor(1.0)).item() == pytest.approx(
        expected, rel=1e-5
    )
    assert context_loss(taught, taught, before, both, known, torch.tensor(1.0)).item() == pytest.approx(0.0, abs=1e-6)


def test_a_map_is_looked_up_where_a_place_is() -> None:
    grid = BevGrid(-2.0, -3.0, 1.0, 4, 6)
    maps = torch.arange(2 * 1 * 6 * 4, dtype=torch.float16).view(2, 1, 6, 4)
    frame, points = torch.tensor([1, 0]), torch.tensor([[1.5, -2.5, 9.0], [-1.1, 2.9, 0.0]])
    assert looked_up(maps, grid, frame, points).flatten().tolist() == [24 + 3, 5 * 4]
    # The mean of a coarser cell: rows 0 and 1, columns 2 and 3; rows 4 and 5, columns 0 and 1.
    assert looked_up(maps, grid, frame, points, 2).flatten().tolist() == [24 + 4.5, 18.5]


def test_what_moves_is_left_out() -> None:
    boxes = torch.zeros(1, 4, 9)
    boxes[0, :, :2] = torch.tensor([[10.0, 0.0], [20.0, 0.0], [30.0, 0.0], [40.0, 0.0]])
    boxes[0, :, 3:7] = torch.tensor([4.0, 2.0, 1.5, math.pi / 2])
    boxes[0, :, 7] = torch.tensor([3.0, 0.2, torch.nan, 3.0])
    real = torch.tensor([[True, True, True, False]])
    points = torch.tensor([[[10.0, 2.2, 0.0], [11.4, 0.0, 0.0], [20.0, 0.0, 0.0], [30.0, 0.0, 0.0], [40.0, 0.0, 0.0]]])
    assert within_moving(points, boxes, real)[0].tolist() == [True, False, False, False, False]
    assert not within_moving(points, boxes[:, :0], real[:, :0]).any()


def test_points_are_taken_evenly(targets) -> None:
    many = torch.arange(3000.0)[:, None].expand(3000, 3)
    points, real = some_points(replace(targets, points=[many, many[:5]]))
    assert real.sum(1).tolist() == [125, 5] and points[0, :3, 0].tolist() == [0.0, 24.0, 48.0]
    assert some_points(targets)[1].sum() == 0


def test_maps_are_sampled_between_cells() -> None:
    maps = torch.arange(12.0).view(1, 2, 2, 3, 1)  # two images of 2 x 3 cells, 8 pixels each
    image = torch.tensor([1, 1, 0, 0])
    pixels = torch.tensor([[3.5, 3.5], [7.5, 7.5], [-90.0, 3.5], [999.0, 999.0]])
    assert sampled(maps, image, pixels, 8).flatten().tolist() == [6.0, 8.0, 0.0, 5.0]
    single = torch.arange(2.0).view(1, 2, 1, 1, 1)
    assert sampled(single, image, pixels, 8).flatten().tolist() == [1.0, 1.0, 0.0, 0.0]
    assert sampled(maps, image[:0], pixels[:0], 8).shape == (0, 1)


def test_a_point_is_looked_at_in_the_first_view_that_shows_it(batch) -> None:
    points = torch.tensor([[10.0, 0.0, 1.5], [-10.0, 0.0, 1.5], [0.0, 10.0, 1.5]]).expand(2, 3, 3)
    shown, view, pixels = first_view(points, batch)
    assert shown[0].tolist() == [True, True, False] and view[0, :2].tolist() == [0, 1]
    assert pixels[0, 0].tolist() == pytest.approx([31.5, 12.0])
    batch.valid[:, 0] = False
    assert first_view(points, batch)[0][0].tolist() == [False, True, False]


def layer_like(targets, scores) -> LayerOutput:
    """A layer that says what the teacher says."""
    references = targets.boxes[..., :3] + 0.5
    logits = torch.logit(scores.float().clamp(1e-7, 1 - 1e-7))
    codes = encode_boxes(targets.boxes.nan_to_num(0.0), references)
    return LayerOutput(logits, codes, torch.zeros(2, 2), references, torch.zeros(2, 2, 8))


def instances(layer, signal, targets, hardness):
    taught = taught_targets(signal, targets)
    losses = instance_losses(layer, taught, signal.scores, match(layer, taught), signal.known, hardness)
    return tuple(loss.item() for loss in losses)


def test_instances_by_hand(signal, targets) -> None:
    layer = layer_like(targets, signal.scores)
    assert instances(layer, signal, targets, 2.0) == pytest.approx((0.0, 0.0), abs=1e-5)
    layer.codes[0, 1, 8:] += 5.0  # of a box whose velocity is unknown
    layer.logits[0, 0, 2] = 2.0  # of a class that the teacher does not know
    assert instances(layer, signal, targets, 2.0) == pytest.approx((0.0, 0.0), abs=1e-5)
    # The second box is 0.7 too high, and its score 0.5 instead of 0.6; it counts by 0.6 of 1.4.
    layer.codes[0, 1, 2] += 0.7
    layer.logits[0, 1, 1] = 0.0
    classes, boxes = math.log(2) * 0.1**2 * 0.6 / 1.4, 0.7 * 0.6 / 1.4
    assert instances(layer, signal, targets, 0.0) == pytest.approx((classes, boxes), rel=1e-3)
    harder = classes * (1 + 2 * 0.1), boxes * (1 + 2 * (1 - math.exp(-0.7)))
    assert instances(layer, signal, targets, 2.0) == pytest.approx(harder, rel=1e-3)


@pytest.fixture
def lidar(signal):
    """The teacher has seen the frame before the first one too, 2 m farther back."""
    T = torch.eye(4).repeat(2, 1, 1)
    T[:, 0, 3] = 2.0
    return replace(signal, before=SignalBefore(torch.tensor([True, False]), torch.rand(2, 6, 12, 12).half(), T))


@pytest.fixture
def clouds(targets):
    """Points ahead and behind, in both frames."""
    points = torch.stack([torch.linspace(-22, 22, 90), torch.linspace(-3, 3, 90), torch.linspace(0, 2, 90)], -1)
    return replace(targets, points=[points, points])


@pytest.fixture
def sam(batch):
    looked = Looked(
        torch.tensor([True, True]), batch.intrinsics, batch.T_ego_camera, torch.eye(4).repeat(2, 1, 1)
    )  # fmt: skip
    return SamSignal(looked, torch.randn(2, 2, 2, 4, 5), 16)


@pytest.fixture
def step(config, batch, clouds, lidar, sam):
    student = Student(config).train()
    return student, view_of(student(batch), clouds, batch, signal=lidar, images=ImageSignals(sam=sam))


def test_everything_reaches_the_student_and_nothing_the_teachers(config, step) -> None:
    student, view = step
    losses = SamDistillLoss(SamDistill(sam="sam"), config, 6, 5)(view)
    assert set(losses) == {*LIDAR, "samdistill_sam"}
    assert all(torch.isfinite(each) and each > 0 for each in losses.values())
    for name, value in losses.items():
        student.zero_grad()
        value.backward(retain_graph=True)
        moved = [n for n, p in student.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]
        assert any(n.startswith("features.backbone") for n in moved), name
        assert any(n.startswith("decoder") for n in moved) == (name in ("samdistill_classes", "samdistill_boxes")), name
    assert not any(v.requires_grad for v in (view.signal.bev, view.signal.before.bev, view.images.sam.features))


def test_who_follows_whom(config, step) -> None:
    _, view = step
    loss = SamDistillLoss(SamDistill(), config, 6)
    assert set(loss(view)) == LIDAR  # SAM is there, but nobody asked for it
    both = SamDistillLoss(SamDistill(sam="sam"), config, 6, 5)
    assert set(both(replace(view, signal=None))) == {"samdistill_sam"}
    assert both(replace(view, signal=None, images=ImageSignals())) == {}
    one, two = (
        SamDistillLoss(SamDistill(alignment=w, context=w, relations=w, classes=w, boxes=w), config, 6)
        for w in (1.0, 2.0)
    )
    two.load_state_dict(one.state_dict())
    doubled = two(view)
    assert all(doubled[name].item() == pytest.approx(2 * value.item(), rel=1e-5) for name, value in one(view).items())
    alone = SamDistill(alignment=0.0, context=0.0, relations=0.0, boxes=0.0)
    assert set(SamDistillLoss(alone, config, 6)(view)) == {"samdistill_classes", "samdistill_boxes"}


def test_frames_that_were_not_taught_change_nothing(config, step) -> None:
    _, view = step
    loss = SamDistillLoss(SamDistill(), config, 6)
    losses, signal = loss(view), view.signal
    noise = {name: getattr(signal, name).clone() for name in ("bev", "boxes")}
    for values in noise.values():
        values[1] = 0.7
    before = replace(signal.before, bev=torch.cat([signal.before.bev[:1], torch.ones_like(signal.before.bev[1:])]))
    again = loss(replace(view, signal=replace(signal, before=before, **noise)))
    assert {name: value.item() for name, value in losses.items()} == {n: v.item() for n, v in again.items()}
    nobody = replace(signal, there=torch.zeros(2, dtype=torch.bool), scores=signal.scores * 0.0)
    nothing = loss(replace(view, signal=nobody))
    assert set(nothing) == LIDAR and all(value.item() == 0.0 for value in nothing.values())
    sum(nothing.values()).backward()


def test_first_frames_and_frames_without_points_or_objects(config, step, targets) -> None:
    _, view = step
    loss = SamDistillLoss(SamDistill(), config, 6)
    first = loss(replace(view, signal=replace(view.signal, before=None)))
    assert first["samdistill_context"].item() == 0.0 and first["samdistill_alignment"].item() > 0.0
    empty = loss(replace(view, targets=targets))
    assert empty["samdistill_alignment"].item() == 0.0 == empty["samdistill_context"].item()
    assert empty["samdistill_relations"].item() > 0.0  # of the teacher's boxes
    silent = replace(view.signal, boxes=view.signal.boxes[:, :0], scores=view.signal.scores[:, :0])
    nothing = loss(replace(view, signal=silent))
    assert all(nothing[f"samdistill_{name}"].item() == 0.0 for name in ("relations", "classes", "boxes"))
    sum((*empty.values(), *nothing.values())).backward()


def exact(loss: SamDistillLoss, value: torch.Tensor) -> None:
    """Make the adapter say one thing of whatever is seen."""
    torch.nn.init.zeros_(loss.adapter[-1].weight)
    loss.adapter[-1].bias.data = value


def test_a_static_world_is_taught_by_both_frames(config, step) -> None:
    """A map that says one thing where points stand still, and another thing where something has moved."""
    _, view = step
    loss, signal = SamDistillLoss(SamDistill(alignment=1.0), config, 6), view.signal
    thing, other = torch.rand(6), torch.rand(6)
    exact(loss, thing)
    bev = thing.half()[None, :, None, None].expand(2, 6, 12, 12).clone()
    same = replace(signal, bev=bev, before=replace(signal.before, bev=bev), scores=signal.scores * 0.0)
    assert loss(replace(view, signal=same))["samdistill_alignment"].item() == pytest.approx(0.0, abs=1e-4)
    # The frame before said something else where a point is now seen: 2 m farther along, in the cell after next.
    past = bev.clone()
    past[0, :, :, 9:] = other.half()[:, None, None]
    changed = replace(same, before=replace(signal.before, bev=past))
    assert loss(replace(view, signal=changed))["samdistill_alignment"].item() > 1e-3
    # Where something drives there, nobody wonders.
    boxes, scores = signal.boxes.clone(), torch.zeros_like(signal.scores)
    boxes[0, 0] = torch.tensor([15.0, 0.0, 1.0, 22.0, 20.0, 2.0, 0.0, 8.0, 0.0])
    scores[0, 0, 0] = 0.9
    driving = replace(changed, boxes=boxes, scores=scores)
    assert loss(replace(view, signal=driving))["samdistill_alignment"].item() == pytest.approx(0.0, abs=1e-4)


def test_the_frame_before_is_looked_up_by_the_ego_motion(config, step, targets) -> None:
    """In a teacher's frame that is turned against the vehicle's: 8 m farther back, a place was 8 m farther ahead."""
    _, view = step
    loss, thing, other = SamDistillLoss(SamDistill(), config, 6), torch.rand(6), -torch.rand(6)
    exact(loss, thing)
    place = torch.tensor([[6.0, 1.0, 1.0]])
    T_ego_model = torch.eye(4)
    T_ego_model[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    motion = torch.eye(4).repeat(2, 1, 1)
    motion[:, 0, 3] = 8.0
    now, past = (other.half()[None, :, None, None].expand(2, 6, 12, 12).clone() for _ in range(2))
    # In the teacher's frame x is the vehicle's y, and y the vehicle's -x: the place is at (1, -6), then at (1, -14).
    now[0, :, (-6 + 24) // 4, (1 + 24) // 4] = thing.half()
    past[0, :, (-14 + 24) // 4, (1 + 24) // 4] = thing.half()
    before = SignalBefore(torch.tensor([True, False]), past, motion)
    signal = replace(view.signal, T_ego_model=T_ego_model, bev=now, before=before, scores=view.signal.scores * 0.0)
    seen = replace(targets, points=[place, place])
    assert loss(replace(view, targets=seen, signal=signal))["samdistill_alignment"].item() == pytest.approx(0, abs=1e-4)
    still = replace(before, T_before_now=torch.eye(4).repeat(2, 1, 1))
    wrong = loss(replace(view, targets=seen, signal=replace(signal, before=still)))["samdistill_alignment"]
    assert wrong.item() > 0.5


def test_frames_without_one_before_do_not_water_down_the_context(config, step) -> None:
    _, view = step
    loss, both = SamDistillLoss(SamDistill(), config, 6), torch.tensor([True, True])
    more = loss(replace(view, signal=replace(view.signal, there=both)))
    assert more["samdistill_context"].item() == pytest.approx(loss(view)["samdistill_context"].item(), rel=1e-5)
    assert more["samdistill_alignment"].item() != pytest.approx(loss(view)["samdistill_alignment"].item(), rel=1e-3)


def test_relations_are_of_coarser_maps_too_and_by_the_teachers_scores(config, step) -> None:
    _, view = step
    loss, signal = SamDistillLoss(SamDistill(), config, 6), view.signal
    boxes = torch.cat([signal.boxes, signal.boxes[:, :1]], 1)
    boxes[0, 2, :2] = torch.tensor([14.0, -5.0])
    scores = torch.cat([signal.scores, signal.scores[:, :1]], 1)

    def related(**changes) -> float:
        changed = replace(signal, boxes=boxes, scores=scores, **changes)
        return loss(replace(view, signal=changed))["samdistill_relations"].item()

    plain = related()
    # The first object lies in row 6, column 9: another cell of the same block of two by two, and of four by four.
    for row, column in ((7, 8), (5, 10)):
        bev = signal.bev.clone()
        bev[0, :, row, column] += 5.0
        assert related(bev=bev) != pytest.approx(plain, rel=1e-4), (row, column)
    bev = signal.bev.clone()
    bev[0, :, 0, 0] += 5.0  # far from all of them
    assert related(bev=bev) == plain
    scores = scores.clone()
    scores[0, 2] *= 0.3
    assert related() != pytest.approx(plain, rel=1e-4)


def test_sam_is_looked_up_where_the_mirrored_student_looks(config, batch, clouds, sam) -> None:
    """Its features are those of the frames as they were recorded; the student sees them mirrored."""
    loss = SamDistillLoss(SamDistill(sam="sam"), config, 6, 5)
    torch.nn.init.zeros_(loss.sam_adapter.bias)
    loss.sam_adapter.weight.data = torch.eye(5, 32)
    seen, moved = mirrored(batch, clouds, torch.tensor([True, False]))
    flipped = sam.features.clone()
    flipped[0] = flipped[0].flip(2)
    features = [torch.zeros(2, 2, 32, 4, 8), torch.zeros(2, 2, 32, 2, 4), torch.zeros(2, 2, 32, 1, 2)]
    features[1][:, :, :5] = flipped.permute(0, 1, 4, 2, 3)
    output = replace(Student(config).eval()(batch), features=features)
    view = view_of(output, moved, seen, images=ImageSignals(sam=sam))
    assert loss(view)["samdistill_sam"].item() == pytest.approx(0.0, abs=1e-5)
    plain = loss(view_of(output, clouds, batch, images=ImageSignals(sam=sam)))
    assert plain["samdistill_sam"].item() > 0.05
    cosine = F.cosine_similarity(flipped, sam.features, dim=-1)
    assert plain["samdistill_sam"].item() == pytest.approx((1 - cosine).mean().item(), rel=1e-4)
    seen.valid[:] = False
    assert loss(view_of(output, moved, seen, images=ImageSignals(sam=sam)))["samdistill_sam"].item() == 0.0


def test_it_follows_the_axes_of_augmentation(config, batch, clouds, lidar) -> None:
    T = torch.tensor([[0.0, 1.0, 0.0, 2.0], [1.0, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    T = T.expand(2, 4, 4)
    output, moved = Student(config).eval()(batch), replace(batch, T_ego_camera=T[:, None] @ batch.T_ego_camera)
    loss = SamDistillLoss(SamDistill(), config, 6)
    plain = loss(view_of(output, clouds, batch, signal=lidar))
    turned = loss(view_of(output, clouds.transformed(T), moved, signal=lidar))
    for name in ("samdistill_alignment", "samdistill_context", "samdistill_relations"):
        assert turned[name].item() == pytest.approx(plain[name].item(), rel=1e-3), name


def test_mixed_precision_says_nearly_the_same(config, batch, step) -> None:
    student, view = step
    loss = SamDistillLoss(SamDistill(sam="sam"), config, 6, 5)
    layer, features = view.layers[-1], [values.bfloat16() for values in view.output.features]
    half = {name: getattr(layer, name).bfloat16() for name in ("logits", "codes")}
    rough = loss(replace(view, output=replace(view.output, features=features), layers=[replace(layer, **half)]))
    for name, value in loss(view).items():
        near = 0.2 if name in ("samdistill_classes", "samdistill_boxes") else 0.05
        assert rough[name].item() == pytest.approx(value.item(), rel=near, abs=1e-3), name
    with torch.autocast("cpu", torch.bfloat16):
        output = student(batch)
    losses = loss(view_of(output, view.targets, batch, signal=view.signal, images=view.images))
    assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.values())
    sum(losses.values()).backward()


def test_two_processes_add_up_to_one(config, step, rows_of, add_up) -> None:
    _, view = step
    signal = replace(view.signal, there=torch.tensor([True, True]))
    signal.boxes[1], signal.scores[1] = signal.boxes[0], signal.scores[0] * 0.5
    loss = SamDistillLoss(SamDistill(sam="sam"), config, 6, 5)

    def of(rows, total):
        parts = (rows_of(each, rows) for each in (view.output, view.targets, view.batch))
        return view_of(*parts, total, rows_of(signal, rows), images=rows_of(view.images, rows))

    add_up(of, loss)

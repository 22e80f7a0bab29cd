"""What a CLIP sees in regions: values by hand, who answers to what, and who learns from whom."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.distillation.regions import RegionLoss, answering, embedding_loss
from semlt3d_ros.distillation.settings import Regions
from semlt3d_ros.losses.signal import ImageSignals, RegionSignal
from semlt3d_ros.losses.term import view_of
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import encode_boxes
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.augmentation import mirrored

WIDTH, SCALE = 16, 10.0


@pytest.fixture
def regions(targets) -> RegionSignal:
    """Both objects of the first frame, one box that nobody has labelled, and one in the second frame."""
    boxes = torch.zeros(2, 3, 9)
    boxes[0, :2] = targets.boxes[0]
    boxes[0, 2] = torch.tensor([15.0, -3.0, 0.8, 4.0, 2.0, 1.5, 0.0, 0.0, 0.0])
    boxes[1, 0] = torch.tensor([11.0, 0.0, 0.8, 4.0, 2.0, 1.5, 0.0, 0.0, 0.0])
    embeddings = F.normalize(torch.randn(2, 3, WIDTH), dim=-1)
    embeddings[1, 1:] = torch.nan
    views = torch.tensor([[0, 1, 0], [0, 0, 0]])
    return RegionSignal(boxes, embeddings, views, torch.tensor([[0, 0, 2], [0, 0, 0]]), SCALE)


def made(*rows: list[float]) -> RegionSignal:
    embeddings = torch.tensor([rows])
    numbers = torch.zeros(1, len(rows), dtype=torch.int64)
    return RegionSignal(torch.zeros(1, len(rows), 9), embeddings, numbers, torch.arange(len(rows))[None], SCALE)


def test_the_loss_by_hand() -> None:
    signal = made([1.0, 0.0], [0.6, 0.8])
    said, zero = torch.tensor([[0.0, 2.0]]), torch.tensor([0])
    # The student's is like the two regions by (0, 0.8), the CLIP's by (1, 0.6); times 10.
    log = torch.tensor([[0.0, 8.0], [10.0, 6.0]]).log_softmax(-1)
    expected = 0.5 * (1.0 + (log[1].exp() * (log[1] - log[0])).sum().item())
    assert embedding_loss(said, signal, zero, zero).item() == pytest.approx(expected, rel=1e-5)
    padded = made([1.0, 0.0], [0.6, 0.8], [math.nan, math.nan])
    assert embedding_loss(said, padded, zero, zero).item() == pytest.approx(expected, rel=1e-5)


@given(st.floats(0.1, 30.0), st.floats(0.5, 100.0), st.integers(0, 1000))
def test_who_says_what_the_clip_says_has_nothing_to_learn(length, scale, seed) -> None:
    rows = F.normalize(torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(seed)), dim=-1)
    signal = replace(made([0.0] * 6), embeddings=rows, logit_scale=scale)
    said = (length * rows[0]).requires_grad_()
    loss = embedding_loss(said, signal, torch.zeros(4, dtype=torch.int64), torch.arange(4))
    (gradient,) = torch.autograd.grad(loss, said)
    assert loss.item() == pytest.approx(0.0, abs=1e-4) and gradient.norm() < 1e-2 * scale / length
    other = embedding_loss(-said, signal, torch.zeros(4, dtype=torch.int64), torch.arange(4))
    assert other > 0.9


def layer_at(centers: list[tuple[float, float]], scores: list[float]) -> LayerOutput:
    boxes = torch.zeros(1, len(centers), 9)
    boxes[0, :, :2], boxes[..., 3:6] = torch.tensor(centers), 1.0
    references = boxes[..., :3] + 0.5
    logits = torch.full((1, len(centers), 3), -9.0)
    logits[0, :, 1] = torch.tensor(scores).logit()
    codes = encode_boxes(boxes, references)
    return LayerOutput(logits, codes, torch.zeros(1, len(centers)), references, torch.zeros(1, len(centers), 4))


def test_who_answers() -> None:
    layer = layer_at([(10.0, 0.0), (10.4, 0.0), (11.9, 0.0), (30.0, 0.0), (20.0, 0.5)], [0.05, 0.6, 0.6, 0.9, 0.01])
    boxes = torch.zeros(1, 3, 9)
    boxes[0, :, 0] = torch.tensor([10.1, 20.0, 0.0])
    real = torch.tensor([[True, True, False]])
    frame, query, region = answering(layer, boxes, real, 2.0, 0.1)
    # The first is nearest, if unsure; the second and third are sure; the fourth is far from all; the fifth is nearest.
    assert set(zip(query.tolist(), region.tolist(), strict=True)) == {(0, 0), (1, 0), (2, 0), (4, 1)}
    assert frame.tolist() == [0] * 4
    assert not len(answering(layer, boxes, torch.zeros_like(real), 2.0, 0.1)[0])
    assert not len(answering(layer, boxes[:, :0], real[:, :0], 2.0, 0.1)[0])


def output_of(student, batch):
    student.train()
    return student(batch)


def test_encoder_and_queries_learn_and_nothing_else(config, batch, targets, regions) -> None:
    student, loss = Student(config), RegionLoss(Regions(), config, WIDTH)
    view = view_of(output_of(student, batch), targets, batch, images=ImageSignals(regions=regions))
    losses = loss(view)
    assert set(losses) == {"regions_encoder", "regions_queries"}
    losses["regions_encoder"].backward(retain_graph=True)
    stem = next(each for each in student.features.backbone.parameters() if each.dim() == 4)
    assert stem.grad is not None and stem.grad.abs().sum() > 0
    assert all(each.grad is None for each in student.decoder.parameters())
    losses["regions_queries"].backward()
    assert any(each.grad is not None and each.grad.abs().sum() > 0 for each in student.decoder.parameters())


def test_a_student_with_language_says_it_in_the_space_of_its_anchors(config, batch, targets, regions) -> None:
    config = replace(config, language_width=WIDTH, block="language_experts")
    student, loss = Student(config), RegionLoss(Regions(), config, WIDTH)
    student.set_anchors(F.normalize(torch.randn(3, WIDTH), dim=-1))
    assert loss.of_queries is None
    view = view_of(output_of(student, batch), targets, batch, images=ImageSignals(regions=regions))
    frame, *_ = answering(view.layers[-1], regions.boxes, regions.real, 2.0, 0.1)
    expected = sum(
        embedding_loss(layer.projected[f, q], regions, f, r)
        for layer in view.layers
        for f, q, r in [answering(layer, regions.boxes, regions.real, 2.0, 0.1)]
    )
    assert len(frame) and torch.isclose(loss(view)["regions_queries"], expected)


def test_without_regions_there_is_nothing_and_without_any_of_them_it_is_zero(config, batch, targets, regions) -> None:
    student, loss = Student(config), RegionLoss(Regions(), config, WIDTH)
    output = output_of(student, batch)
    assert loss(view_of(output, targets, batch)) == {}
    none = replace(regions, embeddings=torch.full_like(regions.embeddings, torch.nan))
    losses = loss(view_of(output, targets, batch, images=ImageSignals(regions=none)))
    assert all(value == 0 and value.requires_grad for value in losses.values())
    sum(losses.values()).backward()
    no = torch.zeros(2, 0, dtype=torch.int64)
    empty = RegionSignal(torch.zeros(2, 0, 9), torch.zeros(2, 0, WIDTH), no, no, SCALE)
    assert all(
        value == 0 for value in loss(view_of(output, targets, batch, images=ImageSignals(regions=empty))).values()
    )


def test_a_masked_view_shows_nothing(config, batch, targets, regions) -> None:
    student, loss = Student(config), RegionLoss(Regions(queries=0.0), config, WIDTH)
    blind = replace(batch, valid=torch.zeros_like(batch.valid))
    losses = loss(view_of(output_of(student, batch), targets, blind, images=ImageSignals(regions=regions)))
    assert set(losses) == {"regions_encoder"} and losses["regions_encoder"] == 0


def test_a_mirrored_world_shows_the_same_regions(config, batch, targets, regions) -> None:
    student, loss = Student(config).eval(), RegionLoss(Regions(queries=0.0), config, WIDTH)
    which = torch.tensor([True, True])
    other, moved = mirrored(batch, targets, which)
    seen = []
    for each, truth in ((batch, targets), (other, moved)):
        output = student(each)
        flat = [
            torch.ones_like(level) * torch.linspace(-1, 1, level.shape[2])[:, None, None] for level in output.features
        ]
        view = view_of(replace(output, features=flat), truth, each, images=ImageSignals(regions=regions))
        seen.append(loss(view)["regions_encoder"].item())
    assert seen[0] == pytest.approx(seen[1], rel=1e-5) and seen[0] > 0


def test_weighted_regions_are_averaged_by_their_weights() -> None:
    signal = made([1.0, 0.0], [0.6, 0.8])
    said, zeros = torch.tensor([[0.0, 2.0], [1.0, 1.0]]), torch.zeros(2, dtype=torch.int64)
    apart = [embedding_loss(said[[k]], signal, zeros[:1], torch.tensor([k])).item() for k in range(2)]
    weighted = embedding_loss(said, signal, zeros, torch.arange(2), weights=torch.tensor([1.0, 3.0])).item()
    assert weighted == pytest.approx((apart[0] + 3 * apart[1]) / 4, rel=1e-5)


def test_rare_classes_weigh_more_and_how_much_is_learnt_with_time(config, batch, targets, regions) -> None:
    loss = RegionLoss(Regions(queries=0.0, rarity=1.0), config, WIDTH)
    for _ in range(300):  # of four regions three are likest to the first class, none to the second
        weights = loss._weights(regions, regions.real, lambda value: value)
    assert weights[2] / weights[0] == pytest.approx(3.0, rel=0.05) and weights[1] == 10.0
    seen = loss.seen.clone()
    loss.eval()._weights(regions, regions.real, lambda value: value)
    assert torch.equal(seen, loss.seen) and "seen" in loss.state_dict()
    halfway = RegionLoss(Regions(rarity=0.5), config, WIDTH)
    halfway.seen.copy_(seen)
    half = halfway._weights(regions, regions.real, lambda value: value)
    assert half[2] / half[0] == pytest.approx(3.0**0.5, rel=0.05)
    student = Student(config)
    view = view_of(output_of(student, batch), targets, batch, images=ImageSignals(regions=regions))
    alike = RegionLoss(Regions(queries=0.0), config, WIDTH)
    alike.of_maps.load_state_dict(loss.of_maps.state_dict())
    assert loss(view)["regions_encoder"] != alike(view)["regions_encoder"]


@pytest.mark.parametrize("rarity", [0.0, 1.0])
def test_processes_add_up(config, batch, targets, regions, rows_of, add_up, rarity) -> None:
    student, loss = Student(config), RegionLoss(Regions(rarity=rarity), config, WIDTH).eval()
    output = output_of(student, batch)

    def part(rows, total):
        signals = ImageSignals(regions=replace(rows_of(replace(regions), rows)))
        return view_of(rows_of(output, rows), rows_of(targets, rows), rows_of(batch, rows), total, images=signals)

    add_up(part, loss)


def test_half_precision_is_near(config, batch, targets, regions) -> None:
    student, loss = Student(config), RegionLoss(Regions(), config, WIDTH)
    values = []
    for half in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = output_of(student, batch)
        losses = loss(view_of(output, targets, batch, images=ImageSignals(regions=regions)))
        assert all(value.dtype == torch.float32 for value in losses.values())
        values.append(losses["regions_encoder"].item())
    assert values[1] == pytest.approx(values[0], rel=0.05)

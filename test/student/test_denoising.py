"""Denoising queries: where they start, what they are told, and which of them are background."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.denoising import Denoiser
from semlt3d_ros.losses.denoising_settings import DenoisingSettings
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.targets import Targets, collate_targets
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.denoising_queries import BACKGROUND, NOTHING
from semlt3d_ros.student.geometry import encode_boxes, range_scale
from semlt3d_ros.student.student import Student

QUIET = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def scene(seed: int, objects: int) -> Targets:
    """A crowded scene of objects of all sizes."""
    random = np.random.default_rng(seed)
    angle, distance = random.uniform(-np.pi, np.pi, objects), random.uniform(2, 40, objects)
    centers = np.stack([distance * np.cos(angle), distance * np.sin(angle), np.full(objects, 0.8)], axis=-1)
    boxes = Boxes3D(centers, random.uniform(0.3, 14, (objects, 3)), angle, np.full((objects, 2), np.nan))
    full = Frame(0, (), labels=Labels(boxes, random.integers(0, 18, objects)))
    return collate_targets([full, replace(full, labels=full.labels[np.arange(1)])], 60.0, 0)  # type: ignore[index]


def displacement(references: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """(..., 3) radial, in units of the range scale, tangential and vertical distance from boxes."""
    offset = encode_boxes(torch.cat([references, boxes[..., 3:]], -1), boxes[..., :3])[..., :3]
    return offset.abs()


@QUIET
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4), st.integers(0, 3))
def test_positives_start_near_their_object_and_background_near_none(seed, objects, groups, negatives) -> None:
    torch.manual_seed(seed)
    targets = scene(seed, objects)
    made = Denoiser(18, 8, DenoisingSettings(groups=groups, negatives=negatives))(targets)
    assert made is not None
    per_group = objects * (1 + negatives)
    assert made.queries.shape == (2, groups * per_group, 8) and made.references.shape == (2, groups * per_group, 3)
    for b, kinds in enumerate(made.objects):
        grouped = kinds.unflatten(0, (groups, per_group))
        real = int((targets.classes[b] >= 0).sum())
        assert (grouped[:, :objects][:, :real] == torch.arange(real)).all()
        assert (grouped[:, :objects][:, real:] == NOTHING).all()
        assert not (grouped[:, objects:] >= 0).any(), "what is displaced so far restores nothing"
        positive = kinds >= 0
        moved = displacement(made.references[b, positive], targets.boxes[b, kinds[positive]])
        assert (moved <= torch.tensor([1.5, 1.0, 0.5]) + 1e-3).all()
        for place in made.references[b, kinds == BACKGROUND]:
            truth = targets.boxes[b, :real]
            away = displacement(place.expand(real, 3), truth)
            half = truth[:, 3:5].amax(-1) / 2
            radial = torch.maximum(half / range_scale(truth), torch.tensor(1.5))
            tangential = half.clamp_min(1.0)
            assert ((away[:, 0] > 0.999 * radial) | (away[:, 1] > 0.999 * tangential)).all()


def test_background_is_displaced_by_at_most_twice_as_much(frames) -> None:
    targets = collate_targets(frames[2:], 30.0, 0)
    targets.boxes[..., 3:6] = 1.0
    made = Denoiser(18, 8, DenoisingSettings(groups=20, negatives=1))(targets)
    assert made is not None
    count = targets.classes.shape[1]
    far = made.references[0].unflatten(0, (20, 2 * count))[:, count:]
    moved = displacement(far, targets.boxes[0].expand(20, -1, -1))
    assert (moved <= torch.tensor([3.0, 2.0, 0.5]) + 1e-3).all()
    assert (moved[..., 0].amax() > 2.8) and (moved[..., 1].amax() > 1.9)
    assert (made.objects == BACKGROUND).sum() > 10 * count


@pytest.mark.parametrize("negatives", [0, 2])
def test_queries_that_are_told_no_class_do_not_depend_on_it(frames, negatives) -> None:
    targets = collate_targets(frames, 30.0, 0)
    other = replace(targets, classes=torch.where(targets.classes >= 0, 17 - targets.classes, targets.classes))
    assert not torch.equal(other.classes, targets.classes)
    made = []
    for told in (False, True):
        denoiser = Denoiser(18, 8, DenoisingSettings(told_class=told, negatives=negatives, label_noise=0.0))
        for seen in (targets, other):
            torch.manual_seed(3)
            made.append(denoiser(seen))
    silent, silent_other, told, told_other = made
    assert torch.equal(silent.queries, silent_other.queries) and torch.equal(silent.references, silent_other.references)
    assert not torch.equal(told.queries, told_other.queries) and torch.equal(told.references, told_other.references)


def test_background_queries_learn_to_be_silent_and_nothing_else(config, frames) -> None:
    """The class loss of a background query pulls every class down; no box is asked of it."""
    targets, batch = collate_targets(frames, 30.0, 0), collate(frames, 96, 64)
    denoised = Denoiser(18, config.width, DenoisingSettings(negatives=1))(targets)
    assert denoised is not None
    output = Student(config).train()(batch, denoised)
    layer = output.denoising[-1]
    logits, codes = layer.logits.detach().requires_grad_(), layer.codes.detach().requires_grad_()
    output.denoising = [replace(layer, logits=logits, codes=codes)]
    losses = student_criterion(config, LossWeights())(output, targets, batch)
    (losses["denoising_classes"] + losses["denoising_boxes"]).backward()
    assert logits.grad is not None and codes.grad is not None
    for kind, wanted in ((BACKGROUND, 1), (NOTHING, 0)):
        chosen = denoised.objects == kind
        assert chosen.any() and (logits.grad[chosen] > 0).all() == bool(wanted)
        assert not codes.grad[chosen].any()
    assert not logits.grad[denoised.objects == NOTHING].any()
    positive = denoised.objects >= 0
    assert ((logits.grad[positive] < 0).sum(-1) == 1).all() and codes.grad[positive].any()


def test_negatives_do_not_change_by_how_much_losses_are_divided(config, frames) -> None:
    targets, batch = collate_targets(frames, 30.0, 0), collate(frames, 96, 64)
    student = Student(config).train()
    boxes = []
    for negatives in (0, 3):
        denoised = Denoiser(18, config.width, DenoisingSettings(negatives=negatives))(targets)
        output = student(batch, denoised)
        assert denoised is not None
        # Every positive query is wrong by one metre in height and by nothing else.
        layer = output.denoising[0]
        rows = denoised.objects.clamp_min(0)
        wanted = torch.gather(targets.boxes, 1, rows[..., None].expand(-1, -1, 9))
        codes = encode_boxes(wanted, layer.references)
        codes[..., 2] += 1.0
        output.denoising = [replace(layer, codes=codes)]
        boxes.append(
            float(student_criterion(config, LossWeights(boxes=1.0))(output, targets, batch)["denoising_boxes"])
        )
    assert boxes == pytest.approx([1.0, 1.0], abs=1e-4)


def test_denoising_queries_can_be_kept_out_of_the_alignment(config, frames) -> None:
    language = replace(config, block="language_experts", language_width=12)
    student = Student(language).train()
    student.set_anchors(torch.nn.functional.normalize(torch.randn(18, 12), dim=-1))
    targets, batch = collate_targets(frames, 30.0, 0), collate(frames, 96, 64)
    output = student(batch, Denoiser(18, 32)(targets))
    for aligned in (True, False):
        criterion = student_criterion(language, LossWeights(alignment=1.0), DenoisingSettings(aligned=aligned))
        assert ("denoising_alignment" in criterion(output, targets, batch)) == aligned

"""The criterion is a list of terms; what they divide by is one number for all processes of a step."""

from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.losses.criterion import Criterion, student_criterion
from semlt3d_ros.losses.denoising import Denoiser
from semlt3d_ros.losses.denoising_settings import DenoisingSettings
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.projection import SemanticProjection
from semlt3d_ros.losses.query_losses import BoxLoss
from semlt3d_ros.losses.targets import Targets, collate_targets
from semlt3d_ros.losses.term import LossTerm, StepView
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.student import Student, StudentOutput

D = 12
SETTINGS = DenoisingSettings(negatives=1)


def rows_of(thing, rows: slice):
    """Some of the frames of a dataclass of tensors, or of lists of such."""
    if isinstance(thing, Tensor):
        return thing[rows] if thing.dim() else thing
    if isinstance(thing, list):
        return [rows_of(each, rows) for each in thing] if not thing or not isinstance(thing[0], Tensor) else thing[rows]
    if not hasattr(thing, "__dataclass_fields__"):
        return thing
    return replace(thing, **{entry.name: rows_of(getattr(thing, entry.name), rows) for entry in fields(thing)})


@pytest.fixture
def step(config, frames):
    """A student with every kind of prediction on a batch, one frame of which holds nothing."""
    frames[2].labels.class_ids[1] = ABSENT
    language = replace(config, block="language_experts", language_width=D, experts=3, expert_width=8, shared_width=8)
    student = Student(language).train()
    anchors = F.normalize(torch.randn(18, D), dim=-1)
    student.set_anchors(anchors)
    targets = collate_targets(frames, 30.0, 0)
    targets.region_embeddings = torch.randn(*targets.classes.shape, D)
    targets.region_views = torch.randint(0, 6, targets.classes.shape)
    batch = collate(frames, 96, 64)
    output = student(batch, Denoiser(18, 32, SETTINGS)(targets))
    weights = LossWeights(alignment=1.0, distillation=0.5)

    def criterion(**more) -> Criterion:
        return student_criterion(language, weights, SETTINGS, SemanticProjection(language), anchors, **more)

    return student, output, targets, batch, criterion


def gradients(student: Student, losses: list[Tensor]) -> list[Tensor]:
    parameters = [p for p in student.parameters() if p.requires_grad]
    found = torch.autograd.grad(torch.stack(losses).sum(), parameters, retain_graph=True, allow_unused=True)
    return [values for values in found if values is not None]


def test_the_losses_of_two_processes_add_up_to_those_of_one(step) -> None:
    """With sums over processes as the hook gives them; without it they do not, since frames differ in objects."""
    student, output, targets, batch, criterion = step
    torch.manual_seed(1)
    whole = criterion()(output, targets, batch)
    assert {"classes", "alignment", "boxes", "scale", "balance", "distillation", "heat", "centers", "depth",
            "denoising_classes", "denoising_alignment", "denoising_boxes", "denoising_scale"} == set(whole)  # fmt: skip

    parts = [slice(0, 2), slice(2, 3)]
    calls: list[list[Tensor]] = [[], []]

    def of_one(k: int, total) -> dict[str, Tensor]:
        torch.manual_seed(1)
        values = rows_of(output, parts[k]), rows_of(targets, parts[k]), rows_of(batch, parts[k])
        return criterion(total=total)(*values)

    def noting(k: int):
        def note(values: Tensor) -> Tensor:
            calls[k].append(values)
            return values

        return note

    separate = [of_one(k, noting(k)) for k in range(2)]
    assert [values.shape for values in calls[0]] == [values.shape for values in calls[1]], "processes would wait"
    sums = [sum(both) for both in zip(*calls, strict=True)]
    shared = []
    for k in range(2):
        left = iter(sums)
        shared.append(of_one(k, lambda values, left=left: next(left)))
    for name, value in whole.items():
        assert torch.isclose(shared[0][name] + shared[1][name], value, rtol=1e-4), name
    assert not torch.isclose(separate[0]["classes"] + separate[1]["classes"], whole["classes"], rtol=1e-2)
    together = gradients(student, [value for losses in shared for value in losses.values()])
    for one, other in zip(gradients(student, list(whole.values())), together, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_process_without_objects_asks_for_the_same_sums(step) -> None:
    _, output, targets, batch, criterion = step
    calls = []
    for empty in (False, True):
        count = 0

        def counting(values: Tensor) -> Tensor:
            nonlocal count
            count += 1
            return values

        one = slice(1, 2) if empty else slice(0, 1)
        seen = rows_of(targets, one)
        if empty:  # as this frame alone would be collated: no object, and so no denoising query
            seen = replace(
                seen,
                boxes=seen.boxes[:, :0],
                classes=seen.classes[:, :0],
                points=[seen.points[0][:0]],
                region_embeddings=seen.region_embeddings[:, :0],
                region_views=seen.region_views[:, :0],
            )
        cut = replace(rows_of(output, one), **({"denoising": [], "denoised": None} if empty else {}))
        criterion(total=counting)(cut, seen, rows_of(batch, one))
        calls.append(count)
    assert calls[0] == calls[1]


def test_a_new_signal_is_a_new_term(step, frames) -> None:
    class Confidence(LossTerm):
        """Wants all queries to be silent."""

        def forward(self, view: StepView) -> dict[str, Tensor]:
            return {"silence": self.weight * sum(layer.logits.sigmoid().sum() for layer in view.layers) / view.count}

    _, output, targets, batch, _ = step
    losses = Criterion([BoxLoss(0.75), Confidence(2.0)])(output, targets, batch)
    assert list(losses) == ["boxes", "silence"]
    objects = int((targets.classes >= 0).sum())
    wanted = 2.0 * sum(float(layer.logits.sigmoid().sum().detach()) for layer in output.layers) / objects
    assert float(losses["silence"].detach()) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", ["classes", "boxes", "scale", "heat", "centers", "depth", "balance", "denoising"])
def test_every_weight_scales_its_own_loss_alone(step, config, name) -> None:
    _, output, targets, batch, _ = step
    plain = LossWeights(alignment=1.0)
    once = student_criterion(config, plain, SETTINGS)(output, targets, batch)
    twice = student_criterion(config, replace(plain, **{name: 2 * getattr(plain, name)}), SETTINGS)(
        output, targets, batch
    )
    for key, value in once.items():
        mine = key == name or key == f"denoising_{name}" or (name == "denoising" and key.startswith("denoising_"))
        assert torch.isclose(twice[key], value * (2 if mine else 1), rtol=1e-5), key


def test_losses_take_the_predictions_as_they_are(config, frames) -> None:
    """A view of predictions without gradients, masks or denoising gives the losses of the student's queries alone."""
    targets: Targets = collate_targets(frames, 30.0, 0)
    layer = LayerOutput(
        torch.zeros(3, 9, 18), torch.zeros(3, 9, 10), torch.zeros(3, 9), torch.rand(3, 9, 3) * 20, torch.zeros(3, 9, 4)
    )
    losses = student_criterion(config, LossWeights())(
        StudentOutput([layer], [], None), targets, collate(frames, 96, 64)
    )
    assert set(losses) == {"classes", "boxes", "scale"}

"""An object whose class is not told: its box is learnt, and nothing that a student learns hangs on what it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.denoising import Denoiser
from semlt3d_ros.losses.denoising_settings import DenoisingSettings
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.projection import SemanticProjection
from semlt3d_ros.losses.targets import Targets, collate_targets
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.student import Student

UNTOLD = (0, 2)
"""Frame and object."""
D = 12


@pytest.fixture
def learning(config, frames):
    """Losses by name and the student's output, of targets."""
    language = replace(config, block="language_experts", language_width=D, experts=3, expert_width=8, shared_width=8)
    torch.manual_seed(0)
    student = Student(language).train()
    anchors = F.normalize(torch.randn(18, D), dim=-1)
    student.set_anchors(anchors)
    settings = DenoisingSettings(negatives=1)
    denoiser, batch = Denoiser(18, 32, settings), collate(frames, 96, 64)
    weights = LossWeights(alignment=1.0, distillation=0.5, balanced="objects")
    criterion = student_criterion(language, weights, settings, SemanticProjection(language), anchors)
    embeddings = torch.randn(3, 7, D)

    def losses(targets: Targets):
        targets.region_embeddings, targets.region_views = embeddings, torch.zeros(3, 7, dtype=torch.int64)
        torch.manual_seed(1)
        output = student(batch, denoiser(targets))
        return criterion(output, targets, batch), output

    return losses


def targets_of(frames, *told) -> Targets:
    return collate_targets(frames, 60.0, 0, told=told or None)


def untold(frames) -> Targets:
    told = np.ones(4, bool)
    told[UNTOLD[1]] = False
    return targets_of(frames, told, None, None)


def test_no_loss_asks_for_a_class_that_is_not_told(frames, learning) -> None:
    found = []
    for kind in (3, 11):
        frames[0].labels.class_ids[UNTOLD[1]] = kind
        found.append({name: value.item() for name, value in learning(untold(frames))[0].items()})
    assert found[0] == found[1] and len(found[0]) == 13
    frames[0].labels.class_ids[UNTOLD[1]] = 3
    told = learning(targets_of(frames))[0]
    changed = {name for name, value in told.items() if value.item() != found[0][name]}
    assert {"classes", "alignment", "heat", "denoising_classes"} <= changed


def test_its_query_learns_the_box_and_what_a_clip_sees_but_no_class(frames, learning) -> None:
    targets = untold(frames)
    losses, output = learning(targets)
    layer = output.layers[-1]
    view_of_it = targets.boxes[UNTOLD]

    def gradient(name: str, values: torch.Tensor) -> torch.Tensor:
        (found,) = torch.autograd.grad(losses[name], values, retain_graph=True)
        return found.abs().flatten(2).amax(-1) > 0

    learnt = gradient("boxes", layer.codes)
    assert learnt.sum(1).tolist() == [4, 0, 7], "all boxes are learnt"
    away = (layer.boxes()[0, :, :2] - view_of_it[:2]).norm(dim=-1)
    silent = ~gradient("classes", layer.logits)
    assert silent.sum(1).tolist() == [1, 0, 0]
    (query,) = torch.nonzero(silent[0])[:, 0].tolist()
    assert learnt[0, query] and not gradient("alignment", layer.aligned)[0, query]
    assert away[query] < away.median(), "what is silent is what stands near it"
    assert gradient("distillation", layer.embeddings)[0, query]


def test_denoising_queries_are_made_of_what_is_told(frames, config) -> None:
    denoiser = Denoiser(18, 32, DenoisingSettings(negatives=1))
    made = denoiser(untold(frames)).objects
    assert UNTOLD[1] not in made[0].tolist() and {0, 1, 3} <= set(made[0].tolist())


def test_all_told_is_as_without_saying_so(frames, learning) -> None:
    one, other = (learning(targets)[0] for targets in (targets_of(frames), targets_of(frames, None, None, None)))
    all_of_them = targets_of(frames, np.ones(4, bool), np.ones(0, bool), np.ones(7, bool))
    assert all_of_them.told is not None and all_of_them.told.all()
    third = learning(all_of_them)[0]
    for name, value in one.items():
        assert value.item() == other[name].item() == pytest.approx(third[name].item(), rel=1e-6), name


def test_it_is_moved_along_and_stays_untold(frames) -> None:
    turned = torch.eye(4).repeat(3, 1, 1)
    turned[:, :2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    targets = untold(frames).transformed(turned).to("cpu")
    assert not targets.told[UNTOLD] and targets.told.sum() == targets.told.numel() - 1
    alone = targets.told_alone()
    assert alone.classes[UNTOLD] == -1 and torch.equal(alone.unjudged.boxes[0, 2], targets.boxes[UNTOLD])

"""Coarser classes that queries learn besides their own."""

import pytest
import torch
import torch.nn.functional as F

from semlt3d_ros.core.classes import ClassInfo, ClassList, load_class_list
from semlt3d_ros.losses.hierarchy import HierarchyLoss
from semlt3d_ros.losses.targets import collate_targets
from semlt3d_ros.losses.term import view_of
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.student import Student

LT3D = load_class_list("lt3d")


@pytest.fixture
def view(config, frames):
    torch.manual_seed(0)
    targets, batch = collate_targets(frames, 60.0, 0), collate(frames, 96, 64)
    return view_of(Student(config).train()(batch), targets, batch)


def test_lt3d_has_three_families_and_every_class_is_an_object() -> None:
    term = HierarchyLoss(1.0, LT3D, 8)
    assert len(term.families) == 3 and term.above.shape == (18, 4)
    assert (term.above[:, :3].sum(1) == 1).all() and (term.above[:, 3] == 1).all()
    assert sorted(term.above[:, :3].sum(0).tolist()) == [4, 6, 8]
    alone = ClassList("own", (ClassInfo("car", "vehicle"), ClassInfo("bus", "vehicle"), ClassInfo("cat")))
    assert HierarchyLoss(1.0, alone, 8).above.tolist() == [[1, 1], [1, 1], [0, 1]], "what is alone is no family"


def test_by_hand(view) -> None:
    term = HierarchyLoss(0.5, LT3D, 32)
    wanted = torch.zeros(())
    for layer, matches in zip(view.layers, view.matches, strict=True):
        for frame, (queries, objects) in enumerate(matches):
            probability = term.say(layer.embeddings[frame]).sigmoid()
            truth = torch.zeros_like(probability)
            truth[queries] = term.above[view.targets.classes[frame, objects]]
            right = torch.where(truth > 0, probability, 1 - probability)
            alpha = torch.where(truth > 0, 0.25, 0.75)
            wanted = wanted - 0.5 * (alpha * (1 - right) ** 2 * right.log()).sum() / 11
    assert term(view)["hierarchy"].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_it_reaches_the_queries_and_a_perfect_answer_costs_nothing(view) -> None:
    term = HierarchyLoss(1.0, LT3D, 32)
    layer = view.layers[-1]
    (gradient,) = torch.autograd.grad(term(view)["hierarchy"], layer.embeddings)
    assert gradient.abs().sum() > 0 and F.relu(gradient).isfinite().all()
    with torch.no_grad():
        for layer, matches in zip(view.layers, view.matches, strict=True):
            layer.embeddings.zero_()
            for frame, (queries, objects) in enumerate(matches):
                layer.embeddings[frame, queries, :4] = 40 * term.above[view.targets.classes[frame, objects]]
        term.say.weight.zero_()
        term.say.weight[:, :4] = torch.eye(4)
        term.say.bias.fill_(-20.0)
    assert term(view)["hierarchy"].item() < 1e-6

"""Class-balanced weights of the class losses (Cui et al., CVPR 2019)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.losses.class_balance import effective_weights
from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.denoising import Denoiser
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.query_losses import focal_loss
from semlt3d_ros.losses.targets import collate_targets
from semlt3d_ros.losses.term import view_of
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.student import Student


def test_by_hand() -> None:
    # 1, 2 and 3 objects count as 1, 1.5 and 1.75.
    wanted = np.array([1, 1 / 1.5, 1 / 1.75])
    assert np.allclose(effective_weights(torch.tensor([1, 2, 3]), 0.5), 3 * wanted / wanted.sum(), rtol=1e-6)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.floats(0, 0.99999))
def test_as_many_in_all_as_classes_and_never_less_for_what_is_rarer(counts, overlap) -> None:
    weights = effective_weights(torch.tensor(counts), overlap)
    assert weights.sum().item() == pytest.approx(len(counts), rel=1e-4) and weights.isfinite().all()
    order = np.argsort(counts, kind="stable")
    assert (np.diff(weights.double().numpy()[order]) <= 1e-5).all()
    assert torch.allclose(effective_weights(torch.tensor(counts), 0.0), torch.ones(len(counts)))


def test_near_one_it_is_the_inverse_of_counts() -> None:
    weights = effective_weights(torch.tensor([10, 1000]), 1 - 1e-9)
    assert (weights[0] / weights[1]).item() == pytest.approx(100, rel=1e-3)


def test_queries_of_objects_count_by_their_class_and_background_once(config, frames) -> None:
    torch.manual_seed(0)
    targets, batch = collate_targets(frames, 60.0, 0), collate(frames, 96, 64)
    student = Student(config).train()
    output = student(batch, Denoiser(18, 32)(targets))
    of_classes = torch.rand(18) * 3
    view = view_of(output, targets, batch)
    logits, matches = output.layers[-1].logits, view.matches[-1]
    every = torch.ones(logits.shape[:2], dtype=torch.bool)
    matched = torch.zeros_like(every)
    wanted = torch.zeros(())
    for frame, (queries, objects) in enumerate(matches):
        for query, thing in zip(queries, objects, strict=True):
            matched[frame, query] = True
            alone = torch.zeros_like(every)
            alone[frame, query] = True
            kind = targets.classes[frame, thing]
            wanted = wanted + of_classes[kind] * focal_loss(logits, targets, matches, alone)
    wanted = wanted + focal_loss(logits, targets, matches, every & ~matched)
    assert focal_loss(logits, targets, matches, every, of_classes).item() == pytest.approx(wanted.item(), rel=1e-5)
    weights = LossWeights()
    plain, same = (student_criterion(config, weights, of_classes=each)(output, targets, batch)
                   for each in (None, torch.ones(18)))  # fmt: skip
    other = student_criterion(config, weights, of_classes=of_classes)(output, targets, batch)
    changed = {name for name in plain if not torch.isclose(plain[name], other[name])}
    assert changed == {"classes", "denoising_classes"}
    assert all(torch.isclose(plain[name], same[name]) for name in plain)


def test_the_overlap_is_a_share_below_one() -> None:
    with pytest.raises(ConfigurationError, match="class_overlap must be 0 or more and below 1"):
        replace(LossWeights(), class_overlap=1.0)

"""Semantic projection distillation: what the loss asks of the query, and in whose camera."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.projection import SemanticProjection, distillation_loss
from semlt3d_ros.losses.targets import Targets, collate_targets
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.student import Student

D = 12


@pytest.fixture
def language(config):
    return replace(config, block="language_experts", language_width=D, experts=3, expert_width=8, shared_width=8)


class Echo(SemanticProjection):
    """Tokens that are the queries themselves, whatever the camera."""

    def forward(self, embeddings, T_ego_camera):
        return embeddings[:, :D]


def case(frames, language, seed: int = 0):
    """Targets with regions of all objects, matched to queries in order, and the anchors."""
    random = torch.Generator().manual_seed(seed)
    targets = collate_targets(frames, 30.0, 0)
    B, T = targets.classes.shape
    views = torch.randint(0, 6, (B, T), generator=random)
    targets = replace(targets, region_embeddings=torch.randn(B, T, D, generator=random), region_views=views)
    matches = []
    for row in targets.classes:
        found = torch.nonzero(row >= 0)[:, 0]
        matches.append((found + 2, found))
    embeddings = torch.randn(B, T + 4, language.width, generator=random).requires_grad_()
    empty = torch.zeros(B, T + 4, 3)
    layer = LayerOutput(torch.zeros(B, T + 4, 18), torch.zeros(B, T + 4, 10), torch.zeros(B, T + 4), empty, embeddings)
    anchors = F.normalize(torch.randn(18, D, generator=random), dim=-1)
    return layer, targets, matches, collate(frames, 96, 64), anchors


def test_queries_that_say_what_the_regions_show_cost_nothing(frames, language) -> None:
    layer, targets, matches, batch, anchors = case(frames, language)
    assert targets.region_embeddings is not None
    right = layer.embeddings.detach().clone()
    for b, (rows, columns) in enumerate(matches):
        right[b, rows, :D] = 3.0 * targets.region_embeddings[b, columns]  # length does not matter
    echo = Echo(language)
    assert (
        float(distillation_loss(replace(layer, embeddings=right), targets, matches, batch, echo, anchors, 0.1)) < 1e-6
    )
    wrong = distillation_loss(layer, targets, matches, batch, echo, anchors, 0.1)
    assert float(wrong.detach()) > 0.1
    wrong.backward()
    assert layer.embeddings.grad is not None
    moved = layer.embeddings.grad.abs().sum(-1) > 0
    assert [torch.nonzero(row)[:, 0].tolist() for row in moved] == [sorted(rows.tolist()) for rows, _ in matches]


def test_equals_the_divergence_written_out(frames, language) -> None:
    layer, targets, matches, batch, anchors = case(frames, language)
    projection = SemanticProjection(language)
    got = float(distillation_loss(layer, targets, matches, batch, projection, anchors, 0.2).detach())
    values = []
    for b, (rows, columns) in enumerate(matches):
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            extrinsics = batch.T_ego_camera[b, targets.region_views[b, column]].flatten()
            token = projection.query(layer.embeddings[b, row]) * projection.extrinsics(extrinsics)
            said = (F.cosine_similarity(token[None], anchors) / 0.2).softmax(-1)
            shown = (F.cosine_similarity(targets.region_embeddings[b, column][None], anchors) / 0.2).softmax(-1)
            values.append(float((shown * (shown.log() - said.log())).sum().detach()))
    assert len(values) == 11 and got == pytest.approx(np.mean(values), rel=1e-4)


def test_objects_without_a_region_do_not_count(frames, language) -> None:
    layer, targets, matches, batch, anchors = case(frames, language)
    assert targets.region_embeddings is not None
    projection = SemanticProjection(language)
    kept = [(rows[:1], columns[:1]) for rows, columns in matches]
    only_first = distillation_loss(layer, targets, kept, batch, projection, anchors, 0.1)
    targets.region_embeddings[:, 1:] = torch.nan
    others_unknown = distillation_loss(layer, targets, matches, batch, projection, anchors, 0.1)
    assert torch.isclose(only_first, others_unknown)

    targets.region_embeddings[:] = torch.nan
    none = distillation_loss(layer, targets, matches, batch, projection, anchors, 0.1)
    none.backward()
    assert float(none.detach()) == 0.0 and layer.embeddings.grad is not None and not layer.embeddings.grad.any()
    nothing = [(torch.zeros(0, dtype=torch.int64),) * 2 for _ in matches]
    assert float(distillation_loss(layer, targets, nothing, batch, projection, anchors, 0.1).detach()) == 0.0


def test_objects_whose_view_is_masked_do_not_count(frames, language) -> None:
    layer, targets, matches, batch, anchors = case(frames, language)
    assert targets.region_views is not None
    projection = SemanticProjection(language)
    targets.region_views[:] = 2
    targets.region_views[:, 0] = 4
    kept = [(rows[:1], columns[:1]) for rows, columns in matches]
    only_first = distillation_loss(layer, targets, kept, batch, projection, anchors, 0.1)
    batch.valid[:, 2] = False
    assert torch.isclose(distillation_loss(layer, targets, matches, batch, projection, anchors, 0.1), only_first)


def test_a_lower_temperature_sharpens(frames, language) -> None:
    case_of = case(frames, language)
    losses = [float(distillation_loss(*case_of[:4], Echo(language), case_of[4], t).detach()) for t in (1.0, 0.3, 0.1)]
    assert losses[0] < losses[1] < losses[2]


def test_tokens_start_close_to_the_query_and_depend_on_the_camera(frames, language) -> None:
    projection, batch = SemanticProjection(language), collate(frames[:1], 96, 64)
    queries = torch.randn(1, language.width).expand(6, -1)
    tokens = projection(queries, batch.T_ego_camera[0])
    plain = projection.query(queries)
    assert torch.allclose(tokens, plain, atol=0.6 * float(plain.abs().max().detach()))
    assert (tokens[0] - tokens[3]).abs().max() > 1e-3


@pytest.mark.parametrize("layers", [1, 3])
def test_alignment_and_distillation_act_on_every_layer(frames, language, layers) -> None:
    torch.manual_seed(0)
    student = Student(replace(language, layers=layers)).train()
    anchors = F.normalize(torch.randn(18, D), dim=-1)
    student.set_anchors(anchors)
    batch = collate(frames, 96, 64)
    labels = collate_targets(frames, 30.0, 0)
    regions = torch.randn(*labels.classes.shape, D)
    targets = replace(labels, region_embeddings=regions, region_views=torch.zeros_like(labels.classes))
    output = student(batch)
    assert all(layer.aligned is not None and layer.routing is not None for layer in output.layers)
    assert all(layer.aligned.shape == layer.logits.shape for layer in output.layers)  # type: ignore[union-attr]

    weights = LossWeights(alignment=1.0, distillation=0.5)
    projection = SemanticProjection(language)
    criterion = student_criterion(student.config, weights, None, projection, anchors)
    losses = criterion(output, targets, batch)
    singles = [criterion(replace(output, layers=[layer]), targets, batch) for layer in output.layers]
    for name in ("alignment", "distillation", "balance"):
        assert torch.isclose(losses[name], sum(single[name] for single in singles), rtol=1e-4)
        assert float(losses[name].detach()) > 0
    (losses["alignment"] + losses["distillation"]).backward()
    for layer in student.decoder.layers:
        assert layer.language is not None and layer.language.project.weight.grad.abs().sum() > 0
        assert layer.norms[1].weight.grad.abs().sum() > 0


def test_without_language_there_is_nothing_to_align(frames, config) -> None:
    student = Student(config).train()
    targets: Targets = collate_targets(frames, 30.0, 0)
    losses = student_criterion(config, LossWeights(alignment=1.0))(
        student(collate(frames, 96, 64)), targets, collate(frames, 96, 64)
    )
    assert not {"alignment", "distillation", "balance"} & set(losses)

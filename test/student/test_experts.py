"""The mixture of experts against an explicit sum over experts, one at a time."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from semlt3d_ros.losses.balance import BalanceLoss, balance_loss
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LanguageProjection, LayerOutput
from semlt3d_ros.student.experts import Experts, FeedForward, Routing, make_block

CONFIG = StudentConfig(
    width=24,
    heads=4,
    block="feature_experts",
    experts=5,
    experts_used=2,
    expert_width=12,
    shared_width=20,
    language_width=16,
)


@pytest.fixture(params=["feature_experts", "language_experts"])
def experts(request) -> Experts:
    module = make_block(replace(CONFIG, block=request.param))
    assert isinstance(module, Experts)
    torch.nn.init.normal_(module.leave_bias)
    return module


def inputs(seed: int = 0, count: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries (2, Q, C) and their similarities to the 18 anchors (2, Q, 18)."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, 24, generator=random), torch.rand(2, count, 18, generator=random) * 2 - 1


def one_expert(module: Experts, number: int, query: torch.Tensor) -> torch.Tensor:
    """Expert ``number`` of its own parameters; -1 is the shared one."""
    shared = module.widths[0]
    width = module.widths[1] // module.experts
    rows = slice(0, shared) if number < 0 else slice(shared + number * width, shared + (number + 1) * width)
    hidden = F.relu(F.linear(query, module.enter.weight[rows], module.enter.bias[rows]))
    bias = module.leave.bias if number < 0 else module.leave_bias[number]
    return F.linear(hidden, module.leave.weight[:, rows], bias)


@torch.no_grad()
def test_output_is_the_weighted_sum_of_the_best_experts_and_the_shared_one(experts) -> None:
    queries, similarity = inputs()
    output, routing = experts(queries, similarity)
    probability = experts.router(similarity if experts.by_language else queries).softmax(-1)
    assert torch.allclose(routing.probabilities, probability)
    for b in range(2):
        for q in range(queries.shape[1]):
            best = sorted(range(5), key=lambda number: -float(probability[b, q, number]))[:2]
            expected = one_expert(experts, -1, queries[b, q])
            for number in best:
                expected = expected + probability[b, q, number] * one_expert(experts, number, queries[b, q])
            assert torch.allclose(output[b, q], expected, atol=1e-5)
            used = torch.nonzero(routing.weights[b, q])[:, 0].tolist()
            assert used == sorted(best)
            assert torch.equal(routing.weights[b, q, used], routing.probabilities[b, q, used]), "not renormalised"


@pytest.mark.parametrize("used", [1, 3, 5])
def test_as_many_experts_as_asked_for_are_used(used) -> None:
    module = make_block(replace(CONFIG, experts_used=used))
    _, routing = module(*inputs())
    assert routing is not None and ((routing.weights > 0).sum(-1) == used).all()


@torch.no_grad()
def test_equal_probabilities_still_choose_exactly_two(experts) -> None:
    experts.router[-1].weight.zero_()
    experts.router[-1].bias.zero_()
    _, routing = experts(*inputs())
    assert ((routing.weights > 0).sum(-1) == 2).all() and torch.allclose(routing.probabilities, torch.tensor(0.2))


def test_balance_loss_is_one_when_balanced_and_grows_to_the_number_of_experts() -> None:
    uniform = torch.full((1, 8, 4), 0.25)
    taken = torch.zeros(1, 8, 4)
    for query in range(8):
        taken[0, query, [query % 4, (query + 1) % 4]] = 0.25
    assert torch.allclose(balance_loss(Routing(uniform, taken)), torch.tensor(1.0))
    collapsed = torch.zeros(1, 8, 4)
    collapsed[..., 2] = 1.0
    assert torch.allclose(balance_loss(Routing(collapsed, collapsed)), torch.tensor(4.0))
    leaning = torch.tensor([0.4, 0.3, 0.2, 0.1]).expand(1, 8, 4)
    best = leaning * torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert 1.0 < float(balance_loss(Routing(leaning, best))) < 4.0


def test_only_those_that_count_are_spread() -> None:
    collapsed = torch.zeros(1, 8, 4)
    collapsed[0, :4, 2] = 1.0  # the first half takes one expert, the second all of them in turn
    for query in range(4, 8):
        collapsed[0, query, query % 4] = 1.0
    routing, second = Routing(collapsed, collapsed), torch.arange(8)[None] >= 4
    assert float(balance_loss(routing, counted=second)) == pytest.approx(1.0)
    assert float(balance_loss(routing, counted=~second)) == pytest.approx(4.0)
    assert 1.0 < float(balance_loss(routing)) < 4.0
    assert float(balance_loss(routing, counted=torch.zeros_like(second))) == 0.0


def test_objects_are_what_answers_or_is_sure() -> None:
    logits = torch.full((1, 6, 3), -6.0)
    logits[0, 1, 2] = 3.0
    layer = LayerOutput(logits, torch.zeros(1, 6, 10), torch.zeros(1, 6), torch.zeros(1, 6, 3), torch.zeros(1, 6, 4))
    matches = [(torch.tensor([4]), torch.tensor([0]))]
    found = BalanceLoss(1.0, of_objects=True)._counted(layer, matches)
    assert found.tolist() == [[False, True, False, False, True, False]]
    assert BalanceLoss(1.0)._counted(layer, matches) is None


def test_a_centred_router_sends_what_is_like_nothing_one_way() -> None:
    """Background is as like one anchor as another, but for noise, which a normalisation of each query makes large."""
    torch.manual_seed(0)
    centred, normalised = (
        make_block(replace(CONFIG, block="language_experts", router=router)) for router in ("centred", "normalised")
    )
    common = torch.full((18,), 0.8)
    background = common + 0.003 * torch.randn(1, 400, 18)
    for module in (centred, normalised):
        torch.nn.init.normal_(module.router[-1].weight, std=2.0)
        module.train()
        for _ in range(600):
            module.router(background)
    centred.eval()
    spread = {
        name: module.router(background).softmax(-1).std(1).max() for name, module in (("c", centred), ("n", normalised))
    }
    assert spread["c"] < 0.1 < spread["n"]
    assert torch.allclose(centred.router[0].mean, common, atol=5e-3)
    object_like = common.clone()
    object_like[3] += 0.2
    assert (centred.router(object_like) - centred.router(common)).norm() > 1.0


def test_descending_the_balance_loss_spreads_the_load() -> None:
    module = make_block(CONFIG)
    assert isinstance(module, Experts)
    with torch.no_grad():
        module.router[-1].bias.copy_(torch.tensor([3.0, 2.0, 0.0, 0.0, 0.0]))
    optimizer = torch.optim.Adam(module.router.parameters(), lr=0.05)
    queries, similarity = inputs(count=200)
    losses = []
    for _ in range(60):
        loss = balance_loss(module(queries, similarity)[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    _, routing = module(queries, similarity)
    assert losses[0] > 1.5 and losses[-1] < 1.15
    assert (routing.weights > 0).float().mean((0, 1)).min() > 0.1


def test_gradients_reach_the_router_and_the_used_experts_alone(experts) -> None:
    queries, similarity = inputs()
    with torch.no_grad():
        experts.router[-1].weight.mul_(0.01)
        experts.router[-1].bias.copy_(torch.tensor([0.0, 5.0, 0.0, 4.0, 0.0]))
    output, routing = experts(queries, similarity)
    assert torch.nonzero(routing.weights.flatten(0, 1).sum(0))[:, 0].tolist() == [1, 3]
    output.square().sum().backward()
    shared, width = experts.widths[0], CONFIG.expert_width
    for number in range(5):
        rows = slice(shared + number * width, shared + (number + 1) * width)
        learns = number in (1, 3)
        for part in (
            experts.enter.weight.grad[rows],
            experts.leave.weight.grad[:, rows],
            experts.leave_bias.grad[number],
        ):
            assert bool(part.abs().sum() > 0) == learns
    assert experts.enter.weight.grad[:shared].abs().sum() > 0
    assert experts.router[-1].weight.grad.abs().sum() > 0


@torch.no_grad()
def test_the_router_sees_one_thing_only(experts) -> None:
    queries, similarity = inputs()
    other_queries, other_similarity = inputs(seed=1)
    plain = experts(queries, similarity)[1].probabilities
    changed_queries = experts(other_queries, similarity)[1].probabilities
    changed_similarity = experts(queries, other_similarity)[1].probabilities
    assert torch.equal(plain, changed_queries) == experts.by_language
    assert torch.equal(plain, changed_similarity) != experts.by_language
    assert experts.router[-1].weight.shape == (5, 18 if experts.by_language else 24)


@torch.no_grad()
def test_a_plain_block_does_not_route() -> None:
    block = make_block(replace(CONFIG, block="plain", feed_forward=40))
    assert isinstance(block, FeedForward)
    queries, _ = inputs()
    output, routing = block(queries, None)
    assert routing is None and output.shape == queries.shape
    assert sum(parameter.numel() for parameter in block.parameters()) == 24 * 40 + 40 + 40 * 24 + 24


@torch.no_grad()
def test_a_part_of_a_routing_is_that_of_those_queries(experts) -> None:
    queries, similarity = inputs()
    _, whole = experts(queries, similarity)
    _, alone = experts(queries[:, 3:9], similarity[:, 3:9])
    assert torch.allclose(whole.part(slice(3, 9)).weights, alone.weights, atol=1e-6)


def test_projection_gives_logits_and_cosines_of_the_anchors() -> None:
    projection = LanguageProjection(CONFIG)
    queries, _ = inputs()
    anchors = F.normalize(torch.randn(18, 16), dim=-1)
    projected, aligned, similarity = projection(queries, anchors)
    expected = F.cosine_similarity(projected[:, :, None], anchors[None, None], dim=-1)
    assert torch.allclose(similarity, expected, atol=1e-5) and similarity.abs().max() <= 1.0001
    assert torch.allclose(aligned, torch.einsum("bqd,nd->bqn", projected, anchors) + projection.bias, atol=1e-5)
    assert float(aligned.sigmoid().mean().detach()) < 0.1, "nearly everything starts as background"
    nothing = projection(torch.zeros(1, 1, 24) - 0.0, anchors)[2]
    assert torch.isfinite(nothing).all()


def test_half_precision_routes_finitely(experts) -> None:
    queries, similarity = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        output, routing = experts(queries, similarity)
    assert torch.isfinite(output).all() and ((routing.weights > 0).sum(-1) == 2).all()

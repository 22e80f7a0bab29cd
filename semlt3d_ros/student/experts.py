"""What follows attention in a decoder layer: a plain feed-forward network, or a mixture of experts (papers.md 1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.student.config import StudentConfig

_FIRST_SCALE, _MOMENTUM = 5.0, 0.01


@dataclass
class Routing:
    """What a router decided.

    Attributes:
        probabilities: (B, Q, M) softmax over the experts.
        weights: (B, Q, M) the same where an expert is used, zero elsewhere; not renormalised.
    """

    probabilities: Tensor
    weights: Tensor

    def part(self, rows: slice) -> Routing:
        """The routing of some of the queries."""
        return Routing(self.probabilities[:, rows], self.weights[:, rows])


class FeedForward(nn.Module):
    """The plain two-layer network of a transformer block."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, similarity: Tensor | None) -> tuple[Tensor, None]:
        """(B, Q, C) to (B, Q, C); there is no routing."""
        enter, activate, leave = self.net
        return leave(self.dropout(activate(enter(queries)))), None


class Centred(nn.Module):
    """Similarities less what they are on average, per anchor, at one learnt scale for all.

    A layer normalisation gives the cosines of a query that is like nothing as much spread as those of an object: it
    would be routed by noise. Here the one stays near zero.

    Args:
        width: anchors.
    """

    mean: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.log_scale = nn.Parameter(torch.tensor(_FIRST_SCALE).log())

    def forward(self, similarity: Tensor) -> Tensor:
        """(B, Q, n) to the same; in training the averages follow."""
        if self.training:
            with torch.no_grad():
                now = similarity.float().flatten(0, -2).mean(0)
                self.mean += _MOMENTUM * (now - self.mean)
        return (similarity - self.mean.to(similarity.dtype)) * self.log_scale.exp().to(similarity.dtype)


class Experts(nn.Module):
    """One shared expert and M routed ones, of which each query takes the best few.

    All experts together are one wide two-layer network whose hidden groups are scaled by the routing weights, zero for
    experts not taken. That is the same sum of weighted expert outputs, in two matrix products without any gathering:
    at a few hundred queries, moving rows to their experts costs more than computing the unused ones.

    Args:
        config: sizes; ``block`` says what the router sees, the query's features or its cosine similarity to the
            language anchors, and never both.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.experts, self.used = config.experts, config.experts_used
        self.by_language = config.block == "language_experts"
        self.widths = (config.shared_width, config.experts * config.expert_width)
        self.enter = nn.Linear(config.width, sum(self.widths))
        self.leave = nn.Linear(sum(self.widths), config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.leave_bias = nn.Parameter(torch.zeros(config.experts, config.width))
        seen = len(config.class_names) if self.by_language else config.width
        # Cosines to the anchors of a real language space crowd together (0.6 to 0.9): their differences must count.
        centred = self.by_language and config.router == "centred"
        self.router = nn.Sequential(Centred(seen) if centred else nn.LayerNorm(seen), nn.Linear(seen, config.experts))

    def forward(self, queries: Tensor, similarity: Tensor | None) -> tuple[Tensor, Routing]:
        """(B, Q, C), with ``similarity`` (B, Q, n) where language routes, to (B, Q, C) and the routing."""
        seen = similarity if self.by_language else queries
        probabilities = self.router(seen).float().softmax(dim=-1)
        best = probabilities.topk(self.used, dim=-1)
        weights = torch.zeros_like(probabilities).scatter(-1, best.indices, best.values).to(queries.dtype)
        hidden = self.enter(queries)
        # Weights are not negative, so they may act before the ReLU; in place, since fresh memory costs more than this.
        hidden[..., self.widths[0] :].unflatten(-1, (self.experts, -1)).mul_(weights[..., None])
        result = self.leave(self.dropout(F.relu_(hidden))) + weights @ self.leave_bias
        return result, Routing(probabilities, weights)


def make_block(config: StudentConfig) -> FeedForward | Experts:
    """The block that ``config.block`` names."""
    plain = config.block == "plain"
    return FeedForward(config.width, config.feed_forward, config.dropout) if plain else Experts(config)

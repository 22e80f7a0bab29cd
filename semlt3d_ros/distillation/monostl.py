"""MonoSTL: a camera student follows a teacher of its own architecture that sees depth (Ding et al., IEEE TCSVT 2024).

As in the released code (papers.md 4), apart from this: relations are cosines between objects of one frame, not dot
products between all of a batch, which grow without limit and depend on how a batch is divided; adapters begin as the
identity, without attention between levels, since they look at what is in boxes alone; and the uncertainty of depth is
that of the query that answers to an object, which is where this student states one. Head distillation is CMKD's part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from semlt3d_ros.distillation.relations import relation_loss
from semlt3d_ros.distillation.sampling import Regions, mapped, regions_of, sampled, spread
from semlt3d_ros.distillation.settings import MonoStl
from semlt3d_ros.losses.matcher import Matches, match
from semlt3d_ros.losses.signal import DepthSignal
from semlt3d_ros.losses.term import LossTerm, StepView, counted_over_all, indices
from semlt3d_ros.losses.unjudged import transformed_boxes
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import cell_centers, range_scale

OFF_IMAGE_WEIGHT = 0.01
"""Of an object in a view that does not show its centre."""
_SURE_M = 0.25
"""A depth is never known better than so: pairs of sure objects would be all that counts."""
_REGION_CELLS = 3
"""Samples of an object's region along each axis; the paper's code takes 7, of images ten times as large."""


def feature_loss(said: Tensor, taught: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """() DASFD of P places: half of the mean squared error of features, by weight.

    Args:
        said, taught: (P, C).
        weight: (P,).
        count: () places in boxes over all processes, weighted or not.
    """
    error = 0.5 * (said.float() - taught.float()).square().mean(-1)
    return (error * weight).sum() / count


def sureness(uncertainty_m: Tensor) -> Tensor:
    """(K, K) DASRD's weight of pairs of K objects by the teacher's uncertainty (K,) of their depth in metres."""
    variance = uncertainty_m.float().clamp_min(_SURE_M).square()
    return 1.0 / (variance[:, None] + variance)


def depth_uncertainty(layer: LayerOutput) -> Tensor:
    """(B, Q) Laplace scale of the distance of what each query answers to, in metres."""
    return layer.log_scale.float().clamp(-4.0, 4.0).exp() * range_scale(layer.references)


def need_of_help(uncertainty_m: Tensor) -> Tensor:
    """DASFD's weight of objects of which a student is so unsure: 1 less its confidence, which is 1 / uncertainty."""
    return 1.0 - (1.0 / uncertainty_m).clamp(0.0, 1.0)


def cell_weights(regions: Regions, weight: Tensor, stride: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Which cells (B, V, height, width) objects reach into, and the greatest weight (B, V, T) of those that do."""
    views = weight.shape[:2]
    frame, camera, target = torch.nonzero(regions.seen, as_tuple=True)
    first, last = ((regions.bounds[frame, camera, target] + 0.5) / stride).floor().chunk(2, dim=-1)
    columns = torch.arange(width, device=weight.device)
    rows = torch.arange(height, device=weight.device)
    across = (columns >= first[:, :1]) & (columns <= last[:, :1])
    down = (rows >= first[:, 1:]) & (rows <= last[:, 1:])
    inside = down[:, :, None] & across[:, None, :]
    # One more than the weight, so that what is in no region is told from what counts nothing.
    each = (inside * (1.0 + weight[frame, camera, target])[:, None, None]).flatten(1)
    most = weight.new_zeros(views.numel(), height * width)
    image = (frame * views[1] + camera)[:, None].expand(each.shape)
    most = most.scatter_reduce_(0, image, each, "amax").view(*views, height, width)
    return most > 0, (most - 1.0).clamp_min(0.0)


class Adapter(nn.Module):
    """Two layers beside the identity, which it begins as: a student that is the teacher has nothing to learn."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, width))
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(P, C) to the same."""
        return features + self.layers(features)


@dataclass
class _Objects:
    """The objects of a step and the queries that answer to them.

    Attributes:
        said, taught: (B, T) number of the student's and the teacher's query; -1 without one.
        need: (B, T) weight by the student's uncertainty.
        uncertainty_m: (B, T) the teacher's.
    """

    said: Tensor
    taught: Tensor
    need: Tensor
    uncertainty_m: Tensor


class MonoStlLoss(LossTerm):
    """``monostl_features``, ``monostl_relations``, ``monostl_query_features``, ``monostl_query_relations``.

    Args:
        settings: their weights.
        config: the student's.
    """

    def __init__(self, settings: MonoStl, config: StudentConfig) -> None:
        super().__init__(1.0)
        self.settings, self.strides = settings, config.strides
        self.adapters = nn.ModuleList(Adapter(config.width) for _ in config.strides)
        self.query_adapter = Adapter(config.width)

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """Nothing where there is no teacher that sees depth."""
        signal = view.images.depth
        if signal is None or view.output.features is None:
            return {}
        objects = self._objects(view, signal)
        regions = regions_of(view.targets, view.batch, signal.looked.there)
        pixels = signal.looked.pixels(view.batch, view.targets.T_ego_recorded)
        losses = {
            "features": lambda: self._features(view, signal, objects, regions, pixels),
            "relations": lambda: self._relations(view, signal, objects, regions, pixels),
            "query_features": lambda: self._query_features(view, signal, objects),
            "query_relations": lambda: self._query_relations(view, signal, objects),
        }
        return {f"monostl_{name}": weight * loss() for name, loss in losses.items() if (weight := self._weight(name))}

    def _weight(self, name: str) -> float:
        weight: float = getattr(self.settings, name)
        return weight

    def _objects(self, view: StepView, signal: DepthSignal) -> _Objects:
        own = transformed_boxes(view.targets.boxes, signal.looked.from_ego(view.targets.T_ego_recorded))
        matches = match(signal.layer, replace(view.targets, boxes=own))
        said, taught = (_queries(found, view.targets.classes) for found in (view.matches[-1], matches))
        taught = taught.masked_fill(~signal.looked.there[:, None], -1)
        unsure = depth_uncertainty(view.layers[-1]).detach().gather(1, said.clamp_min(0))
        return _Objects(
            said,
            taught,
            torch.where(said >= 0, need_of_help(unsure), 1.0),
            depth_uncertainty(signal.layer).gather(1, taught.clamp_min(0)),
        )

    def _features(
        self, view: StepView, signal: DepthSignal, objects: _Objects, regions: Regions, pixels: Tensor
    ) -> Tensor:
        weight = torch.where(regions.centered, objects.need[:, None], OFF_IMAGE_WEIGHT)
        losses = []
        for number, (cells, taught) in enumerate(zip(view.cells, signal.features, strict=True)):
            stride, (height, width) = self.strides[number], cells.shape[2:4]
            inside, heavy = cell_weights(regions, weight, stride, height, width)
            place = inside.flatten().nonzero()[:, 0]
            image, cell = place // (height * width), place % (height * width)
            centers = cell_centers(height, width, stride, place.device).flatten(0, 1)[cell]
            own = mapped(pixels.flatten(0, 1)[image], centers)
            said = self.adapters[number](cells.flatten(0, 3).index_select(0, place))
            count = counted_over_all(len(place), view.total, place.device)
            losses.append(feature_loss(said, sampled(taught, image, own, stride), heavy.flatten()[place], count))
        return torch.stack(losses).sum()

    def _relations(
        self, view: StepView, signal: DepthSignal, objects: _Objects, regions: Regions, pixels: Tensor
    ) -> Tensor:
        frame, camera, target = torch.nonzero(regions.seen & (objects.taught >= 0)[:, None], as_tuple=True)
        places = spread(regions.bounds[frame, camera, target], _REGION_CELLS)
        image = (frame * regions.seen.shape[1] + camera)[:, None].expand(places.shape[:2])
        own = mapped(pixels[frame, camera][:, None].expand(*places.shape[:2], 3, 3), places)

        def looked_up(maps: Tensor, at: Tensor, stride: int) -> Tensor:
            return sampled(maps, image.flatten(), at.flatten(0, 1), stride).unflatten(0, at.shape[:2]).flatten(1)

        sure = sureness(objects.uncertainty_m[frame, target])
        pairs = zip(view.cells, signal.features, self.strides, strict=True)
        return torch.stack(
            [
                relation_loss(
                    looked_up(said, places, stride), looked_up(taught, own, stride),
                    frame, sure, view.total,
                )
                for said, taught, stride in pairs
            ]
        ).sum()  # fmt: skip

    def _answered(self, view: StepView, signal: DepthSignal, objects: _Objects) -> tuple[Tensor, ...]:
        """Frame and target (M,) of the objects that both answer to, and the embeddings (M, C) of both."""
        frame, target = torch.nonzero((objects.said >= 0) & (objects.taught >= 0), as_tuple=True)
        said = view.layers[-1].embeddings[frame, objects.said[frame, target]]
        return frame, target, said.float(), signal.layer.embeddings[frame, objects.taught[frame, target]].float()

    def _query_features(self, view: StepView, signal: DepthSignal, objects: _Objects) -> Tensor:
        frame, target, said, taught = self._answered(view, signal, objects)
        count = counted_over_all(len(frame), view.total, frame.device)
        return feature_loss(self.query_adapter(said), taught, objects.need[frame, target], count)

    def _query_relations(self, view: StepView, signal: DepthSignal, objects: _Objects) -> Tensor:
        frame, target, said, taught = self._answered(view, signal, objects)
        return relation_loss(said, taught, frame, sureness(objects.uncertainty_m[frame, target]), view.total)


def _queries(matches: Matches, classes: Tensor) -> Tensor:
    """(B, T) which query each object is matched to, -1 for none."""
    frame, query, target = indices(matches)
    result = torch.full_like(classes, -1)
    result[frame, target] = query
    return result

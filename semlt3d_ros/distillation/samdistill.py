"""SAMDistill: spatial-temporal, relation and instance distillation from a LiDAR teacher, with SAM as another source.

After the abstract of Wang et al., Machine Intelligence Research 2026: neither paper nor code is public, so what it
names is made of the field's standard parts. *Spatial-temporal feature alignment*: where LiDAR points stand still, the
student's image features follow the teacher's map of now and that of the frame before, found by the ego motion (static
geometric consistency), and are like the same places of the frame before as the teacher's are (semantic context across
frames). *Relation distillation* at one scale of the map for each level of the student. *Instance distillation* of the
queries' classes and boxes, in which what the student is far from counts more. *SAM*: image features follow those of its
encoder. All of it is training's alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.distillation.cmkd import code_errors, taught_targets, to_the_map
from semlt3d_ros.distillation.relations import relation_loss
from semlt3d_ros.distillation.sampling import first_view, mapped, sampled
from semlt3d_ros.distillation.settings import SamDistill
from semlt3d_ros.losses.matcher import Matches, match
from semlt3d_ros.losses.signal import SamSignal, TeacherSignal
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.term import LossTerm, StepView, Total, alone, counted_over_all, indices
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import cell_centers, moved

_PLACES = 128
"""Points of a frame that are looked at."""
_MOST = 48
"""Objects of a frame that are followed, those that the teacher is surest of."""
_TEMPERATURE = 0.1
"""Of the likeness to places of the frame before."""
STILL_MPS = 0.5
"""What a teacher takes for slower stands still."""
_MARGIN_M = 0.3
"""By which the footprint of a moving object is enlarged."""


def alignment_loss(said: Tensor, taught: Tensor, count: Tensor) -> Tensor:
    """() mean of 1 - cosine between features.

    Args:
        said, taught: (P, C).
        count: () of places over all processes.
    """
    return (1.0 - F.cosine_similarity(said.float(), taught.float(), dim=-1)).sum() / count


def context_loss(said: Tensor, taught: Tensor, before: Tensor, asked: Tensor, known: Tensor, count: Tensor) -> Tensor:
    """() mean divergence of what places are like in the frame before from what the teacher finds them like.

    Args:
        said, taught: (B, N, C) the student's and the teacher's features of N places.
        before: (B, M, C) the teacher's of M places of the frame before.
        asked: (B, N) bool, places that count; of frames where something is known alone.
        known: (B, M) bool, places of the frame before that there are.
        count: () of places that count over all processes.
    """
    keys = F.normalize(before.float(), dim=-1).transpose(1, 2)

    def likeness(features: Tensor) -> Tensor:
        logits = F.normalize(features.float(), dim=-1) @ keys / _TEMPERATURE
        return logits.masked_fill(~known[:, None], -1e4).log_softmax(-1)

    divergence = F.kl_div(likeness(said), likeness(taught), reduction="none", log_target=True).sum(-1)
    return (divergence * asked).sum() / count


def instance_losses(
    layer: LayerOutput,
    taught: Targets,
    scores: Tensor,
    matches: Matches,
    known: Tensor,
    hardness: float,
    total: Total = alone,
) -> tuple[Tensor, Tensor]:
    """() and () loss of the classes and of the boxes of what the teacher has found, by its scores and by hardness.

    Args:
        layer: predictions (B, Q, ...).
        taught: the teacher's boxes as targets, in the student's axes.
        scores: (B, T, n) its confidences.
        matches: which queries answer to which of them.
        known: (n,) bool, classes that the teacher has.
        hardness: by how much what is farthest from the teacher counts more.
        total: sums over processes.
    """
    frame, query, target = indices(matches)
    wanted, logits = scores[frame, target].float(), layer.logits[frame, query].float()
    away = (logits.sigmoid() - wanted).abs() * known
    classes = (F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * away.square()).sum(-1)
    boxes = code_errors(layer, taught, matches)
    sure = wanted.amax(-1)
    hard_class = 1.0 + hardness * away.amax(-1).detach()
    hard_box = 1.0 + hardness * (1.0 - (-boxes.detach()).exp())
    norm = total(sure.sum()).clamp_min(1.0)
    return (classes * sure * hard_class).sum() / norm, (boxes * sure * hard_box).sum() / norm


def looked_up(maps: Tensor, grid: BevGrid, frame: Tensor, points: Tensor, coarser: int = 1) -> Tensor:
    """(P, C) float32 what maps say of places over their grid.

    Args:
        maps: (B, C, rows, columns).
        grid: of them.
        frame: (P,) which map.
        points: (P, 2 or more) in its frame.
        coarser: the mean of so many cells along each axis is what is looked up.
    """
    step = torch.arange(coarser, device=maps.device)
    column, row = (
        ((((points[:, axis] - corner) / grid.cell_m).long() // coarser * coarser)[:, None] + step).clamp(0, size - 1)
        for axis, corner, size in ((0, grid.x0, grid.columns), (1, grid.y0, grid.rows))
    )
    return maps[frame[:, None, None], :, row[:, :, None], column[:, None]].float().mean((1, 2))


def within_moving(points: Tensor, boxes: Tensor, real: Tensor) -> Tensor:
    """(B, N) whether points (B, N, 3) are on the footprint of a box (B, T, 9) that is ``real`` (B, T) and moves."""
    moving = real & (boxes[..., 7:9].nan_to_num().norm(dim=-1) > STILL_MPS)
    away = points[:, :, None, :2] - boxes[:, None, :, :2]
    cos, sin = boxes[:, None, :, 6].cos(), boxes[:, None, :, 6].sin()
    along, across = cos * away[..., 0] + sin * away[..., 1], cos * away[..., 1] - sin * away[..., 0]
    half = boxes[:, None, :, 3:5] / 2 + _MARGIN_M
    return ((along.abs() <= half[..., 0]) & (across.abs() <= half[..., 1]) & moving[:, None]).any(-1)


def some_points(targets: Targets) -> tuple[Tensor, Tensor]:
    """At most ``_PLACES`` points (B, N, 3) of each frame, evenly out of their order, and (B, N) which there are."""
    result = targets.boxes.new_zeros(len(targets.points), _PLACES, 3)
    real = torch.zeros(result.shape[:2], dtype=torch.bool, device=result.device)
    for row, points in enumerate(targets.points):
        chosen = points[:: max(1, -(-len(points) // _PLACES))][:_PLACES]
        result[row, : len(chosen)], real[row, : len(chosen)] = chosen, True
    return result, real


@dataclass
class _Places:
    """P places that the student sees and the teacher knows, of the N points of each of B frames.

    Attributes:
        chosen: (B, N) bool, which they are.
        image: (P,) which view of the batch shows each, of B * V.
        pixels: (P, 2) where.
        now: (P, C) the teacher's features.
        before: (B, N, C) those of the frame before at the same places in the world.
        old: (B, N) bool, of which points there are such.
        still: (P,) bool, places of which there are such and that stand still.
    """

    chosen: Tensor
    image: Tensor
    pixels: Tensor
    now: Tensor
    before: Tensor
    old: Tensor
    still: Tensor


class SamDistillLoss(LossTerm):
    """``samdistill_alignment``, ``_context``, ``_relations``, ``_classes``, ``_boxes``, ``_sam``.

    Args:
        settings: their weights.
        config: the student's.
        taught_width: channels of the LiDAR teacher's features.
        sam_width: channels of SAM's; 0 without.
    """

    def __init__(self, settings: SamDistill, config: StudentConfig, taught_width: int, sam_width: int = 0) -> None:
        super().__init__(1.0)
        self.settings, self.strides, width = settings, config.strides, config.width
        self.adapter = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, taught_width))
        self.scale_adapters = nn.ModuleList(nn.Linear(width, taught_width) for _ in config.strides)
        self.sam_adapter = nn.Linear(width, sam_width) if sam_width else None

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """Without a LiDAR teacher's signal ``samdistill_sam`` at the most."""
        settings, losses = self.settings, dict[str, Tensor]()
        if view.output.features is None:
            return {}
        if view.signal is not None:
            signal = replace(view.signal, boxes=view.signal.boxes[:, :_MOST], scores=view.signal.scores[:, :_MOST])
            taught = taught_targets(signal, view.targets)
            if settings.alignment or settings.context:
                losses |= self._at_places(view, signal, taught)
            if settings.relations:
                losses["samdistill_relations"] = settings.relations * self._relations(view, signal, taught)
            if settings.classes or settings.boxes:
                layer = view.layers[-1]
                classes, boxes = instance_losses(
                    layer, taught, signal.scores, match(layer, taught), signal.known, settings.hardness, view.total
                )
                losses |= {"samdistill_classes": settings.classes * classes, "samdistill_boxes": settings.boxes * boxes}
        if view.images.sam is not None and self.sam_adapter is not None and settings.sam_features:
            losses["samdistill_sam"] = settings.sam_features * self._sam(view, view.images.sam)
        return losses

    def _at_places(self, view: StepView, signal: TeacherSignal, taught: Targets) -> dict[str, Tensor]:
        places = self._places(view, signal, taught)
        levels = [
            sampled(cells, places.image, places.pixels, stride)
            for cells, stride in zip(view.cells, self.strides, strict=True)
        ]
        said = self.adapter(torch.stack(levels).mean(0))
        count = counted_over_all(len(said) + places.still.sum(), view.total, said.device)
        pairs = (
            torch.cat([said, said[places.still]]),
            torch.cat([places.now, places.before[places.chosen][places.still]]),
        )
        losses = {"samdistill_alignment": self.settings.alignment * alignment_loss(*pairs, count)}
        asked = places.chosen & places.old.any(1, keepdim=True)
        count = counted_over_all(asked.sum(), view.total, said.device)
        spread = torch.zeros_like(places.before)
        mine, theirs = (spread.index_put((places.chosen,), each) for each in (said, places.now))
        context = context_loss(mine, theirs, places.before, asked, places.old, count)
        return {**losses, "samdistill_context": self.settings.context * context}

    def _places(self, view: StepView, signal: TeacherSignal, taught: Targets) -> _Places:
        points, real = some_points(view.targets)
        shown, camera, pixels = first_view(points, view.batch)
        there = moved(points, to_the_map(signal, view.targets))
        known = real & signal.there[:, None] & signal.grid.holds(there[..., 0], there[..., 1])
        chosen = known & shown
        frame, place = torch.nonzero(chosen, as_tuple=True)
        now = looked_up(signal.bev, signal.grid, frame, there[chosen])
        before, old = now.new_zeros(*chosen.shape, now.shape[1]), torch.zeros_like(chosen)
        if signal.before is not None:
            T = signal.T_ego_model.to(points)
            earlier = moved(there, torch.linalg.inv(T) @ signal.before.T_before_now.to(points) @ T)
            old = real & signal.before.there[:, None] & signal.grid.holds(earlier[..., 0], earlier[..., 1])
            before[old] = looked_up(signal.before.bev, signal.grid, old.nonzero()[:, 0], earlier[old])
        still = old & ~within_moving(points, taught.boxes, taught.classes >= 0)
        image = frame * view.batch.valid.shape[1] + camera[frame, place]
        return _Places(chosen, image, pixels[frame, place], now, before, old, still[chosen])

    def _relations(self, view: StepView, signal: TeacherSignal, taught: Targets) -> Tensor:
        centers = taught.boxes[..., :3]
        shown, camera, pixels = first_view(centers, view.batch)
        there = moved(centers, to_the_map(signal, view.targets))
        real = (taught.classes >= 0) & shown & signal.there[:, None] & signal.grid.holds(there[..., 0], there[..., 1])
        frame, target = torch.nonzero(real, as_tuple=True)
        image = frame * view.batch.valid.shape[1] + camera[frame, target]
        sure = signal.scores[frame, target].float().amax(-1)
        losses = []
        for level, (cells, stride) in enumerate(zip(view.cells, self.strides, strict=True)):
            known = looked_up(signal.bev, signal.grid, frame, there[real], 2**level)
            said = self.scale_adapters[level](sampled(cells, image, pixels[frame, target], stride))
            losses.append(relation_loss(said, known, frame, sure[:, None] * sure, view.total))
        return torch.stack(losses).sum()

    def _sam(self, view: StepView, signal: SamSignal) -> Tensor:
        assert self.sam_adapter is not None
        cells, batch = view.cells[self.strides.index(signal.stride)], view.batch
        height, width = cells.shape[2:4]
        shown = (batch.valid & signal.looked.there[:, None]).flatten().nonzero()[:, 0]
        centers = cell_centers(height, width, signal.stride, cells.device).flatten(0, 1)
        homography = signal.looked.pixels(batch, view.targets.T_ego_recorded).flatten(0, 1)[shown]
        own = mapped(homography[:, None], centers)
        size = torch.tensor(batch.images.shape[-1:-3:-1], device=own.device)
        inside = (own > -0.5).all(-1) & (own < size - 0.5).all(-1)
        image = shown[:, None].expand(inside.shape)[inside]
        taught = sampled(signal.features, image, own[inside], signal.stride)
        count = counted_over_all(inside.sum(), view.total, own.device)
        return alignment_loss(self.sam_adapter(cells.flatten(0, 1).flatten(1, 2)[shown][inside]), taught, count)

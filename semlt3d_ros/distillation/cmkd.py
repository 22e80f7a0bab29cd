"""CMKD: a camera student follows a LiDAR teacher in the bird's-eye view and in its answers (Hong et al., ECCV 2022).

As in the released code, apart from this: the student answers by queries too, so that responses are followed there as
well as on the map; the map is as coarse as the cache keeps it, with a head of its own instead of the teacher's; and the
adapter has two self-calibrated blocks instead of four.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.distillation.lift_splat import splat
from semlt3d_ros.distillation.settings import Cmkd
from semlt3d_ros.losses.matcher import Matches, match
from semlt3d_ros.losses.signal import TeacherSignal
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.term import LossTerm, StepView, Total, alone, counted_over_all, indices
from semlt3d_ros.losses.unjudged import transformed_boxes
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import encode_boxes, moved
from semlt3d_ros.student.image_head import depth_bin_edges

EMPTY_WEIGHT = 0.05
"""Of cells that hold no points, in the feature loss."""
TEACHER_SCORE = 0.1
"""Least confidence of the teacher that a response is followed from."""
_BETA = 2.0
CODE_WEIGHTS = (1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.05, 0.05)


def feature_loss(said: Tensor, taught: Tensor, occupied: Tensor, there: Tensor, total: Total = alone) -> Tensor:
    """() mean squared error of features, of which cells without points count little.

    Args:
        said, taught: (B, C, rows, columns).
        occupied: (B, rows, columns) bool, cells that hold points.
        there: (B,) bool, frames that were taught.
        total: sums over processes.
    """
    weight = torch.where(occupied, 1.0, EMPTY_WEIGHT) * there[:, None, None]
    error = (said.float() - taught.float()).square().mean(1)
    return (error * weight).sum() / total(weight.sum()).clamp_min(1.0)


def quality_focal_loss(logits: Tensor, taught: Tensor, counted: Tensor, known: Tensor, total: Total = alone) -> Tensor:
    """() quality focal loss (Li et al., NeurIPS 2020) towards soft scores, per place where the teacher says something.

    It is at its least, and without a gradient, where the student says what the teacher says; what is left there is the
    entropy times nothing, so 0.

    Args:
        logits: (..., n) of the student.
        taught: (..., n) scores in [0, 1].
        counted: (...) bool, places that count.
        known: (n,) bool, classes that the teacher has.
        total: sums over processes.
    """
    logits, taught = logits.float(), taught.float()
    away = (logits.sigmoid() - taught).abs() ** _BETA
    each = F.binary_cross_entropy_with_logits(logits, taught, reduction="none") * away
    count = counted_over_all((counted & (taught.amax(-1) > TEACHER_SCORE)).sum(), total, logits.device)
    return (each * (counted[..., None] & known)).sum() / count


def cell_box_loss(said: Tensor, taught: Tensor, score: Tensor, total: Total = alone) -> Tensor:
    """() smooth L1 loss of the boxes of cells, each as much as the teacher is sure of it.

    Args:
        said: (B, 10, rows, columns) x, y, z, logarithms of sizes, sine and cosine of the heading, vx, vy.
        taught: (B, 9, rows, columns) x y z l w h yaw vx vy; NaN where unknown.
        score: (B, rows, columns) the teacher's confidence; where it is ``TEACHER_SCORE`` or less, nothing counts.
        total: sums over processes.
    """
    yaw = taught[:, 6:7]
    wanted = torch.cat([taught[:, :3], taught[:, 3:6].clamp_min(0.05).log(), yaw.sin(), yaw.cos(), taught[:, 7:9]], 1)
    known = wanted.isfinite()
    weight = score * (score > TEACHER_SCORE)
    # Without a term of its own for the direction, sine and cosine take the place of the sine of the difference.
    error = F.smooth_l1_loss(said.float(), torch.where(known, wanted, 0.0), reduction="none") * known
    error = error * error.new_tensor(CODE_WEIGHTS)[:, None, None]
    return (error.sum(1) * weight).sum() / total(weight.sum()).clamp_min(1.0)


def query_losses(
    layer: LayerOutput,
    taught: Targets,
    scores: Tensor,
    matches: Matches,
    counted: Tensor,
    known: Tensor,
    total: Total = alone,
) -> tuple[Tensor, Tensor]:
    """() and () quality focal loss of a layer's classes, and score-weighted L1 loss of its box codes.

    Args:
        layer: predictions (B, Q, ...).
        taught: the teacher's boxes as targets, in the student's axes.
        scores: (B, T, n) its confidences.
        matches: which queries answer to which of them.
        counted: (B, Q) bool, queries whose classes count besides those that are matched.
        known: (n,) bool, classes that the teacher has.
        total: sums over processes.
    """
    frame, query, target = indices(matches)
    wanted = torch.zeros_like(layer.logits, dtype=torch.float32)
    wanted[frame, query] = scores[frame, target].float()
    counted = counted.clone()
    counted[frame, query] = True
    classes = quality_focal_loss(layer.logits, wanted, counted, known, total)
    weight = scores[frame, target].float().amax(-1)
    error = code_errors(layer, taught, matches) * weight
    return classes, error.sum() / total(weight.sum()).clamp_min(1.0)


def code_errors(layer: LayerOutput, taught: Targets, matches: Matches) -> Tensor:
    """(P,) weighted L1 error of the box codes of a layer's P matched queries; what a target leaves unknown is none."""
    frame, query, target = indices(matches)
    codes = encode_boxes(taught.boxes[frame, target], layer.references[frame, query])
    known = codes.isfinite()
    error = (layer.codes[frame, query].float() - torch.where(known, codes, 0.0)).abs() * known
    return (error * error.new_tensor(CODE_WEIGHTS)).sum(-1)


def taught_targets(signal: TeacherSignal, targets: Targets) -> Targets:
    """The teacher's boxes as targets in the axes of ``targets``; those it is not sure enough of are none."""
    boxes = signal.boxes
    if targets.T_ego_recorded is not None:
        boxes = transformed_boxes(boxes, targets.T_ego_recorded)
    best, kind = signal.scores.max(-1)
    return Targets(boxes, torch.where(best > TEACHER_SCORE, kind, -1), [])


def to_the_map(signal: TeacherSignal, targets: Targets) -> Tensor:
    """(B, 4, 4) from the axes of ``targets`` to those of the teacher's maps."""
    T_map_ego = torch.linalg.inv(signal.T_ego_model.to(targets.boxes)).expand(len(targets.boxes), 4, 4)
    return T_map_ego if targets.T_ego_recorded is None else T_map_ego @ torch.linalg.inv(targets.T_ego_recorded)


class SelfCalibrated(nn.Module):
    """A self-calibrated bottleneck (SCNet, Liu et al., CVPR 2020): half of the channels see each other from afar.

    Args:
        width: channels, an even number.
    """

    _POOL = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2

        def convolved() -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half))

        self.plain, self.around, self.gated, self.out = (convolved() for _ in range(4))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, rows, columns) to the same."""
        first, second = features.chunk(2, dim=1)
        pooled = F.avg_pool2d(first, self._POOL, self._POOL, ceil_mode=True)
        gate = first + F.interpolate(self.around(pooled), first.shape[-2:], mode="nearest")
        calibrated = self.out(self.gated(first) * gate.sigmoid())
        return F.relu(features + torch.cat([calibrated, self.plain(second)], dim=1))


@dataclass
class BevOutput:
    """What the branch says.

    Attributes:
        features: (B, C, rows, columns) as the teacher's.
        heat: (B, n, rows, columns) class logits.
        boxes: (B, 10, rows, columns) see ``cell_box_loss``.
    """

    features: Tensor
    heat: Tensor
    boxes: Tensor


class BevBranch(nn.Module):
    """The student's features on the ground; for training only.

    Args:
        config: the student's.
        taught_width: channels of the teacher's features.
        width: channels within.
    """

    def __init__(self, config: StudentConfig, taught_width: int, width: int = 16) -> None:
        super().__init__()
        self.range_m = config.range_m
        self.reduce = nn.Conv2d(config.width, width, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(width + 1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.adapter = nn.Sequential(SelfCalibrated(width), SelfCalibrated(width))
        self.features = nn.Conv2d(width, taught_width, 1)
        self.head = nn.Sequential(
            nn.Conv2d(taught_width, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.heat = nn.Conv2d(width, len(config.class_names), 1)
        self.boxes = nn.Conv2d(width, 10, 1)
        nn.init.constant_(self.heat.bias, -4.0)  # type: ignore[arg-type]

    def forward(
        self, feature: Tensor, depth_logits: Tensor, stride: int, batch: Batch, T_map_ego: Tensor, grid: BevGrid
    ) -> BevOutput:
        """From the finest feature level (B, V, C, h, w) and its depth distributions (B, V, D, h, w)."""
        views = feature.shape[:2]
        bins = depth_logits.shape[2]
        edges = depth_bin_edges(bins, self.range_m, feature.device)
        ends = edges.new_tensor([1.0, 1.5 * self.range_m])
        bounds = torch.cat([ends[:1], edges, ends[1:]])
        middles = (bounds[:-1] * bounds[1:]).sqrt()
        # Losses are taken outside of autocast; what the student has computed in bfloat16 goes on in it.
        with torch.autocast(feature.device.type, torch.bfloat16, enabled=feature.dtype == torch.bfloat16):
            reduced = self.reduce(feature.flatten(0, 1)).unflatten(0, views)
            depth = depth_logits.float().softmax(2)
            lifted, mass = splat(reduced, depth, middles, batch, stride, T_map_ego, grid)
            features = self.features(self.adapter(self.mix(torch.cat([lifted, mass[:, None]], 1))))
            hidden = self.head(features)
            return BevOutput(features, self.heat(hidden), self.boxes(hidden))


class CmkdLoss(LossTerm):
    """All of CMKD's losses: ``cmkd_features``, ``cmkd_heat``, ``cmkd_boxes``, ``cmkd_classes``, ``cmkd_codes``.

    Args:
        settings: their weights.
        branch: the student on the ground; None where no loss is about it.
    """

    def __init__(self, settings: Cmkd, branch: BevBranch | None) -> None:
        super().__init__(1.0)
        self.settings, self.branch = settings, branch

    def forward(self, view: StepView) -> dict[str, Tensor]:
        """Nothing where there is no teacher."""
        signal = view.signal
        if signal is None:
            return {}
        losses = {**self._on_map(view, signal), **self._on_queries(view, signal)}
        if view.share < self.settings.first_stage:
            return {name: value if name == "cmkd_features" else value * 0.0 for name, value in losses.items()}
        return losses

    def _on_map(self, view: StepView, signal: TeacherSignal) -> dict[str, Tensor]:
        settings, output = self.settings, view.output
        if self.branch is None or output.image is None or output.features is None:
            return {}
        drawn = torch.randperm(len(signal.there))[: max(1, round(settings.frames * len(signal.there)))]
        drawn = drawn.to(signal.there.device)
        image, T_map_ego = output.image, to_the_map(signal, view.targets)[drawn]
        assert image.depth_logits is not None
        seen = output.features[0][drawn], image.depth_logits[drawn], image.stride, view.batch.at(drawn)
        said = self.branch(*seen, T_map_ego, signal.grid)
        there, heat, total = signal.there[drawn], signal.heat[drawn].float(), view.total
        score = heat.amax(1) * there[:, None, None]
        everywhere = there[:, None, None].expand_as(score)
        classes = said.heat.permute(0, 2, 3, 1), heat.permute(0, 2, 3, 1), everywhere, signal.known
        features = said.features, signal.bev[drawn], signal.occupied[drawn], there
        return {
            "cmkd_features": settings.features * feature_loss(*features, total),
            "cmkd_heat": settings.heat * quality_focal_loss(*classes, total),
            "cmkd_boxes": settings.boxes * cell_box_loss(said.boxes, signal.cells[drawn].float(), score, total),
        }

    def _on_queries(self, view: StepView, signal: TeacherSignal) -> dict[str, Tensor]:
        settings = self.settings
        if not settings.query_classes and not settings.query_codes:
            return {}
        taught = taught_targets(signal, view.targets)
        T_map_ego, layer = to_the_map(signal, view.targets), view.layers[-1]
        centers = layer.boxes()[..., :3].detach().float()
        centers = moved(centers, T_map_ego)
        counted = signal.there[:, None] & signal.grid.holds(centers[..., 0], centers[..., 1])
        matches = match(layer, taught)
        classes, codes = query_losses(layer, taught, signal.scores, matches, counted, signal.known, view.total)
        return {"cmkd_classes": settings.query_classes * classes, "cmkd_codes": settings.query_codes * codes}

"""The detector's own losses: query classes and boxes, denoising, 2D heat maps and LiDAR-supervised depth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.matcher import FOCAL_ALPHA, FOCAL_GAMMA, match
from semlt3d_ros.losses.projection import SemanticProjection, distillation_loss
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.experts import balance_loss
from semlt3d_ros.student.geometry import MIN_DEPTH_M, encode_boxes, project
from semlt3d_ros.student.image_head import ImageOutput, depth_bin_edges
from semlt3d_ros.student.student import StudentOutput

_CODE_WEIGHTS = torch.tensor([1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.05, 0.05])


class Criterion:
    """Turns a student's output and targets into named losses, already weighted.

    Args:
        config: the student's.
        weights: of the losses.
        projection: for semantic projection distillation; None without.
        anchors: (n, d) language anchors, needed with ``projection``.
    """

    def __init__(
        self,
        config: StudentConfig,
        weights: LossWeights,
        projection: SemanticProjection | None = None,
        anchors: Tensor | None = None,
    ) -> None:
        self.config, self.weights, self.projection, self.anchors = config, weights, projection, anchors

    def __call__(self, output: StudentOutput, targets: Targets, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by name, summed over layers; their sum is to be minimised."""
        losses: dict[str, Tensor] = {}

        def add(name: str, value: Tensor) -> None:
            losses[name] = losses[name] + value if name in losses else value

        w = self.weights
        for layer in output.layers:
            matches = match(layer, targets)
            counted = judged(layer, targets, matches)
            for name, value in self._weighted(query_losses(layer, targets, matches, counted)).items():
                add(name, value)
            if layer.routing is not None:
                add("balance", w.balance * balance_loss(layer.routing))
            if self.projection is not None and self.anchors is not None and targets.region_embeddings is not None:
                value = distillation_loss(layer, targets, matches, batch, self.projection, self.anchors, w.temperature)
                add("distillation", w.distillation * value)
        for layer in output.denoising:
            matches, counted = _restored(layer, targets)
            for name, value in self._weighted(query_losses(layer, targets, matches, counted)).items():
                add(f"denoising_{name}", w.denoising * value)
        if output.image is not None:
            heat, centers = image_losses(output.image, targets, batch)
            losses["heat"], losses["centers"] = w.heat * heat, w.centers * centers
            if output.image.depth_logits is not None:
                losses["depth"] = w.depth * depth_loss(output.image, targets, batch, self.config)
        return losses

    def _weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: getattr(self.weights, name) * value for name, value in losses.items()}


def judged(layer: LayerOutput, targets: Targets, matches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """(B, Q) queries that are right or wrong: those that are matched, and those where ground truth is not silent."""
    if targets.unjudged is None:
        return torch.ones(layer.logits.shape[:2], dtype=torch.bool, device=layer.logits.device)
    counted = ~targets.unjudged.at(layer.boxes()[..., :3].detach().float())
    for row, (queries, _) in zip(counted, matches, strict=True):
        row[queries] = True
    return counted


def _restored(layer: LayerOutput, targets: Targets) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Denoising queries belong to the object they were made of; those of padding do not count."""
    groups = layer.logits.shape[1] // targets.classes.shape[1]
    real = (targets.classes >= 0).repeat(1, groups)
    index = torch.arange(targets.classes.shape[1], device=real.device).repeat(groups)
    return [(torch.nonzero(row)[:, 0], index[row]) for row in real], real


def query_losses(
    layer: LayerOutput, targets: Targets, matches: list[tuple[Tensor, Tensor]], counted: Tensor
) -> dict[str, Tensor]:
    """Losses of one layer, per matched object.

    Args:
        layer: predictions (B, Q, ...).
        targets: ground truth.
        matches: per frame the matched query and target indices.
        counted: (B, Q) queries whose classification counts.
    """
    count = max(sum(len(rows) for rows, _ in matches), 1)
    frame = torch.cat([torch.full_like(rows, b) for b, (rows, _) in enumerate(matches)])
    query = torch.cat([rows for rows, _ in matches])
    target = torch.cat([columns for _, columns in matches])
    wanted = torch.zeros_like(layer.logits, dtype=torch.float32)
    wanted[frame, query, targets.classes[frame, target]] = 1.0

    def focal(logits: Tensor) -> Tensor:
        each = sigmoid_focal_loss(logits.float(), wanted, FOCAL_ALPHA, FOCAL_GAMMA)
        return (each * counted[..., None]).sum() / count

    losses = {"classes": focal(layer.logits)}
    if layer.aligned is not None:
        losses["alignment"] = focal(layer.aligned)

    codes = encode_boxes(targets.boxes[frame, target], layer.references[frame, query])
    error = (layer.codes[frame, query].float() - codes.nan_to_num()).abs()
    error = torch.where(codes.isnan(), torch.zeros_like(error), error)
    log_scale = layer.log_scale[frame, query].float().clamp(-4.0, 4.0)
    likelihood = error[:, 0].detach() * (-log_scale).exp() + log_scale
    losses["boxes"] = (error * _CODE_WEIGHTS.to(error.device)).sum() / count
    losses["scale"] = likelihood.sum() / count
    return losses


def image_losses(image: ImageOutput, targets: Targets, batch: Batch) -> tuple[Tensor, Tensor]:
    """Losses of the 2D head: penalty-reduced focal loss of the heat maps (CenterNet) and L1 of the centres.

    Every object whose 3D centre projects into a view is a target there; the radius of its Gaussian follows its
    apparent size. Cells where ground truth is silent do not count, unless they hold a centre.
    """
    height, width = image.heat.shape[-2:]
    pixels, depth = project(targets.boxes[..., :3], batch.intrinsics, batch.T_ego_camera)
    cell = (pixels + 0.5) / image.stride - 0.5
    column, row = cell[..., 0].round(), cell[..., 1].round()
    seen = (depth > MIN_DEPTH_M) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = seen & (targets.classes >= 0)[:, None] & batch.valid[..., None]
    wanted = _gaussians(targets, batch, image, torch.stack([column, row], -1), depth, seen)

    logits = image.heat.float()
    probability = logits.sigmoid()
    positive = wanted > 0.999
    entropy = F.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
    pull = torch.where(positive, (1 - probability) ** 2, probability**2 * (1 - wanted) ** 4)
    valid = batch.valid[:, :, None, None, None]
    if targets.unjudged is not None:
        valid = valid & (~targets.unjudged.cells(image, batch)[:, :, None] | positive.any(2, keepdim=True))
    count = seen.sum().clamp_min(1)
    heat = (entropy * pull * valid).sum() / count

    frame, view, _ = torch.nonzero(seen, as_tuple=True)
    u, v = column[seen].long(), row[seen].long()
    offset = image.offset[frame, view, :, v, u].float() - (cell[seen] - torch.stack([u, v], -1))
    log_depth = image.log_depth[frame, view, v, u].float() - depth[seen].log()
    return heat, (0.5 * offset.abs().sum() + 2.0 * log_depth.abs().sum()) / count


def _gaussians(
    targets: Targets, batch: Batch, image: ImageOutput, peaks: Tensor, depth: Tensor, seen: Tensor
) -> Tensor:
    """(B, V, C, h, w) class heat maps, 1 at the cells of projected centres."""
    B, V, classes, height, width = image.heat.shape
    focal = batch.intrinsics[..., 0, 0][..., None]
    extent = targets.boxes[..., 3:6].amax(-1)[:, None] * focal / depth.clamp_min(MIN_DEPTH_M) / image.stride
    sigma = (extent / 8.0).clamp(0.5, 3.0)
    columns = torch.arange(width, device=depth.device)
    rows = torch.arange(height, device=depth.device)
    across = (-((columns - peaks[..., :1]) ** 2) / (2 * sigma**2)[..., None]).exp()
    down = (-((rows - peaks[..., 1:]) ** 2) / (2 * sigma**2)[..., None]).exp()
    bumps = down[..., :, None] * across[..., None, :] * seen[..., None, None]
    index = targets.classes.clamp_min(0)[:, None, :, None, None].expand_as(bumps)
    heat = torch.zeros((B, V, classes, height, width), device=depth.device)
    return heat.scatter_reduce_(2, index, bumps, "amax")


def depth_loss(image: ImageOutput, targets: Targets, batch: Batch, config: StudentConfig) -> Tensor:
    """Cross-entropy of the depth bins at cells that hold LiDAR points, with the nearest point as the truth."""
    assert image.depth_logits is not None
    bins, height, width = image.depth_logits.shape[2:]
    edges = depth_bin_edges(bins, config.range_m, image.heat.device)
    nearest = torch.full((*batch.valid.shape, height * width), torch.inf, device=image.heat.device)
    for b, points in enumerate(targets.points):
        if len(points) == 0:
            continue
        pixels, depth = project(points[None], batch.intrinsics[b : b + 1], batch.T_ego_camera[b : b + 1])
        cell = ((pixels[0] + 0.5) / image.stride - 0.5).round()
        inside = (depth[0] > MIN_DEPTH_M) & (cell >= 0).all(-1) & (cell[..., 0] < width) & (cell[..., 1] < height)
        index = (cell[..., 1] * width + cell[..., 0]).clamp(0, height * width - 1).nan_to_num().long()
        distance = torch.where(inside & batch.valid[b][:, None], depth[0], torch.inf)
        nearest[b].scatter_reduce_(1, index, distance, "amin")
    hit = nearest.isfinite()
    logits = image.depth_logits.flatten(3).transpose(2, 3)[hit].float()
    if len(logits) == 0:
        return image.depth_logits.sum() * 0.0
    return F.cross_entropy(logits, torch.bucketize(nearest[hit], edges))
